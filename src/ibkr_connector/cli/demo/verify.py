"""The judgement at the end of the demo: the connector's word against the gateway's truth log and the market itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from ibkr_connector.cli.demo.child import decimal
from ibkr_connector.models.account import Execution, Position
from ibkr_connector.models.order import OrderSnapshot

Entry = dict[str, Any]
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One claim, and whether it holds."""

    claim: str
    holds: bool
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"claim": self.claim, "holds": self.holds, "detail": self.detail}


class TopOfBook(Protocol):
    """A quote, as far as the judge looks at it."""

    @property
    def bid(self) -> Decimal | None:
        """None: no buyer."""
        ...

    @property
    def ask(self) -> Decimal | None:
        """None: no seller."""
        ...


QuoteAt = Callable[[int, datetime], TopOfBook | None]
"""The real quote of a con_id in force at a market time, asked of the market's data and not of the exchange."""


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What both sides know when everything is over."""

    truth: Sequence[Entry]
    placed: Sequence[str]
    """The refs of every order the demo placed."""
    executions: Sequence[Execution]
    positions: Sequence[Position]
    open_orders: Sequence[OrderSnapshot]
    in_doubt: Sequence[OrderSnapshot]
    cash_before: Decimal
    cash_after: Decimal
    realized: Decimal | None
    """As the commission reports tell; None where they do not (currencies)."""
    quote_at: QuoteAt
    allowed: Sequence[str] | None = None
    """Over the Web API: the questions that may be answered with yes, by message id. None: TWS asks none."""
    signed: bool = False
    """Whether every request had to be signed (OAuth)."""

    def of(self, kind: str) -> list[Entry]:
        """The truth log's entries of one kind."""
        return [entry for entry in self.truth if entry["kind"] == kind]


def verify(evidence: Evidence) -> list[Verified]:
    """Every claim the demo makes, judged."""
    of_the_web = [] if evidence.allowed is None else [_written_once(evidence), _answered(evidence, evidence.allowed)]
    if evidence.signed:
        of_the_web.append(_signed(evidence))
    return [
        _sent_once(evidence),
        _same_fills(evidence),
        _far_side(evidence),
        _nothing_works(evidence),
        _flat(evidence),
        _to_the_cent(evidence),
        *of_the_web,
    ]


def _sent_once(evidence: Evidence) -> Verified:
    received = Counter(entry["order_ref"] for entry in evidence.of("recv_place"))
    missing = [ref for ref in evidence.placed if not received[ref]]
    twice = [ref for ref, times in received.items() if times > 1]
    strange = [ref for ref in received if ref not in evidence.placed]
    problems = [*(f"{r} never arrived" for r in missing), *(f"{r} arrived twice" for r in twice)]
    problems += [f"{r} was not ours" for r in strange]
    return Verified(
        claim="the gateway received every order exactly once",
        holds=not problems,
        detail="; ".join(problems) or f"{len(received)} orders",
    )


def _written_once(evidence: Evidence) -> Verified:
    """Requests as they arrived, whatever was read in them: what the gateway did not take counts as well."""
    requests = [entry["order_refs"] for entry in evidence.of("http") if entry["request"] == "place_order"]
    written = Counter(ref for refs in requests for ref in refs)
    problems = [f"{ref} in {written[ref]} requests" for ref in evidence.placed if written[ref] != 1]
    return Verified(
        claim="every order was written in one request",
        holds=bool(requests) and not problems,
        detail="; ".join(problems) or f"{len(written)} orders in {len(requests)} requests",
    )


def _answered(evidence: Evidence, allowed: Sequence[str]) -> Verified:
    asked = {entry["reply_id"]: entry["message_id"] for entry in evidence.of("question")}
    answers = Counter(entry["reply_id"] for entry in evidence.of("recv_reply") if entry["confirmed"])
    problems = [f"{asked[reply]} was answered {answers[reply]} times" for reply in asked if answers[reply] != 1]
    problems += [f"{asked.get(reply, reply)} is not allowed" for reply in answers if asked.get(reply) not in allowed]
    return Verified(
        claim="every question was answered once, and is one that may be answered with yes",
        holds=not problems,
        detail="; ".join(problems) or (f"asked: {', '.join(asked.values())}" if asked else "nothing was asked"),
    )


def _signed(evidence: Evidence) -> Verified:
    tokens, refused = len(evidence.of("oauth_token")), evidence.of("oauth_refused")
    detail = "; ".join(str(entry["reason"]) for entry in refused) or f"{tokens} session token, nothing refused"
    return Verified(
        claim="every request was signed, and every signature held", holds=tokens > 0 and not refused, detail=detail
    )


def _same_fills(evidence: Evidence) -> Verified:
    theirs = {entry["exec_id"]: (decimal(entry, "quantity"), decimal(entry, "price")) for entry in evidence.of("fill")}
    ours = {e.exec_id: (e.quantity, e.price) for e in evidence.executions}
    differing = sorted(set(theirs.items()) ^ set(ours.items()))
    return Verified(
        claim="both sides know the same fills",
        holds=bool(theirs) and not differing,
        detail=f"{len(theirs)} fills" if not differing else f"differ: {', '.join(i for i, _ in differing)}",
    )


def _far_side(evidence: Evidence) -> Verified:
    fills = evidence.of("fill")
    inside = list(_inside_the_quote(evidence))
    problems = [text for text, passive in inside if not passive]
    counted = f"{len(fills) - len(inside)} of {len(fills)} fills, by the market's own data"
    passive = f"; {len(inside)} came to a resting limit, at its own price" if inside else ""
    return Verified(
        claim="every fill is at or beyond the far side of the quote in force",
        holds=bool(fills) and not problems,
        detail="; ".join(problems) or counted + passive,
    )


def _inside_the_quote(evidence: Evidence) -> Iterator[tuple[str, bool]]:
    """Fills better than the far side gave, and whether they are passive: at the own price of a limit that rested."""
    limits = {
        entry["order_ref"]: decimal(entry, "limit_price")
        for entry in evidence.truth
        if entry["kind"] in ("recv_place", "modified") and entry.get("limit_price")
    }
    for fill in evidence.of("fill"):
        at = datetime.fromisoformat(fill["at"])
        price, quote = decimal(fill, "price"), evidence.quote_at(int(fill["con_id"]), at)
        buys = fill["side"] == "BOT"
        side = None if quote is None else quote.ask if buys else quote.bid
        if side is not None and (price >= side if buys else price <= side):
            continue
        passive = fill.get("liquidity") == 1 and price == limits.get(fill["order_ref"])
        yield f"{fill['side']} at {price}, {'ask' if buys else 'bid'} {side} at {at:%H:%M:%S.%f}", passive


def _nothing_works(evidence: Evidence) -> Verified:
    ended = {e["order_ref"] for e in evidence.of("status") if e["status"] in ("Filled", "Cancelled", "Inactive")}
    ended |= {entry["order_ref"] for kind in ("cancelled", "rejected", "expired") for entry in evidence.of(kind)}
    working = [ref for ref in evidence.placed if ref not in ended]
    working += [order.order_ref for order in (*evidence.open_orders, *evidence.in_doubt)]
    return Verified(
        claim="no order works or is in doubt",
        holds=not working,
        detail=f"still there: {', '.join(sorted(set(working)))}" if working else f"{len(ended)} orders have ended",
    )


def _flat(evidence: Evidence) -> Verified:
    held = sum((decimal(e, "quantity") * (1 if e["side"] == "BOT" else -1) for e in evidence.of("fill")), Decimal(0))
    ours = ", ".join(f"{p.quantity} {p.contract.symbol}" for p in evidence.positions)
    return Verified(
        claim="the account is flat",
        holds=not held and not evidence.positions,
        detail=f"the gateway counts {held}, the connector {ours or 'nothing'}",
    )


def _to_the_cent(evidence: Evidence) -> Verified:
    """Cash moved by what was sold, less what was bought, less commissions; a round trip's profit is realised."""
    traded = sum(
        (decimal(e, "quantity") * decimal(e, "price") * (-1 if e["side"] == "BOT" else 1) for e in evidence.of("fill")),
        Decimal(0),
    )
    costs = sum((decimal(e, "amount") for e in evidence.of("commission")), Decimal(0))
    moved = evidence.cash_after - evidence.cash_before
    expected = traded - costs
    fits = abs(moved - expected) <= _CENT
    realized = ""
    if evidence.realized is not None:
        fits = fits and abs(evidence.realized - expected) <= _CENT
        realized = f", realised {evidence.realized:,.2f}"
    return Verified(
        claim="the money adds up",
        holds=fits,
        detail=(
            f"cash moved by {moved:,.2f}{realized}; "
            f"fills {traded:,.2f} less commissions {costs:,.2f} make {expected:,.2f}"
        ),
    )
