"""The Web front: IBKR's Client Portal Web API (REST, OAuth 1.0a, WebSocket) over the same exchange as the TWS front.

It needs the extra `paper-web` (aiohttp, cryptography). Nothing here is imported unless a gateway is given a web port.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

BASE: Final = "/v1/api"
"""Where every endpoint lives, as on IBKR's own servers."""

_NEEDED: Final = ("aiohttp", "cryptography")


class MissingExtraError(ValueError):
    """The Web front was asked for and what it is built on is not installed."""


def require() -> None:
    """MissingExtraError, naming what to install, unless everything the Web front needs is there."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"the Web front needs {' and '.join(missing)}: pip install 'ibkr-connector[paper-web]', "
            "or leave out the web port"
        )
