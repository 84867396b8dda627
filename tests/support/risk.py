"""What tests of the gates look at: four instruments that do not agree about money, and a view of an account."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.models import Contract, OrderRequest
from ibkr_connector.risk import GateResult, InstrumentView, PriceView, RiskDecision, RiskLimits, RiskSnapshot

D = Decimal
AAPL, TOYOTA, ES, SPX = 265598, 14016545, 495512563, 700000001
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
CONTRACTS = {
    AAPL: Contract.stock("AAPL").with_con_id(AAPL),
    TOYOTA: Contract.stock("7203", "TSEJ", "JPY").with_con_id(TOYOTA),
    ES: Contract.future("ES", "202612", "CME").with_con_id(ES),
    SPX: Contract(symbol="SPX", sec_type="OPT", expiry="20261218", strike=6000, right="C", con_id=SPX),
}
INSTRUMENTS = {
    AAPL: InstrumentView(con_id=AAPL, currency="USD", min_tick=D("0.01"), size_increment=D(1)),
    TOYOTA: InstrumentView(con_id=TOYOTA, currency="JPY", min_tick=D("0.5"), size_increment=D(100)),
    ES: InstrumentView(con_id=ES, currency="USD", multiplier=D(50), min_tick=D("0.25"), signed_price=True),
    SPX: InstrumentView(con_id=SPX, currency="USD", multiplier=D(100), min_tick=D("0.05")),
}
PRICES = {
    AAPL: PriceView(bid=D(100), ask=D(100), last=D(100)),
    TOYOTA: PriceView(bid=D(3000), ask=D(3000), last=D(3000)),
    ES: PriceView(bid=D(6000), ask=D(6000), last=D(6000)),
    SPX: PriceView(bid=D(42), ask=D(42), last=D(42)),
}
VALUES = {AAPL: D(100), TOYOTA: D("19.5"), ES: D(300_000), SPX: D(4_200)}
"""US dollars per unit: a share, a share at 0.0065, a future times 50, an option's premium times 100."""
OFF = RiskLimits(
    max_position_size=None,
    max_order_size=None,
    max_order_value=None,
    daily_loss_limit=None,
    check_market_hours=False,
    check_ticks=False,
    refuse_halted=False,
)


def view(**changes: Any) -> RiskSnapshot:
    """An account in US dollars, flat, with everything known."""
    base = RiskSnapshot(
        account="DU1",
        currency="USD",
        now=NOW,
        monotonic=1_000.0,
        net_liquidation=D(100_000),
        daily_pnl=D(0),
        positions={},
        instruments=INSTRUMENTS,
        prices=PRICES,
        rates={"JPY": D("0.0065")},
        fee_estimate=D(1),
        unit_values=VALUES,
    )
    return replace(base, **changes)


def order(
    action: str = "BUY", quantity: float | str = 1, limit: float | str | None = None, con_id: int = AAPL, **more: Any
) -> OrderRequest:
    """A market order, or a limit order."""
    kind = more.pop("order_type", "MKT" if limit is None else "LMT")
    return OrderRequest.make(
        contract=CONTRACTS[con_id], action=action, quantity=quantity, order_type=kind, limit_price=limit, **more
    )


def only(decision: RiskDecision, gate: str) -> GateResult:
    """The one answer of a gate; a refusal says why, and what to do."""
    (result,) = [result for result in decision.results if result.gate == gate]
    if not result.passed:
        assert result.remedy
        assert result.message
    return result
