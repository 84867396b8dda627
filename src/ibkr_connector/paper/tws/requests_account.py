"""Requests about accounts: positions, account updates, summaries; and the subscriptions they start.

A change of the account is told at once (positions, portfolio rows), values follow every three minutes as in a real
gateway. All intervals are wire time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..exchange.types import AccountValue
from ..instruments import Instrument
from . import layouts_account, layouts_system, texts
from .fields import Cursor
from .requests_pnl import flat
from .routes import Refusal, Route, Routes

if TYPE_CHECKING:
    from .session import Session

REFRESH: Final = 180.0
"""Wire seconds between refreshes of account values and summaries."""
MAX_SUMMARIES: Final = 2
BASE: Final = "BASE"

LEDGER_TAGS: Final = frozenset(
    {
        "AccountOrGroup", "AccruedCash", "AccruedDividend", "CashBalance", "CorporateBondValue", "Cryptocurrency",
        "ExchangeRate", "FundValue", "FutureOptionValue", "FuturesPNL", "FxCashBalance", "IssuerOptionValue",
        "MoneyMarketFundValue", "MutualFundValue", "NetDividend", "NetLiquidationByCurrency", "OptionMarketValue",
        "RealCurrency", "RealizedPnL", "StockMarketValue", "TBillValue", "TBondValue", "TotalCashBalance",
        "UnrealizedPnL", "WarrantValue",
    }
)  # fmt: skip
"""Account values that exist once per currency: what the tag $LEDGER asks for."""

_SUMMARY_KEYS: Final = {"Leverage": "Leverage-S"}
"""Summary tags that account values know under another name."""


@dataclass(slots=True)
class _Summary:
    tags: list[str]
    sent: dict[tuple[str, str, str], str] = field(default_factory=dict)


@dataclass(slots=True)
class _Multi:
    account: str
    model: str
    ledger_only: bool = False
    sent: dict[tuple[str, str, str], str] = field(default_factory=dict)


class AccountDesk:
    """The account subscriptions of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._positions = False
        self._positions_multi: dict[int, _Multi] = {}
        self._updates: str | None = None
        self._updates_sent: dict[tuple[str, str, str], str] = {}
        self._updates_multi: dict[int, _Multi] = {}
        self._summaries: dict[int, _Summary] = {}
        self._dirty: dict[tuple[str, int], Instrument] = {}
        self._flush_handle: asyncio.Handle | None = None
        self._refresh_timer: asyncio.TimerHandle | None = None

    def routes(self) -> Routes:
        """The requests answered here."""
        return {
            6: Route(self._account_updates),
            17: Route(self._managed_accounts),
            61: Route(self._req_positions),
            62: Route(self._account_summary, 2),
            63: Route(self._cancel_summary, 2),
            64: Route(self._cancel_positions),
            74: Route(self._req_positions_multi, 2),
            75: Route(self._cancel_positions_multi, 2),
            76: Route(self._account_updates_multi, 2),
            77: Route(self._cancel_updates_multi, 2),
        }

    def close(self) -> None:
        """End every subscription and timer."""
        for handle in (self._flush_handle, self._refresh_timer):
            if handle is not None:
                handle.cancel()
        self._flush_handle = self._refresh_timer = None

    # --- managed accounts, account updates --------------------------------------------------------------------------

    @property
    def _accounts(self) -> list[str]:
        return self._session.hub.exchange.accounts

    def _managed_accounts(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.end()
        self._session.send(layouts_system.managed_accounts(self._accounts))

    def _account_updates(self, cursor: Cursor) -> None:
        cursor.skip("version")
        subscribe = cursor.flag("subscribe")
        account = cursor.text("acctCode")
        cursor.end()
        if not subscribe:
            self._updates = None
            self._arrange_timers()
            return
        account = self._session.hub.account(account, layouts_system.SYSTEM)
        self._updates = account
        self._updates_sent.clear()
        self._send_values()
        for view in self._session.hub.exchange.positions(account):
            self._session.send(layouts_account.portfolio_value(view))
        self._session.send(layouts_account.account_time(self._session.hub.clock.now()))
        self._session.send(layouts_account.account_download_end(account))
        self._arrange_timers()

    def _send_values(self) -> int:
        """Send the account values that differ from what was sent; how many."""
        account = self._updates
        if account is None:
            return 0
        changed = _changed(self._updates_sent, account, self._session.hub.exchange.account_values(account))
        for row in changed:
            self._session.send(layouts_account.account_value(row, account))
        return len(changed)

    def _account_updates_multi(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        account = cursor.text("account")
        model = cursor.text("modelCode")
        ledger_only = cursor.flag("ledgerAndNLV")
        cursor.end()
        self._not_in(self._updates_multi, request_id)
        account = self._session.hub.account(account, request_id)
        multi = self._updates_multi[request_id] = _Multi(account, model, ledger_only)
        self._send_multi_values(request_id, multi)
        self._session.send(layouts_account.account_update_multi_end(request_id))
        self._arrange_timers()

    def _send_multi_values(self, request_id: int, multi: _Multi) -> None:
        rows = self._session.hub.exchange.account_values(multi.account)
        if multi.ledger_only:
            rows = [row for row in rows if row.key in LEDGER_TAGS or row.key == "NetLiquidation"]
        for row in _changed(multi.sent, multi.account, rows):
            self._session.send(layouts_account.account_update_multi(request_id, row, multi.account, multi.model))

    def _cancel_updates_multi(self, cursor: Cursor) -> None:
        cursor.skip("version")
        self._updates_multi.pop(cursor.request_id(), None)
        cursor.end()
        self._arrange_timers()

    # --- positions ---------------------------------------------------------------------------------------------------

    def _req_positions(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.end()
        self._positions = True
        for view in self._session.hub.exchange.positions(None):
            self._session.send(layouts_account.position(view))
        self._session.send(layouts_account.position_end())

    def _cancel_positions(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.end()
        self._positions = False

    def _req_positions_multi(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        account = cursor.text("account")
        model = cursor.text("modelCode")
        cursor.end()
        self._not_in(self._positions_multi, request_id)
        account = self._session.hub.account(account, request_id)
        self._positions_multi[request_id] = _Multi(account, model)
        for view in self._session.hub.exchange.positions(account):
            self._session.send(layouts_account.position_multi(request_id, view, model))
        self._session.send(layouts_account.position_multi_end(request_id))

    def _cancel_positions_multi(self, cursor: Cursor) -> None:
        cursor.skip("version")
        self._positions_multi.pop(cursor.request_id(), None)
        cursor.end()

    # --- summaries ---------------------------------------------------------------------------------------------------

    def _account_summary(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        group = cursor.text("groupName")
        tags = [tag.strip() for tag in cursor.text("tags").split(",") if tag.strip()]
        cursor.end()
        self._not_in(self._summaries, request_id)
        if len(self._summaries) >= MAX_SUMMARIES:
            raise Refusal(request_id, texts.SUMMARIES_EXCEEDED)
        if group != "All":
            raise Refusal(request_id, texts.invalid(f"Group name '{group}' is not known", "b1"))
        if not tags:
            raise Refusal(request_id, texts.invalid("No account summary tags were specified", "b1"))
        summary = self._summaries[request_id] = _Summary(tags)
        self._send_summary(request_id, summary)
        self._session.send(layouts_account.account_summary_end(request_id))
        self._arrange_timers()

    def _send_summary(self, request_id: int, summary: _Summary) -> None:
        for account in self._accounts:
            rows = _summary_rows(self._session.hub.exchange.account_values(account), summary.tags)
            for row in _changed(summary.sent, account, rows):
                self._session.send(layouts_account.account_summary(request_id, account, row))

    def _cancel_summary(self, cursor: Cursor) -> None:
        cursor.skip("version")
        self._summaries.pop(cursor.request_id(), None)
        cursor.end()
        self._arrange_timers()

    # --- changes and timers ------------------------------------------------------------------------------------------

    def on_change(self, account: str, instrument: Instrument | None) -> None:
        """The account changed; tell the subscribers once the exchange is done with this step."""
        if instrument is None or not (self._positions or self._positions_multi or self._updates):
            return  # cash and margin alone wait for the next refresh
        self._dirty[account, instrument.con_id] = instrument
        if self._flush_handle is None:
            self._flush_handle = self._session.hub.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        session = self._session
        dirty, self._dirty = self._dirty, {}
        told_updates = False
        for (account, con_id), instrument in dirty.items():
            view = session.hub.exchange.pnl_single(account, con_id) or flat(account, instrument)
            if self._positions:
                session.send(layouts_account.position(view))
            for request_id, multi in self._positions_multi.items():
                if multi.account == account:
                    session.send(layouts_account.position_multi(request_id, view, multi.model))
            if self._updates == account:
                session.send(layouts_account.portfolio_value(view))
                told_updates = True
        if told_updates:
            self._send_values()
            session.send(layouts_account.account_time(session.hub.clock.now()))

    def _arrange_timers(self) -> None:
        loop = self._session.hub.loop
        wants_refresh = bool(self._updates or self._updates_multi or self._summaries)
        if wants_refresh and self._refresh_timer is None:
            self._refresh_timer = loop.call_later(REFRESH, self._refresh)
        elif not wants_refresh and self._refresh_timer is not None:
            self._refresh_timer.cancel()
            self._refresh_timer = None

    def _refresh(self) -> None:
        self._refresh_timer = None
        session = self._session
        if self._updates is not None:
            self._send_values()
            for view in session.hub.exchange.positions(self._updates):
                session.send(layouts_account.portfolio_value(view))
            session.send(layouts_account.account_time(session.hub.clock.now()))
        for request_id, multi in self._updates_multi.items():
            self._send_multi_values(request_id, multi)
        for request_id, summary in self._summaries.items():
            self._send_summary(request_id, summary)
        self._arrange_timers()

    @staticmethod
    def _not_in(active: Container[int], request_id: int) -> None:
        if request_id in active:
            raise Refusal(request_id, texts.DUPLICATE_REQUEST)


def _changed(sent: dict[tuple[str, str, str], str], account: str, rows: list[AccountValue]) -> list[AccountValue]:
    """The rows whose value is not the one sent last, which is noted as sent."""
    changed = []
    for row in rows:
        key = (account, row.key, row.currency)
        if sent.get(key) != row.value:
            sent[key] = row.value
            changed.append(row)
    return changed


def _summary_rows(rows: list[AccountValue], tags: list[str]) -> list[AccountValue]:
    """The rows a summary with these tags shows, sorted by tag as captured ones are."""
    plain = {_SUMMARY_KEYS.get(tag, tag) for tag in tags if not tag.startswith("$LEDGER")}
    ledgers = [tag.partition(":")[2] for tag in tags if tag.startswith("$LEDGER")]
    shown = [row for row in rows if row.key in plain and row.currency != BASE]
    for wanted in ledgers:
        shown += [
            row for row in rows if row.key in LEDGER_TAGS and row.key not in plain and _in_ledger(row.currency, wanted)
        ]
    return sorted(shown, key=lambda row: row.key)


def _in_ledger(currency: str, wanted: str) -> bool:
    if wanted == "ALL":
        return currency != ""
    return currency == (wanted or BASE)
