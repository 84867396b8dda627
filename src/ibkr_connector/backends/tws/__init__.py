"""The TWS backend: IBKR's socket protocol, spoken by the unmodified ib_insync or ib_async.

The library's `Client` (socket, encoder, decoder) is used with callbacks of our own, never its `IB`, `Wrapper` or
`Trade` objects: those mark live orders cancelled on errors that end nothing, and keep one future per request name.
"""

from __future__ import annotations

from ibkr_connector.backends.tws.client import TwsBackend

__all__ = ["TwsBackend"]
