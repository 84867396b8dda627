"""Messages of real gateways (server version 200) against ours, field by field, as far as our versions have them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ibkr_connector.paper.exchange.types import (
    AccountValue,
    Commission,
    Execution,
    OrderStatus,
    OrderTicket,
    OrderView,
    PositionView,
)
from ibkr_connector.paper.instruments import Instrument, InstrumentBook
from ibkr_connector.paper.market.base import Bar
from ibkr_connector.paper.sessions import sessions_between
from ibkr_connector.paper.tws import (
    layouts_account,
    layouts_contracts,
    layouts_market,
    layouts_orders,
    layouts_system,
)
from ibkr_connector.paper.tws.layouts_market import Target

pytestmark = pytest.mark.shared

ZERO = Decimal(0)


@pytest.fixture(scope="module")
def captured(shared_dir: Path) -> dict[str, list[str]]:
    text = (shared_dir / "fixtures" / "tws" / "captured_messages_sv200.json").read_text(encoding="utf-8")
    messages: dict[str, list[str]] = json.loads(text)["messages"]
    return messages


@pytest.fixture(scope="module")
def apple() -> Instrument:
    found = InstrumentBook(lambda: datetime(2026, 4, 5, tzinfo=UTC).date()).by_con_id(265598)
    assert found is not None
    return found


def without(fields: list[str], *ranges: range) -> list[str]:
    """The message without the fields newer server versions brought."""
    gone = {index for each in ranges for index in each}
    return [text for index, text in enumerate(fields) if index not in gone]


def order_view(instrument: Instrument, **fields: object) -> OrderView:
    ticket: dict[str, object] = {
        "client_id": 0,
        "order_id": 0,
        "instrument": instrument,
        "account": "DU9000001",
        "action": "BUY",
        "quantity": Decimal(1),
        "order_type": "LMT",
        "exchange": "SMART",
    }
    view: dict[str, object] = {"perm_id": 0, "status": OrderStatus.PRE_SUBMITTED, "remaining": Decimal(1)}
    for name, value in fields.items():
        (view if name in OrderView.__slots__ else ticket)[name] = value
    return OrderView(ticket=OrderTicket(**ticket), **view)  # type: ignore[arg-type]


def test_start_up_messages(captured: dict[str, list[str]]) -> None:
    assert layouts_system.managed_accounts(["DU9000001"]) == captured["ManagedAccounts"]
    assert layouts_system.next_valid_id(1) == captured["NextValidID"]
    notice = layouts_system.error(178, -1, 2104, "Market data farm connection is OK:usfarm")
    # From 194 on: no version field, and the time at the end.
    assert [notice[0], *notice[2:]] == captured["APIError_2104"][:-1]


def test_open_order(captured: dict[str, list[str]]) -> None:
    option = Instrument(
        con_id=853200900,
        symbol="OBDC",
        sec_type="OPT",
        currency="USD",
        exchange="SMART",
        local_symbol="OBDC  261120P00010000",
        trading_class="OBDC",
        long_name="",
        market_name="OBDC",
        min_tick=Decimal("0.05"),
        multiplier=Decimal(100),
        multiplier_text="100",
        strike=Decimal(10),
        right="P",
        expiry="20261120",
    )
    view = order_view(
        option, action="SELL", limit_price=Decimal("1.2"), tif="GTC", perm_id=1518189976, account="DU9000001"
    )
    # 195: margins of extended hours; 183 to 199: customer account and what followed.
    expected = without(captured["OpenOrder"], range(107, 120), range(148, 156))
    assert layouts_orders.open_order(178, view) == expected
    with_profile = [*expected[:34], "", *expected[34:]]
    assert layouts_orders.open_order(176, view) == with_profile, "before 177 there is an FA profile"
    # 157 ends with usePriceMgmtAlgo: no duration, postToAts, autoCancelParent, nor the five fields of 170.
    assert layouts_orders.open_order(157, view) == with_profile[:-8]


def test_completed_order_that_was_cancelled(captured: dict[str, list[str]], apple: Instrument) -> None:
    view = order_view(
        apple,
        order_type="TRAIL LIMIT",
        limit_price=Decimal("2000.05"),
        aux_price=Decimal(1),
        trail_stop_price=Decimal(2000),
        perm_id=1426085924,
        status=OrderStatus.CANCELLED,
        completed_at=datetime(2026, 4, 15, 15, 0, 11, tzinfo=UTC),
        completed_status="Cancelled by Trader",
        extras={"limit_price_offset": "0.05"},
    )
    expected = captured["CompletedOrderTrailLimitLive"][:-3]
    assert expected[33] == "", "this one has no rule80A; every other captured order says 0"
    assert layouts_orders.completed_order(178, view) == [*expected[:33], "0", *expected[34:]]


def test_completed_order_that_the_system_cancelled(shared_dir: Path, apple: Instrument) -> None:
    path = shared_dir / "fixtures" / "tws" / "transcripts" / "completed_orders_cancelled_system_live.txt"
    [raw, _] = [line.split()[2] for line in path.read_text().splitlines() if line.startswith("raw server")]
    expected = base64.b64decode(raw)[4:-1].decode().split("\0")[:-3]
    view = order_view(
        apple,
        action="SELL",
        limit_price=Decimal(500),
        tif="GTC",
        oca_group="1001",
        account="DU12345",
        perm_id=1002,
        status=OrderStatus.CANCELLED,
        completed_at=datetime(2026, 4, 12, 2, 18, 53, tzinfo=UTC),
        completed_status="Cancelled by System:\n",
    )
    ours = layouts_orders.completed_order(178, view)
    different = [(index, a, b) for index, (a, b) in enumerate(zip(ours, expected, strict=True)) if a != b]
    # autoCancelDate, which only this order has, and the anonymised permId of a parent.
    assert different == [
        (85, "", "20260930 22:00:00 Central European Standard Time"),
        (92, "9223372036854775807", "1001"),
    ]


def test_execution(captured: dict[str, list[str]], apple: Instrument) -> None:
    execution = Execution(
        exec_id="0000e0d5.69dd7411.01.01",
        at=datetime(2026, 4, 13, 19, 27, 4, tzinfo=UTC),
        client_id=94,
        order_id=1,
        perm_id=389211034,
        account="DUP770846",
        instrument=apple,
        side="BOT",
        shares=Decimal(1),
        price=Decimal("257.95"),
        cum_qty=Decimal(1),
        avg_price=Decimal("257.95"),
        venue="IEX",
        order_ref="",
        liquidity=2,
    )
    expected = captured["ExecutionDetailNativeTime"][:-1]  # 198: submitter
    assert layouts_orders.exec_details(178, execution) == expected
    assert layouts_orders.exec_details(176, execution) == expected[:-1]
    old = layouts_orders.exec_details(157, execution, request_id=9)
    assert (old[1], old[15], len(old)) == ("9", "20260413  15:27:04", 31)


def test_commission_report_has_exactly_eight_fields() -> None:
    opening = Commission(exec_id="x.01.01", amount=Decimal("1.0"), currency="USD", realized_pnl=None)
    fields = layouts_orders.commission_report(opening)
    assert fields[:6] == ["59", "1", "x.01.01", "1", "USD", "1.7976931348623157E308"]
    assert len(fields) == 8
    closing = layouts_orders.commission_report(replace(opening, realized_pnl=Decimal("-2.49")))
    assert closing[5] == "-2.49"


def test_position(captured: dict[str, list[str]], apple: Instrument) -> None:
    amazon = replace_instrument(apple, con_id=3691937, symbol="AMZN", local_symbol="AMZN")
    view = position_view(amazon, Decimal(15), Decimal("200.25"))
    assert layouts_account.position(view) == captured["Position"]
    assert layouts_account.position_end() == captured["PositionEnd"]
    assert len(layouts_account.position_multi(5, view, "")) == 18
    assert len(layouts_account.portfolio_value(view)) == 20


def test_position_of_a_future_has_no_exchange(shared_dir: Path) -> None:
    text = (shared_dir / "fixtures" / "tws" / "interactions_sv173.yaml").read_text()
    [line] = [line for line in text.splitlines() if "637533641" in line and "raw:" in line]
    expected = line.split('"')[1].replace("\\0", "\0").rstrip("\0").split("\0")
    future = Instrument(
        con_id=637533641,
        symbol="ES",
        sec_type="FUT",
        currency="USD",
        exchange="CME",
        local_symbol="ESU5",
        trading_class="ES",
        long_name="E-mini S&P 500",
        market_name="ES",
        min_tick=Decimal("0.25"),
        multiplier=Decimal(50),
        multiplier_text="50",
        expiry="20250919",
    )
    view = replace(position_view(future, Decimal(1), Decimal("315114.75")), account="ACCOUNT_ID")
    assert layouts_account.position(view) == expected


def test_account_summary(captured: dict[str, list[str]]) -> None:
    row = AccountValue(key="BuyingPower", value="300000.00", currency="EUR")
    assert layouts_account.account_summary(1001, "DU9000001", row) == captured["AccountSummaryValue"]
    assert layouts_account.account_summary_end(1001) == captured["AccountSummaryEnd"]


def test_contract_details(captured: dict[str, list[str]], apple: Instrument) -> None:
    now = datetime(2026, 4, 5, 21, 49, 38, tzinfo=UTC)
    ours = layouts_contracts.contract_details(178, 1001, apple, "SMART", now)
    # The captured message carries the date field twice (182) and a count of ineligibility reasons (186).
    expected = without(captured["ContractDetails"], range(5, 6), range(43, 44))
    assert len(ours) == len(expected)
    # Lists the gateway may shorten: order types, exchanges with their market rules. Trading hours: as captured.
    differing = {index for index, (a, b) in enumerate(zip(ours, expected, strict=True)) if a != b}
    assert differing <= {15, 16, 36}, [(i, ours[i], expected[i]) for i in sorted(differing)]
    assert set(ours[15].split(",")) <= set(expected[15].split(",")) | {"GTD"}
    assert ours[26:28] == expected[26:28]
    old = layouts_contracts.contract_details(157, 1001, apple, "SMART", now)
    assert old[:3] == ["10", "8", "1001"]
    assert len(old) == len(ours) + 2 - 3, "a version and a size multiplier more, three size rules less"
    assert layouts_contracts.contract_details_end(1001) == captured["ContractDetailsEnd"]


def test_historical_data(captured: dict[str, list[str]], apple: Instrument) -> None:
    message = captured["HistoricalData"]
    rows = [message[at : at + 8] for at in range(3, len(message), 8)]
    bars = [
        Bar(
            start=new_york(row[0]),
            session=new_york(row[0]).date(),
            open=float(row[1]),
            high=float(row[2]),
            low=float(row[3]),
            close=float(row[4]),
            volume=float(row[5]),
            wap=float(row[6]),
            count=int(row[7]),
        )
        for row in rows
    ]
    ours = layouts_market.historical_data(178, 1001, "s", "e", bars, intraday=True, format_date=1, item=apple)
    # From 196 on the start and end of the query moved to a message of their own.
    assert ours[:5] == ["17", "1001", "s", "e", "7"]
    for index, row in enumerate(rows):
        mine = ours[5 + 8 * index : 13 + 8 * index]
        assert mine[0] == row[0]
        assert [Decimal(text) for text in mine[1:]] == [Decimal(text) for text in row[1:]]
    old = layouts_market.historical_data(157, 1001, "s", "e", bars, intraday=True, format_date=1, item=apple)
    assert old[5] == "20260402  09:30:00"
    assert old[10] == "28297", "lots of 100 before 175"


def test_historical_schedule(captured: dict[str, list[str]], apple: Instrument) -> None:
    days = list(sessions_between(apple, datetime(2026, 3, 12, tzinfo=UTC), datetime(2026, 4, 11, tzinfo=UTC)))
    days = [day for day in days if f"{day.day:%Y%m%d}" >= "20260312"]
    ours = layouts_market.historical_schedule(1001, days, use_rth=True, item=apple)
    assert ours == captured["HistoricalSchedule"]


def test_ticks(captured: dict[str, list[str]], apple: Instrument) -> None:
    target = Target(178, 1001, apple)
    assert layouts_market.tick_price(target, 68, Decimal("255.45"), Decimal(200), 0) == captured["TickPrice"]
    assert layouts_market.tick_size(target, 74, Decimal(312894)) == captured["TickSize"]
    assert layouts_market.market_data_type(1001, 3) == captured["MarketDataType"]
    assert layouts_market.snapshot_end(1001) == captured["TickSnapshotEnd"]


def new_york(text: str) -> datetime:
    """A time such as `20260402 09:30:00 US/Eastern`."""
    return datetime.fromisoformat(text.removesuffix(" US/Eastern")).replace(tzinfo=ZoneInfo("America/New_York"))


def position_view(instrument: Instrument, quantity: Decimal, avg_cost: Decimal) -> PositionView:
    return PositionView(
        account="DU9000001",
        instrument=instrument,
        quantity=quantity,
        avg_cost=avg_cost,
        market_price=Decimal("210.5"),
        market_value=Decimal("3157.5"),
        unrealized_pnl=Decimal("153.75"),
        realized_pnl=ZERO,
        daily_pnl=ZERO,
    )


def replace_instrument(item: Instrument, **changes: object) -> Instrument:
    return replace(item, **changes)  # type: ignore[arg-type]
