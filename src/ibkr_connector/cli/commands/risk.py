"""`kill`, `resume`, `flatten`, `risk status`: stopping trading from outside, beside whatever program trades.

All of them say what they want in the record that every connector of the account reads before each write. Orders are
cancelled, and positions closed, by the program that trades; where none runs, by the command itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ibkr_connector.cli.commands.hit import OwnOrders
from ibkr_connector.cli.commands.known import (
    accounts_of,
    control_of,
    holder_of,
    kept_of,
    one_account,
    require_known,
    without_journal,
)
from ibkr_connector.cli.commands.orders import named, orders_table
from ibkr_connector.cli.common import Cx, command, fail, with_a_way_out
from ibkr_connector.cli.exits import ExitCode
from ibkr_connector.cli.output import facts
from ibkr_connector.clock import system_clock
from ibkr_connector.config import Settings
from ibkr_connector.errors import CancelInDoubt, JournalError, TradingError
from ibkr_connector.models.arguments import sentence
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.risk.state import TradingAction, TradingControl, TradingState
from ibkr_connector.trading import known_accounts, shared_control

if TYPE_CHECKING:
    from ibkr_connector.connector import IBKRConnector

_CANCELS_S = 10.0
_FLATTEN_S = 60.0
_LOOK_AGAIN_S = 0.25
_NOT_STOPPED = "NOT stopped"
_DAY_KEY = "daily_loss"


class KillScope(StrEnum):
    """Whose orders are cancelled."""

    OWN = "own"
    ACCOUNT = "account"


_Reason = Annotated[str, typer.Argument(help="Why, for the audit trail and whoever reads it.")]
_Scope = Annotated[
    KillScope,
    typer.Option(
        help="own: the orders of this journal. account: one global cancel, which also ends the orders of all other "
        "programs and those entered by hand in TWS."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "kill")(kill)
    command(app, "resume")(resume)
    command(app, "flatten")(flatten)
    risk = typer.Typer(help="Limits, trading state and losses.", no_args_is_help=True)
    command(risk, "status")(status)
    app.add_typer(risk, name="risk")


@dataclass(slots=True)
class _Outcome:
    """What a command did, for both outputs."""

    accounts: list[str]
    state: str
    reason: str
    scope: str
    connector: int | None = None
    """The process that trades, if one does."""
    cancelled: list[OrderSnapshot] = field(default_factory=list)
    working: list[OrderSnapshot] = field(default_factory=list)
    """Orders of the scope that still work."""
    others: list[OrderSnapshot] = field(default_factory=list)
    """Orders of other programs and people: ended with scope account, left alone otherwise."""
    positions: dict[str, str] | None = None
    asked: bool = False
    """Whether the record asks for it: then every connector of the account sees to it, also a later one."""
    warning: str | None = None
    """What may be wrong with the account that was named."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = {
            "accounts": self.accounts,
            "trading_state": self.state,
            "reason": self.reason,
            "scope": self.scope,
            "connector_pid": self.connector,
            "cancelled": [o.to_dict() for o in self.cancelled],
            "working": [o.to_dict() for o in self.working],
            "others": [o.to_dict() for o in self.others],
            "warning": self.warning,
        }
        return found if self.positions is None else {**found, "positions": self.positions}

    def drawn(self) -> RenderableType:
        """For a person."""
        who = "no program trades" if self.connector is None else f"process {self.connector} trades"
        pairs = [("account", ", ".join(self.accounts)), ("trading", self.state), ("reason", self.reason)]
        parts: list[RenderableType] = [facts([*pairs, ("connector", who)])]
        hit = (
            "also cancelled, not ours" if self.scope == KillScope.ACCOUNT else "left alone (--scope account ends them)"
        )
        for title, orders in (("cancelled", self.cancelled), ("STILL WORKING", self.working), (hit, self.others)):
            if orders:
                parts += [Text(f"{title}:", style="bold"), orders_table(orders)]
        if self.positions is not None:
            left = ", ".join(f"{quantity} {name}" for name, quantity in self.positions.items())
            parts.append(facts([("positions left", left or "none")]))
        return Group(*parts)


# --- kill -------------------------------------------------------------------------------------------------------------


def kill(
    cx: Cx,
    reason: _Reason,
    scope: _Scope = KillScope.OWN,
    keep_orders: Annotated[
        bool, typer.Option("--keep-orders", help="Cancel nothing: working orders, stops among them, stay.")
    ] = False,
) -> None:
    """Stop trading at once, in every process of the account, and cancel its working orders. Holds until `resume`.

    The stop itself needs no gateway: it holds from the moment the record is written. Without --account it stops every
    account this machine has a journal of. An account without one is stopped too, with a warning: it may be mistyped.
    """
    words, settings = sentence(reason, "reason"), cx.settings()
    action = TradingAction.NONE if keep_orders else TradingAction.CANCEL
    accounts = accounts_of(settings)
    warning = without_journal(settings)
    own = OwnOrders(cx)
    unsaved: JournalError | None = None
    for account in accounts:
        try:
            # Not by way of the journal: whatever is wrong with that must not stand in the way of a stop.
            control = shared_control(settings.paths.state_dir.expanduser(), account)
            control.kill(words, system_clock.now(), action=action)
        except JournalError as error:
            unsaved = error
            cx.out.note(f"trading of {account} could NOT be stopped: {error.message}", "bold red")
        else:
            cx.out.note(f"trading of {account} is stopped", "bold red")
    if warning is not None:
        cx.out.note(f"WARNING: {warning}", "bold red")
    outcome = _Outcome(accounts, TradingState.HALTED.value, words, scope.value, holder_of(settings, accounts))
    outcome.warning, outcome.asked = warning, unsaved is None

    async def cancels() -> None:
        if scope is KillScope.ACCOUNT:
            async with cx.reading() as reader:
                await _global_cancel(reader, outcome)
        if outcome.connector is None and unsaved is None:
            async with cx.trading() as trader:
                if not accounts:  # the first time on this machine: only the gateway knows the account
                    trader.kill(words)
                    outcome.accounts = [trader.account_id]
                await _cancel_own(trader, outcome)
        async with cx.reading() as reader:
            await _wait_for_ends(cx, reader, outcome, own, cx.options.timeout or _CANCELS_S)

    if unsaved is None:
        _finish(cx, outcome, None if keep_orders and accounts else lambda: cx.run(cancels))
        return
    if scope is KillScope.OWN or keep_orders:
        raise with_a_way_out(unsaved)
    # One global cancel needs no journal, and no record either.
    outcome.state, outcome.warning = _NOT_STOPPED, f"trading is {_NOT_STOPPED}: {unsaved.message}"
    _finish(cx, outcome, lambda: cx.run(cancels))
    raise typer.Exit(ExitCode.ERROR)


async def _cancel_own(trader: IBKRConnector, outcome: _Outcome) -> None:
    before = {o.order_ref for o in outcome.cancelled}
    try:
        ended = await trader.cancel_all_orders("own", timeout=_CANCELS_S)
    except CancelInDoubt:
        return  # what still works is shown
    outcome.cancelled += [o for o in ended if o.order_ref not in before]


async def _global_cancel(reader: IBKRConnector, outcome: _Outcome) -> None:
    there = await reader.get_open_orders(refresh=True)
    outcome.cancelled += there
    try:
        await reader.cancel_all_orders("account", timeout=_CANCELS_S / 5)
    except CancelInDoubt:
        return  # what has ended is asked for below


async def _wait_for_ends(cx: Cx, reader: IBKRConnector, outcome: _Outcome, own: OwnOrders, seconds: float) -> None:
    """Until the broker lists no order of the scope any more and the ends of all are told, or the time is over."""
    everything = outcome.scope == KillScope.ACCOUNT
    deadline = system_clock.monotonic() + seconds
    while True:
        told = await reader.get_open_orders(refresh=True)
        # The broker tells the end of an order to its own client alone: ask which have ended.
        ended = {o.perm_id: o for o in await reader.get_completed_orders()}
        there = named(cx, [o for o in told if o.perm_id not in ended])
        outcome.others = [o for o in there if not o.ours]
        outcome.working = there if everything else [o for o in there if o.ours]
        known = {o.perm_id for o in outcome.cancelled}
        hit = [o for o in named(cx, told) if (everything or o.ours) and o.perm_id not in known]
        outcome.cancelled += hit
        ours = {o.perm_id: o for o in own.hit()}
        # What the program has cancelled before the first look, or ends at this moment; it writes that down.
        unwritten = [o for o in ours.values() if own.may_end(o) and o.perm_id not in ended]
        settled = not outcome.working and not (unwritten and outcome.connector is not None)
        if settled or system_clock.monotonic() >= deadline:
            break
        await system_clock.sleep(_LOOK_AGAIN_S)
    still = {o.perm_id for o in outcome.working}
    written = {perm_id: o for perm_id, o in ours.items() if o.state.is_done}
    known = {o.perm_id for o in outcome.cancelled}
    told = outcome.cancelled + [o for i, o in ours.items() if i not in known and (i in written or i in ended)]
    gone = [
        _ended_as(o, ended.get(o.perm_id, written.get(o.perm_id))) for o in named(cx, told) if o.perm_id not in still
    ]
    if everything:
        outcome.others = [o for o in gone if not o.ours]
    outcome.cancelled = [o for o in gone if o.ours]


def _ended_as(o: OrderSnapshot, end: OrderSnapshot | None) -> OrderSnapshot:
    """The order with the end that the broker's completed orders tell, which lack its client id and names, or ours."""
    if end is None:
        return o
    return replace(o, state=end.state, filled=end.filled, avg_fill_price=end.avg_fill_price, why=end.why)


def _finish(cx: Cx, outcome: _Outcome, work: Callable[[], None] | None) -> None:
    """Do the part that needs the gateway, and tell; what was stopped stays stopped, whatever comes of that."""
    try:
        if work is not None:
            work()
    except TradingError as error:
        if not outcome.accounts:
            raise
        again = "the next connector of the account does it, or " if outcome.asked else ""
        cx.out.note(
            f"trading of {', '.join(outcome.accounts)} is {outcome.state}, and what works at the broker was not ended: "
            f"{again}this command again.",
            "bold red",
        )
        if outcome.warning is not None:
            error.context["warning"] = outcome.warning
        fail(error, cx)
    cx.out.result(outcome.to_dict(), outcome.drawn)
    if outcome.positions:
        cx.out.note(
            "positions are open still: close them in TWS, or run this again. Log and alerts of the program that "
            "trades say why (flatten_incomplete); `ibkr-connector orders doubt` shows orders whose end is not known.",
            "bold red",
        )
    if outcome.working or outcome.positions:
        raise typer.Exit(ExitCode.IN_DOUBT if outcome.working else ExitCode.ERROR)


# --- resume, flatten --------------------------------------------------------------------------------------------------


def resume(cx: Cx, reason: _Reason) -> None:
    """End a kill, a reducing phase, the day's loss trip and the drawdown of one account. Connects to nothing."""
    words, settings = sentence(reason, "reason"), cx.settings()
    account = one_account(settings)
    require_known(settings, account)
    before = (control := control_of(settings, account)).record
    if not control.resume(words, system_clock.now()):
        code = cx.out.refused(
            "NotResumed",
            f"somebody stopped trading of {account} again meanwhile: {control.record.reason}.",
            "Look at `ibkr-connector risk status`, then resume again.",
            ExitCode.ERROR,
        )
        raise typer.Exit(code)
    data = {"account": account, "trading_state": "active", "reason": words, "before": before.to_dict()}
    pairs = [("account", account), ("trading", "active"), ("before", f"{before.state.value}: {before.reason or '-'}")]
    cx.out.result(data, lambda: facts(pairs))


def flatten(cx: Cx, reason: _Reason, scope: _Scope = KillScope.OWN) -> None:
    """Let only reducing orders through, cancel the orders of --scope, and close every position of the account.

    A program that trades is told to do it and watched; where none runs the command does it itself. Trading stays
    reducing (after a kill: stopped) until `resume`.
    """
    words, settings = sentence(reason, "reason"), cx.settings()
    account = one_account(settings, missing_ok=True)
    accounts = [account] if account else []
    patience = cx.options.timeout or _FLATTEN_S
    # One that is not known here may be mistyped: looking must not make a folder.
    is_known = account in known_accounts(settings.paths.state_dir.expanduser())
    present = control_of(settings, account).record.state if is_known else TradingState.ACTIVE
    outcome = _Outcome(accounts, present.value, words, scope.value, holder_of(settings, accounts))
    own = OwnOrders(cx)

    async def here() -> None:
        async with cx.trading() as trader:
            outcome.state = TradingState.REDUCING.value  # from here on: a gateway that is away has changed nothing
            report = await trader.flatten(words, scope=scope.value, timeout=patience)
            outcome.accounts = [trader.account_id]
            outcome.positions = {name: f"{quantity:f}" for name, quantity in report.remaining.items()}
            outcome.state = trader.risk.trading.state.value

    async def there(control: TradingControl) -> None:
        before, now = control.record, system_clock.now()
        control.reduce(words, now, action=TradingAction.FLATTEN, from_halted=True)
        if control.record.action is not TradingAction.FLATTEN:  # reducing already: say it anew
            control.kill(words, now)
            control.reduce(words, system_clock.now(), action=TradingAction.FLATTEN, from_halted=True)
        outcome.state, outcome.asked = TradingState.REDUCING.value, True
        async with cx.reading() as reader:
            if scope is KillScope.ACCOUNT:
                await _global_cancel(reader, outcome)
            deadline = system_clock.monotonic() + patience
            while True:
                held = await reader.get_positions(refresh=True)
                if (not held and control.record.action is TradingAction.NONE) or system_clock.monotonic() >= deadline:
                    break
                if held and control.record.action is TradingAction.NONE:
                    break  # it has given up, and told why
                await system_clock.sleep(_LOOK_AGAIN_S)
            outcome.positions = {p.contract.local_symbol or p.contract.symbol: f"{p.quantity:f}" for p in held}
            await _wait_for_ends(cx, reader, outcome, own, 1.0)
        if before.state is TradingState.HALTED:
            control.kill(before.reason, system_clock.now())
        outcome.state = control.record.state.value

    if outcome.connector is None:
        _finish(cx, outcome, lambda: cx.run(here))
    else:
        _finish(cx, outcome, lambda: cx.run(lambda: there(control_of(settings, account))))


# --- risk status ------------------------------------------------------------------------------------------------------


def status(cx: Cx) -> None:
    """Show the trading state, the day's loss and the limits, of every account with a journal. Connects to nothing."""
    settings = cx.settings()
    state_dir, accounts = settings.paths.state_dir.expanduser(), accounts_of(settings)
    if cx.options.account is None and not known_accounts(state_dir):
        accounts = []  # the settings pin one that has not traded yet
    for account in accounts:
        require_known(settings, account)
    rows = [_status_of(cx, settings, account) for account in accounts]
    limits = [row.to_dict() for row in settings.describe() if row.section == "risk_limits"]
    data = {"accounts": rows, "limits": {row["key"]: row["value"] for row in limits}}

    def drawn() -> RenderableType:
        parts: list[RenderableType] = [facts(list(row.items()), title=row["account"]) for row in rows]
        parts = parts or [Text("No account has a journal here yet.")]
        return Group(*parts, facts([(row["key"], row["value"]) for row in limits], title="limits"))

    cx.out.result(data, drawn)


def _status_of(cx: Cx, settings: Settings, account: str) -> dict[str, Any]:
    record = control_of(settings, account).record
    try:
        day = kept_of(settings, account).get(_DAY_KEY)
    except JournalError as error:
        day = None
        cx.out.note_once(f"{error.message} What the day lost is not known without it.", "yellow")
    told = day if isinstance(day, dict) else {}
    return {
        "account": account,
        "trading_state": record.state.value,
        "reason": record.reason,
        "since": None if record.at is None else record.at.isoformat(),
        "asked_for": record.action.value or None,
        "connector_pid": holder_of(settings, [account]),
        "day_began_with": told.get("baseline"),
        "last_value": told.get("seen"),
        "highest_value": told.get("peak"),
        "daily_loss_tripped": bool(told.get("tripped")) and int(told.get("resumes", 0)) >= record.resumes,
    }
