"""What the Web backend says it cannot do is what it refuses, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from ibkr_connector.backends.base import BAR_KINDS, HistoryRequest, MarketDataKind, WireOrder
from ibkr_connector.backends.tws.client import TwsBackend
from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.history import query
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.backends.web.order_body import order_body
from ibkr_connector.errors import NotSupportedByBackend
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order_words import OcaType, TimeInForce

AAPL = Contract.stock("AAPL").with_con_id(265598)
ORDER = WireOrder(
    order_id=11, contract=AAPL, action="BUY", quantity=Decimal(100), order_type="LMT", limit_price=Decimal(10),
    stop_price=None, trail_amount=None, trail_percent=None, tif="DAY", good_till=None, outside_rth=False,
    account="DU1", order_ref="REF1",
)  # fmt: skip


@pytest.fixture
def web() -> WebBackend:
    return WebBackend(WebEndpoint(url="http://127.0.0.1:1/v1/api/"))


def taken(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except NotSupportedByBackend:
        return False
    return True


def test_times_in_force(web: WebBackend) -> None:
    assert web.capabilities.times_in_force == {
        tif
        for tif in TimeInForce
        if taken(lambda tif=tif: order_body(replace(ORDER, tif=tif)))  # type: ignore[misc]
    }


def test_oca_types(web: WebBackend) -> None:
    assert web.capabilities.oca_types == {
        kind
        for kind in OcaType
        if taken(lambda kind=kind: order_body(replace(ORDER, oca_group="G", oca_type=kind)))  # type: ignore[misc]
    }


def test_kinds_of_bars(web: WebBackend) -> None:
    def ask(kind: str) -> Callable[[], object]:
        request = HistoryRequest(contract=AAPL, end=None, duration="1 D", bar_size="1 hour", what_to_show=kind)
        return lambda: query(request)

    assert web.capabilities.bar_kinds == {kind for kind in BAR_KINDS if taken(ask(kind))}


def test_kinds_of_quotes(web: WebBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(web._room), "require", lambda room: None)  # the kind is looked at in a connection alone
    assert web.capabilities.market_data == {
        kind
        for kind in MarketDataKind
        if taken(lambda kind=kind: web.set_market_data(kind))  # type: ignore[misc]
    }


async def test_reads(web: WebBackend) -> None:
    assert not web.capabilities.head_timestamp
    with pytest.raises(NotSupportedByBackend):
        await web.head_timestamp(AAPL, "TRADES", 1.0, use_rth=True)
    assert not web.capabilities.generic_ticks
    assert not web.capabilities.client_ids


def test_over_tws_nothing_of_it_is_missing() -> None:
    tws = TwsBackend().capabilities
    assert tws.times_in_force == frozenset(TimeInForce)
    assert tws.oca_types == frozenset(OcaType)
    assert tws.bar_kinds == frozenset(BAR_KINDS)
    assert tws.market_data == frozenset(MarketDataKind)
    assert tws.head_timestamp
    assert tws.generic_ticks
