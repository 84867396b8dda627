"""Which price an order is judged by: yesterday's close is none."""

from __future__ import annotations

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import ContractNotFound, RiskRejected
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector
from support.proxy import Frame, Proxy, is_kind

TICK_PRICE, CONTRACT_DATA = "1", "10"
BID, ASK, LAST, CLOSE = "1", "2", "4", "9"


def is_price_but_the_close(fields: Frame) -> bool:
    """Every price tick (and what its size tells) of a contract that has not traded yet today, but the close."""
    return fields[:1] == [TICK_PRICE] and len(fields) > 3 and fields[3] != CLOSE


@pytest.fixture
async def untraded(proxy: Proxy, make: MakeConnector) -> IBKRConnector:
    """A connector that is told of every contract its previous close, and nothing newer."""
    proxy.swallow_answers = is_price_but_the_close
    connector = make(
        proxy.port, orders={"order_deadline": 4.0}, risk_limits={"max_order_value": 60_000, "daily_loss_limit": 100_000}
    )
    await connector.connect()
    return connector


async def test_close_of_yesterday_is_no_price_for_a_market_order(
    untraded: IBKRConnector, gateway: PaperGateway, proxy: Proxy
) -> None:
    quote = await untraded.get_live_quote("AAPL", timeout=1)
    assert (quote.bid, quote.ask, quote.last) == (None, None, None)
    assert quote.close is not None
    with pytest.raises(RiskRejected) as caught:
        await untraded.place_market_order("AAPL", 1, "BUY")
    assert {"order_value", "daily_loss"} <= set(caught.value.gates)
    assert "a price" in str(caught.value)
    assert "reference_price" in str(caught.value)
    assert gateway.truth.of("recv_place") == []


async def test_own_price_counts_where_the_market_has_none(untraded: IBKRConnector, gateway: PaperGateway) -> None:
    order = await untraded.place_limit_order("AAPL", 1, "BUY", 100)
    assert not order.is_done
    with pytest.raises(RiskRejected) as caught:
        await untraded.place_limit_order("AAPL", 7, "BUY", 10_000)
    assert caught.value.gates == ["order_value"]
    assert len(gateway.truth.of("recv_place")) == 1


async def test_callers_reference_price_counts_where_the_market_has_none(untraded: IBKRConnector) -> None:
    with pytest.raises(RiskRejected, match="60,000"):
        await untraded.place_market_order("AAPL", 1_000, "BUY", reference_price=100)
    order = await untraded.place_market_order("AAPL", 1, "BUY", reference_price=100)
    await order.filled(10)


async def test_answer_without_a_contract_is_not_given_a_code_it_did_not_have(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port)
    await connector.connect()
    proxy.swallow_answers = is_kind(CONTRACT_DATA)
    with pytest.raises(ContractNotFound) as caught:
        await connector.get_contract("AAPL")
    assert caught.value.code is None
    assert "200" not in str(caught.value)
    assert "lists no contract" in str(caught.value)
    proxy.heal()
    with pytest.raises(ContractNotFound) as refused:
        await connector.get_contract("NOSUCHTHING")
    assert refused.value.code == 200
