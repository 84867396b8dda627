"""The Web backend: IBKR's Client Portal Web API, spoken by the unmodified ibind.

ibind's clients are used for requests, signatures and websocket frames, and nothing else of them: its retries, its
answers to order questions, its tickler and its signal handlers would each do something to orders that nobody asked for.
"""

from __future__ import annotations

from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.options import WebEndpoint

__all__ = ["WebBackend", "WebEndpoint"]
