"""The Web front: IBKR's Client Portal Web API (REST, OAuth 1.0a, WebSocket) over the same exchange as the TWS front.

It needs the extra `paper-web` (aiohttp, cryptography). Nothing here is imported unless a gateway is given a web port.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

BASE: Final = "/v1/api"
"""Where every endpoint lives, as on IBKR's own servers."""

_FOR_KEYS: Final = ("cryptography",)
_NEEDED: Final = ("aiohttp", *_FOR_KEYS)


class MissingExtraError(ValueError):
    """The Web front was asked for and what it is built on is not installed."""


def require() -> None:
    """MissingExtraError, naming what to install, unless everything the Web front needs is there."""
    _require("the Web front needs", _NEEDED, ", or leave out the web port")


def require_for_keys() -> None:
    """MissingExtraError, naming what to install, unless everything that makes test keys is there."""
    _require("making test keys needs", _FOR_KEYS, "")


def _require(what: str, names: tuple[str, ...], otherwise: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"{what} {' and '.join(missing)}: pip install 'ibkr-connector[paper-web]'{otherwise}")
