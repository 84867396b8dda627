"""`journal`, `audit`: what happened to an order, and the proof of what was sent. They read files, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ibkr_connector.cli.commands.orders import journals, orders_table
from ibkr_connector.cli.common import Cx, command
from ibkr_connector.cli.output import facts, table
from ibkr_connector.errors import InvalidRequest
from ibkr_connector.orders.audit import link
from ibkr_connector.orders.entries import AuditEntry
from ibkr_connector.orders.journal_view import JournalView, OrderHistory
from ibkr_connector.watch.audit import noted_head

_HASH = frozenset("0123456789abcdef")
_LONGEST = 1 << 20
"""Bytes: a longer line is none of an audit trail."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "journal")(journal)
    audit = typer.Typer(help="The audit trail of the order journal.", no_args_is_help=True)
    command(audit, "verify")(audit_verify)
    command(audit, "tail")(audit_tail)
    command(audit, "export")(audit_export)
    app.add_typer(audit, name="audit")


# --- orders ---------------------------------------------------------------------------------------------------------


def journal(
    cx: Cx,
    orders: Annotated[
        list[str] | None, typer.Argument(help="Order refs, order ids or permIds; without one the latest orders.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many of the latest.")] = 20,
) -> None:
    """Show what the order journals on this machine know: the latest orders, or everything about the orders named.

    It reads files only: it works beside a running program, and without a gateway.
    """
    known = journals(cx)
    if not orders:
        recent = [order for one in known for order in one.recent(limit)]
        recent.sort(key=lambda order: order.updated_at.isoformat() if order.updated_at else "", reverse=True)
        del recent[limit:]
        cx.out.result(
            [order.to_dict() for order in recent],
            lambda: orders_table(recent) if recent else Text("The journals hold no orders."),
        )
        return
    found = [history for key in orders for history in _named(known, key)]
    cx.out.result([history.to_dict() for history in found], lambda: Group(*map(_drawn, found)))


def _named(known: Sequence[JournalView], key: str) -> list[OrderHistory]:
    found = [history for one in known for history in one.find(key)]
    if not found:
        where = ", ".join(one.account for one in known) or "no account"
        raise InvalidRequest(
            f"no order {key!r} is in the journals of {where}.",
            field="orders",
            value=key,
            legal="an order ref, an order id, or a permId",
            remedy="`ibkr-connector journal` lists the latest orders; orders of other programs are not journaled.",
        )
    return found


def _drawn(history: OrderHistory) -> RenderableType:
    order = history.order
    results = [result for result in history.decision.get("gates", ()) if isinstance(result, dict)]
    # Once each: the decision on a group holds the answers about every leg.
    gates = dict.fromkeys(str(result.get("gate")) for result in results if result.get("passed"))
    pairs = [
        ("account", history.account),
        ("gateway", f"{history.endpoint}, client {order.client_id}, order id {order.order_id}"),
        ("permId", ", ".join(map(str, history.perm_ids)) or "not told"),
        ("in doubt", ", ".join(history.in_doubt) or "nothing"),
        ("gates passed", ", ".join(gates) or "-"),
    ]
    steps = [(f"{step.at:%Y-%m-%d %H:%M:%S.%f}"[:-3], step.what, _told(step.details)) for step in history.steps]
    lines = [(line.seq, line.kind, line.hash[:16]) for line in history.audit]
    return Group(
        orders_table([order]),
        facts(pairs, title=order.order_ref),
        table(("broker time (UTC)", "step", "told"), steps, fold="told"),
        table(("audit line", "kind", "hash"), lines, right="audit line"),
    )


def _told(details: dict[str, Any]) -> str:
    flat: list[str] = []
    for key, value in details.items():
        if isinstance(value, dict):
            inner = {name: one for name, one in value.items() if name != "contract" and one not in (None, "", [])}
            flat.append(f"{key}: " + " ".join(f"{name}={one}" for name, one in inner.items()))
        elif value not in (None, "", [], False):
            flat.append(f"{key}={value}")
    return ", ".join(flat)


# --- the audit trail ------------------------------------------------------------------------------------------------


def audit_verify(
    cx: Cx,
    head: Annotated[
        str | None,
        typer.Option(help="A head noted earlier (orders placed from a shell, and the log, tell it at start and stop)."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="A file of audit_file: none of its lines may be changed, and its last is the head that must be in the "
            "trail."
        ),
    ] = None,
) -> None:
    """Check that no line of the audit trail was changed, dropped, inserted or moved; exit code 1 if one was.

    A trail that was cut at its end, or written anew as a whole, shows only against a head that was noted elsewhere.
    A file given with --export must hold a line of every account that is checked; exit code 2 if it does not.
    """
    known = _head(head)
    if known is not None and export is not None:
        raise InvalidRequest("--head and --export both name a head.", field="head", legal="one of them")
    if export is not None and not export.is_file():
        raise InvalidRequest(f"there is no file {export}.", field="export", value=str(export), legal="an existing file")
    found = journals(cx)
    if known is not None and len(found) > 1:
        raise InvalidRequest(
            "a head belongs to one account, and there are journals of several.",
            field="account",
            legal="--account with one of " + ", ".join(one.account for one in found),
        )
    witnesses = [_Witness(known) if export is None else _noted(export, one.account) for one in found]
    data = [_verified(one, against) for one, against in zip(found, witnesses, strict=True)]
    if (known is not None or export is not None) and not data:
        raise InvalidRequest("there is no journal that this head could belong to.", field="head", legal="see --account")
    cx.out.result(data, lambda: _audit_drawn(data))
    if not all(row["ok"] for row in data):
        raise typer.Exit(1)


def _head(text: str | None) -> str | None:
    if text is None:
        return None
    found = text.strip().lower()
    if len(found) != 64 or not set(found) <= _HASH:
        raise InvalidRequest(
            f"--head {text!r} is no head of an audit trail.", field="head", value=text, legal="64 characters 0-9, a-f"
        )
    return found


@dataclass(frozen=True, slots=True)
class _Witness:
    """The head that a trail must contain, and what is wrong with the place it was noted in."""

    head: str | None
    problem: str = ""


def _noted(export: Path, account: str) -> _Witness:
    """What a file of `audit_file` says. One that says nothing would let every trail pass: it is bad input."""
    try:
        position, damaged = noted_head(export, account)
        changed = _first_changed(export, account)
    except OSError as error:
        raise InvalidRequest(
            f"{export} cannot be read: {error.strerror}.", field="export", value=str(export), legal="a readable file"
        ) from error
    if position is None:
        raise InvalidRequest(
            f"{export} holds no line of account {account}: nothing was compared.",
            field="export",
            value=str(export),
            legal="a file that audit_file or `audit export` wrote for this account",
            remedy="Give the file of this account, or name with --account the one whose file it is.",
        )
    problem = (
        f"the last line of {export} is damaged; compared with line {position.seq}, the last before" if damaged else ""
    )
    if changed is not None:
        problem = f"line {changed} was changed in {export}" + (f"; {problem}" if problem else "")
    return _Witness(position.hash, problem)


def _first_changed(export: Path, account: str) -> int | None:
    """The number of the first line of the account whose hash is not that of what it says. Raises: OSError."""
    with export.open("rb") as file:
        while piece := file.readline(_LONGEST):
            try:
                told = json.loads(piece)
                if told["account"] != account:
                    continue
                seq, digest = int(told["seq"]), told["hash"]
                made = link(seq, told["at"], told["kind"], told["order_ref"], told["data"], told["prev"])
            except (ValueError, RecursionError, KeyError, TypeError):
                continue  # no line of a trail, or half of one: what that means is looked at elsewhere
            if made != digest:
                return seq
    return None


def _verified(one: JournalView, against: _Witness) -> dict[str, Any]:
    told = {"account": one.account, "path": str(one.reader.path), "known_head": against.head}
    report = one.reader.verify(against.head).to_dict()
    if against.problem:
        report |= {"ok": False, "problems": [*report["problems"], against.problem]}
    return {**told, **report}


def _audit_drawn(data: Sequence[dict[str, Any]]) -> RenderableType:
    if not data:
        return Text("There is no journal yet.")
    parts: list[RenderableType] = []
    for row in data:
        verdict = Text("intact", style="green") if row["ok"] else Text("BROKEN: " + "; ".join(row["problems"]), "red")
        against = row["known_head"] or "none: a trail cut at its end, or written anew, would not show"
        pairs = (
            ("account", row["account"]),
            ("lines", row["entries"]),
            ("head", row["head"]),
            ("known head", against),
            ("trail", verdict),
        )
        parts.append(facts(pairs, title=str(Path(row["path"]))))
    return Group(*parts)


def audit_tail(
    cx: Cx,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many, of each account.")] = 20,
) -> None:
    """Show the last lines of the audit trail."""
    found = [(one, line) for one in journals(cx) for line in one.reader.audit(max(0, one.reader.head()[0] - lines))]
    cx.out.result(
        [_plain(one, line) for one, line in found],
        lambda: (
            table(
                ("line", "machine (UTC)", "broker (UTC)", "kind", "order", "told"),
                [
                    (
                        line.seq,
                        _second(line.at if line.has_machine_time else None),
                        _second(line.broker_at),
                        line.kind,
                        line.ref or "-",
                        line.data,
                    )
                    for _, line in found
                ],
                right="line",
                fold="told",
            )
            if found
            else Text("There is no audit trail yet.")
        ),
    )


def _second(stamp: str | None) -> str:
    return "-" if stamp is None else stamp[:19].replace("T", " ")


def audit_export(
    cx: Cx,
    after: Annotated[int, typer.Option(min=0, help="Only lines after this number.")] = 0,
) -> None:
    """Write the audit trail to stdout as JSON lines, oldest first, as audit_file has them."""
    for document in _documents(journals(cx), after):
        cx.out.document(document)


def _documents(known: Sequence[JournalView], after: int) -> Iterator[dict[str, Any]]:
    for one in known:
        for line in one.reader.audit(after):
            yield _plain(one, line)


def _plain(one: JournalView, line: AuditEntry) -> dict[str, Any]:
    return {"account": one.account, **line.to_dict()}
