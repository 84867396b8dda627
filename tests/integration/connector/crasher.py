"""A program that does one thing with orders and ends without a word at a chosen moment on its way.

    crasher.py '{"port": …, "state_dir": …, "road": "place", "moment": "commit", "ref": …}'

Roads: place, bracket, oca, modify, cancel, resolve. Moments: `reserved` (checked, waiting for nothing any more),
`commit` (the transaction is about to be committed), `committed` (it is durable, the write has not begun), `frame N`
(the Nth frame of this road is with the operating system), `answered` (the caller has the broker's word). The end is
SIGKILL.

With `copies` it also keeps, in that folder, what SQLite made durable and nothing else; then a write to the socket is
followed by waiting for a line on stdin, so that the test can look at what a loss of power would leave at that moment.
`bug` plants one: `synchronous-off`, or `commit-after-write`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ibkr_connector import store
from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.tws.client import TwsBackend
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderInDoubt
from ibkr_connector.orders import journal_file
from ibkr_connector.orders.journal_file import JournalFile
from ibkr_connector.session.lane import LaneOutcome, OrderLane, _write_all

PLAN: dict[str, Any] = {}


def die() -> None:
    """As the kernel's out-of-memory killer would end it: no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def at(moment: str) -> None:
    if PLAN["moment"] == moment:
        die()


def arm() -> None:
    """From here on the moments count: what came before (connecting, an order to change) is over."""
    frames = 0
    real_frame, real_cancel = TwsBackend.order_frame, TwsBackend.send_cancel
    real_commit, real_lane = JournalFile.commit, OrderLane.write

    def sent() -> None:
        nonlocal frames
        frames += 1
        if "copies" in PLAN:
            sys.stdin.readline()
        at(f"frame {frames}")

    def frame(self: TwsBackend, order: WireOrder) -> Callable[[], None]:
        write = real_frame(self, order)

        def send() -> None:
            if not frames:
                at("committed")
            write()
            sent()

        return send

    def cancel(self: TwsBackend, order_id: int) -> None:
        at("committed")  # of a cancel: it waits for no journal
        real_cancel(self, order_id)
        sent()

    def commit(self: JournalFile) -> None:
        at("commit")
        real_commit(self)
        if PLAN["road"] == "resolve":
            at("committed")

    async def lane(self: OrderLane, **steps: Any) -> LaneOutcome:
        at("reserved")
        return await real_lane(self, **steps)

    TwsBackend.order_frame = frame  # type: ignore[method-assign]
    TwsBackend.send_cancel = cancel  # type: ignore[method-assign]
    JournalFile.commit = commit  # type: ignore[method-assign]
    OrderLane.write = lane  # type: ignore[method-assign]


def turn_syncing_off() -> None:
    """The first famous mistake: commits that are not on the disk."""
    real = store.set_synchronous

    def off(connection: Any, level: object) -> None:
        del level
        real(connection, "OFF")

    for module in (store, journal_file):
        vars(module)["set_synchronous"] = off


def turn_the_lane_round() -> None:
    """The second one: write first, commit afterwards."""

    async def backwards(
        self: OrderLane,
        *,
        prepare: Callable[[], None],
        commit: Callable[[], Awaitable[None]],
        frames: Callable[[], Sequence[Callable[[], None]]],
        **_: object,
    ) -> LaneOutcome:
        del self
        prepare()
        outcome = _write_all(frames())
        await commit()
        return outcome

    OrderLane.write = backwards  # type: ignore[method-assign]


async def main() -> None:
    """Connect, do it, die."""
    if "copies" in PLAN:
        from unit.orders.durable_vfs import DurableCopies

        PLAN["disk"] = DurableCopies(Path(PLAN["state_dir"]), Path(PLAN["copies"]))  # kept: SQLite calls it
    if PLAN.get("bug") == "synchronous-off":
        turn_syncing_off()
    ref = str(PLAN["ref"])
    connector: IBKRConnector = IBKRConnector(
        port=PLAN["port"],
        state_dir=PLAN["state_dir"],
        orders={"ack_timeout": 1.0 if PLAN["road"] == "resolve" else 15.0, "settle_interval": 60.0},
    )
    await connector.connect()
    await connector.get_live_quote("AAPL")
    road = PLAN["road"]
    if road in ("modify", "cancel"):
        await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=ref)
    elif road == "resolve":
        with contextlib.suppress(OrderInDoubt):
            await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=ref)
    journal = connector.orders._manager.desk.journal
    assert journal is not None
    await connector.orders._thread.run(journal.flush())  # what was recorded of it until now is no part of the road
    if PLAN.get("bug") == "commit-after-write":
        turn_the_lane_round()
    arm()
    match road:
        case "place":
            await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=ref)
        case "bracket":
            await connector.place_bracket_order(
                "AAPL", 10, 150, stop_loss_price=140, take_profit_price=160, order_ref=ref
            )
        case "oca":
            leg = {"symbol": "AAPL", "quantity": 10, "action": "BUY", "order_type": "LMT", "price": 150}
            await connector.place_oca_group([{**leg, "order_ref": f"{ref}.{number}"} for number in (1, 2, 3)])
        case "modify":
            await connector.modify_order(ref, quantity=20)
        case "cancel":
            await connector.cancel_order(ref)
        case "resolve":
            await connector.resolve(ref, "cancelled", "by the crasher")
    at("answered")


if __name__ == "__main__":
    PLAN.update(json.loads(sys.argv[1]))
    asyncio.run(main())
