"""A million concurrent tries against one limit (INV-05): |position + in flight| never passes it, at any step.

    python tools/hammer_limit.py                    a million tries on 32 threads, some minutes
    python tools/hammer_limit.py --tries 20000      fewer
    python tools/hammer_limit.py --canary           check and reservation apart: must be caught, or exit 1

The judge is a book of its own that knows nothing of reservations: an order is in it from the moment the engine let it
through until it has ended. The threads change over as often as the interpreter can.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from ibkr_connector.clock import system_clock
from ibkr_connector.models import Contract, OrderRequest
from ibkr_connector.risk import InstrumentView, PriceView, RiskDecision, RiskEngine, RiskLimits, RiskSnapshot, RiskView

CON_ID, LIMIT, LARGEST = 1, Decimal(100), 9
_ZERO = Decimal(0)
LIMITS = RiskLimits(
    max_position_size=LIMIT,
    max_order_size=None,
    max_order_value=None,
    daily_loss_limit=None,
    check_market_hours=False,
)
BASE = {
    "account": "DU1",
    "currency": "USD",
    "now": datetime(2026, 11, 20, 15, 0, tzinfo=UTC),
    "instruments": {CON_ID: InstrumentView(con_id=CON_ID, currency="USD")},
    "prices": {CON_ID: PriceView(bid=Decimal(9), ask=Decimal(10))},
    "fee_estimate": Decimal(1),
}


@dataclass
class Judge:
    """What really is held and under way."""

    position: Decimal = _ZERO
    under_way: dict[int, Decimal] = field(default_factory=lambda: {1: _ZERO, -1: _ZERO})
    tries: int = 0
    accepted: int = 0
    passes: int = 0
    nearest: Decimal = _ZERO
    lock: threading.Lock = field(default_factory=threading.Lock)

    def move(self, sign: int, open_: Decimal, filled: Decimal = _ZERO) -> None:
        """An order came, filled or ended: look whether the limit is passed now."""
        with self.lock:
            self.under_way[sign] += open_
            self.position += sign * filled
            worst = max(self.position + self.under_way[1], self.under_way[-1] - self.position)
            self.nearest = max(self.nearest, worst)
            self.passes += worst > LIMIT

    def count(self, *, accepted: bool) -> None:
        """One try."""
        with self.lock:
            self.tries += 1
            self.accepted += accepted


class LiveView(RiskSnapshot):
    """A view whose position is the judge's, read when the gate asks."""

    __slots__ = ("judge",)

    def __init__(self, judge: Judge) -> None:
        super().__init__(**BASE)  # type: ignore[arg-type]
        object.__setattr__(self, "judge", judge)

    def position(self, con_id: int, sign: int) -> Decimal:
        """See `RiskView.position`."""
        judge: Judge = self.judge  # type: ignore[attr-defined]
        return judge.position


class Apart(RiskEngine):
    """The planted bug: another thread may come between check and reservation."""

    def check_and_reserve(self, request: OrderRequest, view: RiskView) -> RiskDecision:
        """Look first, take afterwards."""
        decision = self.check(request, view)
        if decision.allowed:
            self.adopt(
                request.order_ref,
                con_id=CON_ID,
                sign=request.action.sign,
                quantity=request.quantity,
                open_quantity=request.quantity,
            )
        return decision


def work(engine: RiskEngine, judge: Judge, rng: Random, tries: int, name: int) -> None:
    """One caller: place, and sooner or later fill, cancel, or give up."""
    view, contract = LiveView(judge), Contract.stock("X").with_con_id(CON_ID)
    open_: list[tuple[str, int, Decimal]] = []
    for number in range(tries):
        sign, quantity = rng.choice((1, -1)), Decimal(rng.randint(1, LARGEST))
        request = OrderRequest.make(
            contract=contract, action="BUY" if sign > 0 else "SELL", quantity=quantity, order_ref=f"{name}-{number}"
        )
        accepted = engine.check_and_reserve(request, view).allowed
        judge.count(accepted=accepted)
        if accepted:
            judge.move(sign, quantity)
            open_.append((request.order_ref, sign, quantity))
        while open_ and (len(open_) > 2 or rng.random() < 0.5):
            end(engine, judge, rng, *open_.pop(rng.randrange(len(open_))))
    for one in open_:
        end(engine, judge, rng, *one)


def end(engine: RiskEngine, judge: Judge, rng: Random, ref: str, sign: int, quantity: Decimal) -> None:
    """Half are filled, the others end without; a fill moves quantity from the order to the position in one step."""
    if rng.random() < 0.5:
        engine.commit(ref)
        with engine.atomically():
            judge.move(sign, -quantity, filled=quantity)
            engine.on_fill(ref, quantity, _ZERO)
            engine.on_done(ref)
    else:
        judge.move(sign, -quantity)
        engine.on_done(ref)


def hammer(tries: int, threads: int, seed: int, *, canary: bool = False) -> dict[str, Any]:
    """Run it; what came of it as plain values."""
    engine, judge = (Apart if canary else RiskEngine)(LIMITS), Judge()
    began, before = system_clock.monotonic(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        share = [tries // threads + (number < tries % threads) for number in range(threads)]
        rngs = [Random(f"{seed}-{number}") for number in range(threads)]  # noqa: S311 - a schedule, not a secret
        callers = [
            threading.Thread(target=work, args=(engine, judge, rngs[number], share[number], number))
            for number in range(threads)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    finally:
        sys.setswitchinterval(before)
    return {
        "tries": judge.tries,
        "accepted": judge.accepted,
        "limit": str(LIMIT),
        "nearest": str(judge.nearest),
        "passes": judge.passes,
        "left_reserved": str(engine.reserved_exposure(CON_ID).buys + engine.reserved_exposure(CON_ID).sells),
        "seed": seed,
        "threads": threads,
        "seconds": round(system_clock.monotonic() - began, 1),
    }


def main(words: Sequence[str] | None = None) -> int:
    """Run, tell as JSON; 0 when the limit held (with --canary: when it was seen not to)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--canary", action="store_true")
    chosen = parser.parse_args(words)
    found = hammer(chosen.tries, chosen.threads, chosen.seed, canary=chosen.canary)
    sys.stdout.write(json.dumps(found) + "\n")
    if chosen.canary:
        return 0 if found["passes"] else 1
    # Vacuous if it never came near the limit, or refused nearly everything.
    good = found["passes"] == 0 and found["left_reserved"] == "0" and Decimal(found["nearest"]) == LIMIT
    return 0 if good and found["accepted"] * 5 > found["tries"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
