"""A gateway for paper trading that needs no IBKR account and speaks IBKR's real wire protocol.

Unmodified ib_insync, ib_async and ibapi connect to it. It stands beside the connector: programs reach it through
sockets only, which makes tests against it honest::

    from ibkr_connector.paper import PaperGateway

    async with PaperGateway(tws_port=0, seed=7) as gateway:
        ...  # connect any TWS client to 127.0.0.1, gateway.tws_port

Or as a program: ``ibkr-connector paper``, ``python -m ibkr_connector.paper``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exchange.behavior import ExchangeBehavior
    from .faults.plan import Fault, PlanError
    from .gateway import PaperGateway
    from .market.base import MarketSource
    from .truth import TruthEntry, TruthLog
    from .tws.options import TwsOptions
    from .web.options import WebOptions

# Public name -> the module that defines it: importing this package loads nothing else.
_EXPORTS: dict[str, str] = {
    "ExchangeBehavior": "exchange.behavior",
    "Fault": "faults.plan",
    "PlanError": "faults.plan",
    "MarketSource": "market.base",
    "PaperGateway": "gateway",
    "TruthEntry": "truth",
    "TruthLog": "truth",
    "TwsOptions": "tws.options",
    "WebOptions": "web.options",
}

__all__ = [
    "ExchangeBehavior",
    "Fault",
    "MarketSource",
    "PaperGateway",
    "PlanError",
    "TruthEntry",
    "TruthLog",
    "TwsOptions",
    "WebOptions",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use and keep it."""
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_EXPORTS})
