"""`orders`: what works, what ended, what is in doubt, and the operator's word on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ibkr_connector.cli.common import Cx, command
from ibkr_connector.cli.output import shown, table
from ibkr_connector.errors import InvalidRequest, JournalError, OrderNotFound, Outcome
from ibkr_connector.models.order import OrderSnapshot, OrderState
from ibkr_connector.orders.journal_view import JournalView, journals_in

_ENDS = ", ".join(state.value for state in OrderState if state.is_done)


class Which(StrEnum):
    """The orders to show."""

    OPEN = "open"
    COMPLETED = "completed"
    DOUBT = "doubt"
    RESOLVE = "resolve"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "orders")(orders)


def orders(
    cx: Cx,
    which: Annotated[
        Which, typer.Argument(help="Orders that work, that ended today, or that are in doubt; resolve: settle one.")
    ] = Which.OPEN,
    order: Annotated[str | None, typer.Argument(help="With resolve: the order's ref, as `orders doubt` shows it.")] = (
        None
    ),
    as_: Annotated[str | None, typer.Option("--as", help=f"With resolve: how it ended: {_ENDS}.")] = None,
    evidence: Annotated[
        str | None, typer.Option(help="With resolve: what you looked at; kept in the audit trail for ever.")
    ] = None,
) -> None:
    """Show the account's orders: of all programs (open, completed), or of the journals on this machine (doubt).

    `doubt` reads the journals and connects to nothing: it works beside a running program, and without a gateway.
    `resolve` connects, asks the broker once more, and if the order is in doubt still, ends it on your word. It books no
    fill, also with `--as filled`: positions and executions come from the broker's own report alone.
    """
    if which is Which.RESOLVE:
        _resolve(cx, order, as_, evidence)
        return
    for field, value in (("order", order), ("as", as_), ("evidence", evidence)):
        if value is not None:
            raise InvalidRequest(
                f"orders {which.value} takes no {field} ({value!r}).",
                field=field,
                value=value,
                legal="only with `orders resolve`",
                remedy="One order's whole story: `ibkr-connector journal REF`.",
            )
    if which is Which.DOUBT:
        found = [doubtful for journal in journals(cx) for doubtful in journal.in_doubt()]
        cx.out.result([o.to_dict() for o in found], lambda: _drawn(found, "No order is in doubt."))
        return

    async def work() -> list[OrderSnapshot]:
        async with cx.reading() as connector:
            if which is Which.COMPLETED:
                return await connector.get_completed_orders()
            return await connector.get_open_orders(refresh=True)

    found = named(cx, cx.run(work))
    empty = "No orders ended today." if which is Which.COMPLETED else "No open orders."
    cx.out.result([o.to_dict() for o in found], lambda: _drawn(found, empty))


def _resolve(cx: Cx, order: str | None, as_: str | None, evidence: str | None) -> None:
    usage = f'`ibkr-connector orders resolve REF --as {_ENDS.split(",")[0]} --evidence "what you looked at"`'
    if not order:
        legal = "a ref of `ibkr-connector orders doubt`"
        raise InvalidRequest("which order is resolved?", field="order", legal=legal, remedy=f"Say {usage}.")
    if as_ is None or as_.strip().lower() not in _ENDS.split(", "):
        text = "say with --as how the order ended." if as_ is None else f"--as {as_!r} is no end of an order."
        raise InvalidRequest(text, field="as", value=as_, legal=_ENDS, remedy=f"Say {usage}.")
    if evidence is None or not evidence.strip():
        raise InvalidRequest(
            "say with --evidence what you looked at: a statement, TWS itself, IBKR's support.",
            field="evidence",
            value=evidence,
            legal="a sentence",
            remedy=f"Say {usage}.",
        )
    state, words = as_.strip().lower(), evidence

    async def work() -> OrderSnapshot:
        async with cx.trading() as connector:
            try:
                return await connector.resolve(order, state, words)
            except OrderNotFound as error:  # by its class the broker's answer to a cancel; here nothing was sent
                raise typer.Exit(cx.out.failed(error, Outcome.NOT_SENT)) from None

    found = cx.run(work)
    told = _booked(found)
    cx.out.result({**found.to_dict(), "note": told}, lambda: Group(orders_table([found]), Text(told)))


def _booked(o: OrderSnapshot) -> str:
    """What a resolution did to the figures: nothing, which somebody who resolves an order as filled may not expect.

    An execution made up here could not be told from the broker's own, which may still come (INV-04).
    """
    counted = f"{shown(o.filled)} of {shown(o.quantity)} {o.contract.symbol}"
    return (
        f"No fill was booked: the broker has told executions of {counted}, and only those count. Positions come from "
        "the broker's own report: compare `ibkr-connector positions` with your statement. What the broker tells of "
        "this order later is counted then."
    )


def named(cx: Cx, found: Sequence[OrderSnapshot]) -> list[OrderSnapshot]:
    """The broker's orders under the refs, and of the agents, that the journals on this machine know them by.

    A journal that cannot be read takes the names away and nothing else: looking and getting out go on (INV-12). Which
    orders are ours says their client id then.
    """
    known: dict[int, OrderSnapshot] = {}
    own_id: int | None = None
    for journal in journals(cx, missing_ok=True):
        try:
            known |= journal.by_perm_id()
        except JournalError as error:
            own_id = cx.settings().connection.client_id
            cx.out.note_once(f"{error.message} Orders are shown without the names that journal has.", "yellow")
    return [_named(o, known, own_id) for o in found]


def _named(o: OrderSnapshot, known: dict[int, OrderSnapshot], own_id: int | None) -> OrderSnapshot:
    if o.ours:
        return o
    if o.perm_id in known:
        return replace(o, order_ref=known[o.perm_id].order_ref, agent=known[o.perm_id].agent, ours=True)
    return replace(o, ours=True) if own_id is not None and o.client_id == own_id else o


def _drawn(found: Sequence[OrderSnapshot], empty: str) -> RenderableType:
    return orders_table(found) if found else Text(empty)


def orders_table(found: Sequence[OrderSnapshot]) -> RenderableType:
    """Orders, one a line, and below what a line has no room for."""
    rows = [
        (
            o.order_id or "-",
            _written(o),
            Text(o.state.value + ("" if o.ours else f" (client {o.client_id})"), style=_STYLES.get(o.state.value, "")),
            _done(o),
            o.order_ref,
        )
        for o in found
    ]
    reasons = [Text(f"{o.order_ref}: {o.why}", style="dim") for o in found if o.why]
    return Group(table(("id", "order", "state", "filled", "ref"), rows, right="id", fold="ref"), *reasons)


def _written(o: OrderSnapshot) -> str:
    """The order as one would say it: `SELL 80 AAPL STP 245.84 GTC`."""
    prices = [shown(price) for price in (o.stop_price, o.limit_price, o.trail_amount) if price is not None]
    if o.trail_percent is not None:
        prices.append(f"{o.trail_percent.normalize():f}%")
    what = o.contract.local_symbol or o.contract.symbol
    return " ".join([o.action.value, shown(o.quantity), what, o.order_type, *prices, o.tif])


def _done(o: OrderSnapshot) -> str:
    if not o.filled:
        return "-"
    at = "" if o.avg_fill_price is None else f" at {shown(round(o.avg_fill_price, 4))}"
    return f"{shown(o.filled)}{at}"


_STYLES = {"filled": "green", "rejected": "red", "in_doubt": "bold yellow", "cancelled": "dim", "expired": "dim"}


# --- journals -------------------------------------------------------------------------------------------------------


def journals(cx: Cx, *, missing_ok: bool = False) -> list[JournalView]:
    """The journals of the state directory: of `--account` alone, or of every account. Nothing is created."""
    settings = cx.settings()
    state_dir, account = settings.paths.state_dir.expanduser(), settings.connection.account_id
    found = journals_in(state_dir, account)
    if account and not found and not missing_ok:
        raise JournalError(
            f"there is no journal of account {account} in {state_dir}.",
            remedy="Check --account and state_dir (`ibkr-connector config show`); it begins with the first connect.",
            path=str(state_dir),
        )
    return found
