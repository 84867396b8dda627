"""Account subscriptions over time: what is told at once, what every three minutes, and only what changed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from ibkr_connector.paper.exchange.types import AccountValue, PnlView, PositionView
from ibkr_connector.paper.instruments import InstrumentBook
from ibkr_connector.paper.tws.fields import Cursor
from ibkr_connector.paper.tws.hub import Hub
from ibkr_connector.paper.tws.requests_account import REFRESH, AccountDesk
from ibkr_connector.paper.tws.requests_pnl import PnlDesk, flat
from ibkr_connector.paper.tws.routes import Refusal

BOOK = InstrumentBook(lambda: date(2026, 4, 15))
APPLE = next(item for item in BOOK if item.local_symbol == "AAPL")


class Loop:
    """Timers that fire when the test moves the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Any, Callable[[], None]]] = []
        self._order = count()

    @property
    def pending(self) -> int:
        return sum(not handle.off for _, _, handle, _ in self._timers)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        class Handle:
            off = False

            def cancel(self) -> None:
                self.off = True

        handle = Handle()
        heapq.heappush(self._timers, (self.now + delay, next(self._order), handle, callback))
        return handle

    def call_soon(self, callback: Callable[[], None]) -> Any:
        return self.call_later(0.0, callback)

    def move(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, handle, callback = heapq.heappop(self._timers)
            if not handle.off:
                callback()
        self.now = until


class Exchange:
    def __init__(self) -> None:
        self.accounts = ["DU1"]
        self.values = {"NetLiquidation": "1000.00", "BuyingPower": "4000.00"}
        self.held = Decimal(0)
        self.daily = Decimal(0)

    def account_values(self, account: str) -> list[AccountValue]:
        return [
            *(AccountValue(key=key, value=value, currency="USD") for key, value in self.values.items()),
            AccountValue(key="CashBalance", value="7.00", currency="USD"),
            AccountValue(key="CashBalance", value="7.00", currency="BASE"),
            AccountValue(key="Leverage-S", value="0.50", currency=""),
        ]

    def view(self) -> PositionView:
        view = flat("DU1", APPLE)
        return PositionView(**{name: getattr(view, name) for name in PositionView.__slots__} | {"quantity": self.held})

    def positions(self, account: str | None) -> list[PositionView]:
        return [self.view()] if self.held else []

    def pnl(self, account: str) -> PnlView:
        return PnlView(account=account, daily=self.daily, unrealized=Decimal(0), realized=Decimal(0))

    def pnl_single(self, account: str, con_id: int) -> PositionView | None:
        return self.view() if self.held else None


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 4, 15, 17, tzinfo=UTC)


@dataclass
class Client:
    """A session that remembers what it sent."""

    exchange: Exchange = field(default_factory=Exchange)
    loop: Loop = field(default_factory=Loop)
    version: int = 178
    sent: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts: Any = (Clock(), self.exchange, None, BOOK, None, None, self.loop, lambda: None)
        self.hub = Hub(*parts)
        self.desk, self.pnl = AccountDesk(self), PnlDesk(self)  # type: ignore[arg-type]

    def send(self, fields: list[str]) -> None:
        self.sent.append(fields)

    def ask(self, kind: int, *fields: str) -> list[list[str]]:
        """Send a request; what was answered at once."""
        before = len(self.sent)
        (self.desk.routes() | self.pnl.routes())[kind].handle(Cursor(fields))  # type: ignore[operator]
        return self.sent[before:]

    def after(self, seconds: float) -> list[list[str]]:
        """Let time pass; what was sent meanwhile."""
        before = len(self.sent)
        self.loop.move(seconds)
        return self.sent[before:]


@pytest.fixture
def client() -> Client:
    return Client()


def test_account_updates_come_whole_and_then_only_what_changed_every_three_minutes(client: Client) -> None:
    first = client.ask(6, "2", "1", "DU1")
    assert [message[0] for message in first] == ["6"] * 5 + ["8", "54"]
    assert client.after(REFRESH - 1) == []
    client.exchange.values["NetLiquidation"] = "1001.00"
    assert client.after(2) == [["6", "2", "NetLiquidation", "1001.00", "USD", "DU1"], ["8", "1", "13:00"]]
    assert client.ask(6, "2", "0", "DU1") == []
    client.exchange.values["NetLiquidation"] = "1002.00"
    assert client.after(10 * REFRESH) == []
    assert client.loop.pending == 0


def test_a_fill_is_told_at_once_to_every_kind_of_subscription(client: Client) -> None:
    client.ask(61, "1")
    client.ask(74, "1", "8", "", "model")
    client.ask(6, "2", "1", "")
    client.exchange.held = Decimal(100)
    for _ in range(3):
        client.desk.on_change("DU1", APPLE)
    told = client.after(0.0)
    assert [message[0] for message in told] == ["61", "71", "7", "8"], "once, however many fills there were"
    assert (told[0][14], told[1][15], told[2][13]) == ("100", "100", "100")
    client.exchange.held = Decimal(0)
    client.desk.on_change("DU1", APPLE)
    assert client.after(0.0)[0][14] == "0", "a closed position is told as zero"


def test_nobody_is_told_who_did_not_ask(client: Client) -> None:
    client.desk.on_change("DU1", APPLE)
    client.ask(61, "1")
    client.ask(64, "1")
    client.desk.on_change("DU1", APPLE)
    client.desk.on_change("DU1", None)
    assert client.after(1000.0) == []


def test_a_summary_is_sorted_filtered_and_refreshed(client: Client) -> None:
    first = client.ask(62, "1", "9", "All", "NetLiquidation,Leverage,BuyingPower")
    assert [message[4:6] for message in first[:-1]] == [
        ["BuyingPower", "4000.00"],
        ["Leverage-S", "0.50"],
        ["NetLiquidation", "1000.00"],
    ]
    assert first[-1] == ["64", "1", "9"]
    client.exchange.values["BuyingPower"] = "5000.00"
    assert [message[4:6] for message in client.after(REFRESH)] == [["BuyingPower", "5000.00"]]
    client.ask(63, "1", "9")
    assert client.loop.pending == 0


@pytest.mark.parametrize(
    ("tag", "currencies"), [("$LEDGER", ["BASE"]), ("$LEDGER:USD", ["USD"]), ("$LEDGER:ALL", ["USD", "BASE"])]
)
def test_ledgers_are_by_currency(client: Client, tag: str, currencies: list[str]) -> None:
    rows = client.ask(62, "1", "9", "All", tag)[:-1]
    assert [row[4] for row in rows] == ["CashBalance"] * len(currencies)
    assert [row[6] for row in rows] == currencies


def test_only_ledger_rows_are_sent_where_only_they_were_asked_for(client: Client) -> None:
    rows = client.ask(76, "1", "5", "DU1", "", "1")[:-1]
    assert {row[5] for row in rows} == {"NetLiquidation", "CashBalance"}
    everything = client.ask(76, "1", "6", "DU1", "", "0")[:-1]
    assert len(everything) == 5


def test_profit_and_loss_is_told_every_second_while_it_changes(client: Client) -> None:
    assert client.ask(92, "7", "DU1", "") == [["94", "7", "0", "0", "0"]]
    assert client.ask(94, "8", "DU1", "", "265598") == [["95", "8", "0", "0", "0", "0", "0"]]
    assert client.after(5) == []
    client.exchange.daily = Decimal("1.5")
    assert client.after(1) == [["94", "7", "1.5", "0", "0"]]
    client.ask(93, "7")
    client.ask(95, "8")
    assert client.loop.pending == 0


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        (6, ("2", "1", "DU9"), 321),
        (74, ("1", "5", "DU9", ""), 321),
        (76, ("1", "5", "DU9", "", "0"), 321),
        (92, ("5", "DU9", ""), 321),
        (94, ("5", "DU1", "", "999"), 200),
        (62, ("1", "5", "Friends", "NetLiquidation"), 321),
        (62, ("1", "5", "All", ""), 321),
    ],
)
def test_what_does_not_exist_is_refused(client: Client, kind: int, fields: tuple[str, ...], code: int) -> None:
    with pytest.raises(Refusal) as caught:
        client.ask(kind, *fields)
    assert caught.value.error[0] == code
    assert client.loop.pending == 0


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (62, ("1", "5", "All", "NetLiquidation")),
        (74, ("1", "5", "DU1", "")),
        (76, ("1", "5", "DU1", "", "0")),
        (92, ("5", "DU1", "")),
        (94, ("5", "DU1", "", "265598")),
    ],
)
def test_a_request_id_in_use_is_refused(client: Client, kind: int, fields: tuple[str, ...]) -> None:
    client.ask(kind, *fields)
    with pytest.raises(Refusal) as caught:
        client.ask(kind, *fields)
    assert caught.value.error[0] == 322


def test_closing_ends_every_timer(client: Client) -> None:
    client.ask(6, "2", "1", "DU1")
    client.ask(62, "1", "9", "All", "NetLiquidation")
    client.ask(92, "7", "DU1", "")
    client.desk.on_change("DU1", APPLE)
    client.desk.close()
    client.pnl.close()
    client.exchange.daily = Decimal(5)
    client.exchange.values["NetLiquidation"] = "2.00"
    assert client.after(1000) == []
