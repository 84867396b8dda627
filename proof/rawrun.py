"""A schedule on a bare client library, on the stepped loop, and what its truth log says against it."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from ibkr_connector.paper import PaperGateway
from proof.history import History
from proof.memorynet import MemoryTransport
from proof.rawprogram import Belief, RawMemory, RawProgram
from proof.schedule import At, Schedule
from proof.steploop import PROCESS, Hang, Killed, Process, StepLoop
from proof.stepped import LONGEST_S, market_of
from proof.tap import Tap
from proof.truthview import TruthOrder, TruthView
from proof.verdict import Verdict

SETTLE_S = 60.0
JUDGED = ("INV-01", "INV-03", "INV-04", "INV-08", "INV-10", "INV-11")
"""What can be asked of a library that has no journal, no limits, no kill switch and no audit trail."""


class RawRun:
    """One schedule, with or without the habit of sending again."""

    def __init__(self, schedule: Schedule, library: str, *, resend: bool) -> None:
        self.schedule = schedule
        self.loop = StepLoop(schedule.seed)
        self.history = History(self.loop.time)
        self.memory = RawMemory()
        self.verdict = Verdict()
        self.hang = ""
        self._library = library
        self._resend = resend
        self._crashes = list(schedule.crashes)
        self._passed: dict[str, int] = {}
        self._gateway: PaperGateway
        self._process: Process | None = None
        self._program: RawProgram | None = None
        self._graveyard: list[object] = []
        self._idle = asyncio.Event()
        self._outside = contextvars.Context()
        self._module: Any = None
        self._tap = Tap(self.history, schedule.client_id, self._on_written)
        self.loop.net.on_connect = self._on_connect

    def run(self) -> Verdict:
        """Run it and judge it."""
        asyncio.set_event_loop(self.loop)
        module = importlib.import_module(self._library)  # its event library asks for a loop when it is imported
        logging.getLogger(self._library).setLevel(logging.CRITICAL + 1)
        try:
            main = self.loop.create_task(self._main(module), name="proof", context=self._outside)
            self.loop.run_until_complete(main)
        except Hang as hang:
            self.hang = str(hang)
        finally:
            if self._process is not None and self._process.alive:
                self._graveyard += self.loop.kill(self._process)
            self.loop.close()
            asyncio.set_event_loop(None)
        return self.verdict

    async def _main(self, module: Any) -> None:
        schedule = self.schedule
        self._gateway = PaperGateway(
            accounts=(schedule.account,),
            market=market_of(schedule.seed),
            start=schedule.start,
            speed=schedule.speed,
            seed=schedule.seed,
            faults=schedule.plan(),
        )
        await self._gateway.start()
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._course(module)
        except TimeoutError:
            self.hang = f"not at an end after {LONGEST_S:g} s"
        finally:
            await self._gateway.aclose()

    async def _course(self, module: Any) -> None:
        begun = self.loop.time()
        for crash in [one for one in self._crashes if one.at == "time"]:
            self.loop.call_later(crash.time, self._crash, crash.down)
        self._module = module
        self._start()
        await self._idle.wait()
        await asyncio.sleep(max(0.0, self.schedule.lasts + 0.5 - (self.loop.time() - begun)))
        self._crashes.clear()
        self._gateway.faults.clear()
        await self._idle.wait()
        program = self._program
        assert program is not None
        try:
            await asyncio.wait_for(program.up.wait(), 180.0)
        except TimeoutError:
            self.verdict.check("INV-11", "never connected again")
        await asyncio.sleep(SETTLE_S)
        self._judge_settled(program)
        self._inside(self._cancel_everything, program)
        await asyncio.sleep(30.0)
        self._judge_end(program)
        program.end()

    # --- the process -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        process = self._process = Process(f"program-{len(self._graveyard)}")
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        self.loop.create_task(self._live(), name="program", context=context)

    async def _live(self) -> None:
        program = self._program = RawProgram(
            self._module,
            self._gateway.tws_port,
            self.schedule.client_id,
            self.history,
            self.memory,
            resend=self._resend,
        )
        keeper = asyncio.create_task(program.stay_connected(), name="connection")
        self._graveyard.append(keeper)
        await program.up.wait()
        await asyncio.gather(
            *(
                program.run(agent, 0.0 if agent.name in self.memory.next else agent.start)
                for agent in self.schedule.agents
            )
        )
        self._idle.set()

    def _crash(self, down: float) -> None:
        process = self._process
        if process is None or not process.alive:
            return
        self._graveyard += [*self.loop.kill(process), self._program]
        self._idle.clear()
        self.loop.call_later(down, self._start, context=self._outside)

    def _on_step(self, step: At) -> None:
        process = PROCESS.get()
        if process is None or not process.alive:
            return
        count = self._passed[step] = self._passed.get(step, 0) + 1
        for crash in self._crashes:
            if crash.at == step and crash.nth == count:
                self._crash(crash.down)
                raise Killed(step)

    def _on_connect(self, transport: MemoryTransport) -> None:
        self._tap.begin()
        transport.tap = self._tap.written

    def _on_written(self, transport: MemoryTransport, data: bytes, message: str) -> None:
        if message == "place":
            # It commits nothing: the crashes around a commit come right before the write.
            self._on_step("before_commit")
            self._on_step("after_commit")
            count = self._passed.get("after_write", 0) + 1
            if any(crash.at == "after_write" and crash.nth == count for crash in self._crashes):
                transport.write_and(data)
            self._on_step("after_write")

    def _inside(self, what: Any, *args: Any) -> None:
        context = contextvars.Context()
        context.run(PROCESS.set, self._process)
        context.run(what, *args)

    def _cancel_everything(self, program: RawProgram) -> None:
        for trade in program.ib.openTrades():
            program.ib.cancelOrder(trade.order)

    # --- the judge ---------------------------------------------------------------------------------------------------

    def _own(self, view: TruthView, ref: str) -> list[TruthOrder]:
        return [order for order in view.by_ref(ref) if order.client_id == self.schedule.client_id]

    def _judge_settled(self, program: RawProgram) -> None:
        """A minute after the last fault: nothing is still on its way."""
        belief, view = Belief.of(program, self.schedule.account), TruthView.of(self._gateway.truth.entries)
        for ref in self.memory.asked:
            orders = self._own(view, ref)
            known = belief.states.get(ref, [])
            alive = [one for one in orders if one.is_live]
            believed = [one for one in known if not one[1]]
            broken = None
            if orders and not known:
                broken = f"{ref} arrived, and the program knows nothing of it"
            elif alive and not believed:
                broken = f"{ref} is {known[-1][0]} to the program and works at the broker"
            elif believed and not alive:
                broken = f"{ref} is {believed[-1][0]} to the program and at the broker it has ended or never was"
            self.verdict.check("INV-03", broken)
        for text in unprotected(view, self._own):
            self.verdict.check("INV-10", text)

    def _judge_end(self, program: RawProgram) -> None:
        """After the program cancelled all it knew of."""
        belief, view = Belief.of(program, self.schedule.account), TruthView.of(self._gateway.truth.entries)
        client = self.schedule.client_id
        for ref in self.memory.asked:
            orders = self._own(view, ref)
            alive = [one for one in orders if one.is_live]
            self.verdict.check("INV-03", f"{ref} works on after everything was cancelled" if alive else None)
        received: dict[str, int] = {}
        highest = 0
        for entry in self._gateway.truth.of("recv_place"):
            if entry.fields["client_id"] != client:
                continue
            ref, number = str(entry.fields["order_ref"]), int(str(entry.fields["order_id"]))
            received[ref] = received.get(ref, 0) + 1
            self.verdict.check(
                "INV-08", f"{ref} has the id {number}, {highest} was used" if number <= highest else None
            )
            highest = max(highest, number)
        for ref, count in received.items():
            self.verdict.check("INV-01", f"{ref} was received {count} times as a new order" if count > 1 else None)
        theirs = {str(at["exec_id"]): at for at in view.executions.values() if at["client_id"] == client}
        for exec_id, at in theirs.items():
            mine = belief.fills.get(exec_id)
            self.verdict.check("INV-04", None if mine else f"execution {exec_id} of {at['order_ref']} is not known")
        for exec_id in belief.fills.keys() - theirs.keys():
            self.verdict.check(
                "INV-04", f"execution {exec_id} is counted, and at the broker it is another or corrected"
            )
        held = {con_id: quantity for con_id, quantity in view.positions.items() if quantity}
        same = belief.positions == held
        self.verdict.check("INV-04", None if same else f"positions {belief.positions} here, {held} at the broker")
        for note in self.history.of("answer"):
            stuck = f"{note.data['do']} {note.data['ref']}: no answer after two minutes" if note.data["stuck"] else None
            self.verdict.check("INV-11", stuck)


def unprotected(view: TruthView, own: Any) -> Iterator[str | None]:
    """Entries that are filled and have no working stop although nobody took it away."""
    for entry in view.orders:
        stops = own(view, f"{entry.ref}.sl")
        if not entry.filled or not stops:
            continue
        exits = [*stops, *own(view, f"{entry.ref}.tp")]
        if any(order.cancel_asked is not None for order in (entry, *exits)):
            continue
        closed = sum((order.filled for order in exits), Decimal(0))
        working = sum((order.open_quantity for order in stops), Decimal(0))
        lacking = closed + working < entry.filled
        yield f"{entry.ref} filled {entry.filled}, its stop works for {working}" if lacking else None
