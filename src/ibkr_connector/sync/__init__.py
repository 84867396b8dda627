"""The blocking twin of the connector, for programs without an event loop: `connector.sync`.

`handles`, `resources` and `connector` are generated from the asynchronous classes by `tools/generate_sync.py`, so that
both always have the same names, arguments and documentation; `runtime` is what they stand on.
"""

from __future__ import annotations

from ibkr_connector.sync.connector import SyncConnector
from ibkr_connector.sync.handles import SyncBracketOrder, SyncOcaGroup, SyncOrder
from ibkr_connector.sync.resources import (
    SyncAccountApi,
    SyncContractsApi,
    SyncHistoryApi,
    SyncMarketApi,
    SyncOrderLike,
    SyncOrdersApi,
)
from ibkr_connector.sync.runtime import SyncOrderUpdates, SyncQuoteStream

__all__ = [
    "SyncAccountApi",
    "SyncBracketOrder",
    "SyncConnector",
    "SyncContractsApi",
    "SyncHistoryApi",
    "SyncMarketApi",
    "SyncOcaGroup",
    "SyncOrder",
    "SyncOrderLike",
    "SyncOrderUpdates",
    "SyncOrdersApi",
    "SyncQuoteStream",
]
