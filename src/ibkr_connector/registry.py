"""`get_ibkr_connector`: the one connector of a profile."""

from __future__ import annotations

import os
from typing import Any

from ibkr_connector.connector import DEFAULT_PROFILE, IBKRConnector


def get_ibkr_connector(
    config_path: str | os.PathLike[str] | None = None,
    *,
    profile: str = DEFAULT_PROFILE,
    allow_live: bool = False,
    **overrides: Any,
) -> IBKRConnector:
    """The connector of `profile`: made on the first call, the same object ever after, until it is closed.

    Safe from any thread. Arguments are those of `IBKRConnector`; without arguments the existing one is returned as it
    is, with arguments that differ `ConnectorConflict` names them.
    """
    connector: IBKRConnector = IBKRConnector(config_path, profile=profile, allow_live=allow_live, **overrides)
    return connector
