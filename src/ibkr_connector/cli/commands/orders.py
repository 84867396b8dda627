"""`orders`, `audit`: what works, what ended, what is in doubt, and the proof of what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ibkr_connector.cli.common import Cx, command
from ibkr_connector.cli.output import facts, shown, table
from ibkr_connector.errors import JournalError
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.entries import JournalOrder
from ibkr_connector.orders.evolve import evolve
from ibkr_connector.orders.journal_read import FILE_NAME, JournalReader
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.steps import new_record

_RECENT = 500
"""Orders of a journal that are looked up by their permId."""


class Which(StrEnum):
    """The orders to show."""

    OPEN = "open"
    COMPLETED = "completed"
    DOUBT = "doubt"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "orders")(orders)
    audit = typer.Typer(help="The audit trail of the order journal.", no_args_is_help=True)
    command(audit, "verify")(audit_verify)
    app.add_typer(audit, name="audit")


def orders(
    cx: Cx,
    which: Annotated[Which, typer.Argument(help="Orders that work, that ended today, or that are in doubt.")] = (
        Which.OPEN
    ),
) -> None:
    """Show the account's orders: of all programs (open, completed), or of the journals on this machine (doubt).

    `doubt` reads the journals and connects to nothing: it works beside a running program, and without a gateway.
    """
    if which is Which.DOUBT:
        found = list(_in_doubt(cx))
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


def named(cx: Cx, found: Sequence[OrderSnapshot]) -> list[OrderSnapshot]:
    """The broker's orders under the refs that the journals on this machine know them by."""
    refs: dict[int, str] = {}
    for reader in journals(cx, missing_ok=True):
        refs |= {known.perm_id: known.order_ref for known in map(known_by_journal, reader.recent(_RECENT))}
    return [replace(o, order_ref=refs[o.perm_id], ours=True) if o.perm_id in refs and not o.ours else o for o in found]


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


def _in_doubt(cx: Cx) -> Iterator[OrderSnapshot]:
    for reader in journals(cx):
        for order in reader.load():
            live = _replayed(order)
            if live.record.in_doubt:
                yield live.snapshot


def journals(cx: Cx, *, missing_ok: bool = False) -> list[JournalReader]:
    """The journals of the state directory: of `--account` alone, or of every account. Nothing is created."""
    settings = cx.settings()
    state_dir, account = settings.paths.state_dir.expanduser(), settings.connection.account_id
    found = sorted(state_dir.glob(f"*/{FILE_NAME}")) if state_dir.is_dir() else []
    chosen = [path for path in found if not account or path.parent.name == account]
    if account and not chosen and not missing_ok:
        raise JournalError(
            f"there is no journal of account {account} in {state_dir}.",
            remedy="Check --account and state_dir (`ibkr-connector config show`); it begins with the first connect.",
            path=str(state_dir),
        )
    return [JournalReader(path) for path in chosen]


def known_by_journal(order: JournalOrder) -> OrderSnapshot:
    """The order as its journal last saw it."""
    return _replayed(order).snapshot


def _replayed(order: JournalOrder) -> LiveOrder:
    record = new_record(order.request, account=order.account, group=order.group, parent_ref=order.parent_ref)
    for change in order.changes:
        evolve(record, change)
    return LiveOrder(record)


def audit_verify(cx: Cx) -> None:
    """Check that no line of the audit trail was changed, dropped, inserted or moved; exit code 1 if one was."""
    readers = journals(cx)
    reports = [(reader.path.parent.name, reader.path, reader.verify()) for reader in readers]
    data = [{"account": name, "path": str(path), **report.to_dict()} for name, path, report in reports]
    cx.out.result(data, lambda: _audit_drawn(data))
    if not all(report.ok for _, _, report in reports):
        raise typer.Exit(1)


def _audit_drawn(data: Sequence[dict[str, Any]]) -> RenderableType:
    if not data:
        return Text("There is no journal yet.")
    parts: list[RenderableType] = []
    for row in data:
        verdict = Text("intact", style="green") if row["ok"] else Text("BROKEN: " + "; ".join(row["problems"]), "red")
        pairs = (("account", row["account"]), ("lines", row["entries"]), ("head", row["head"]), ("trail", verdict))
        parts.append(facts(pairs, title=str(Path(row["path"]))))
    return Group(*parts)
