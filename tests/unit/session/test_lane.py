"""The one writer: commit, check, write, in this order, one turn at a time."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.clock import SystemClock
from ibkr_connector.errors import JournalUnwritable, NotConnected, OrderInDoubt, OrderNotSent, OrderValidationError
from ibkr_connector.session.lane import LaneOutcome, OrderLane, Written


class Steps:
    """Records what the lane does."""

    def __init__(self, *, why: str = "", fail: Exception | None = None, at_frame: int = 0, frames: int = 1) -> None:
        self.done: list[str] = []
        self.why = why
        self.fail = fail
        self.at_frame = at_frame
        self.frames = frames
        self.gate = asyncio.Event()
        self.gate.set()

    def prepare(self) -> None:
        self.done.append("prepare")

    async def commit(self) -> None:
        await self.gate.wait()
        self.done.append("commit")

    def recheck(self) -> str:
        self.done.append("recheck")
        return self.why

    def write(self, number: int) -> None:
        if self.fail is not None and number == self.at_frame:
            raise self.fail
        self.done.append(f"write {number}")

    async def run(self, lane: OrderLane, timeout: float = 5.0) -> LaneOutcome:
        return await lane.write(
            prepare=self.prepare,
            commit=self.commit,
            recheck=self.recheck,
            frames=lambda: [lambda n=n: self.write(n) for n in range(self.frames)],  # type: ignore[misc]
            timeout=timeout,
        )


async def test_order_is_prepare_commit_recheck_write() -> None:
    steps = Steps(frames=3)
    outcome = await steps.run(OrderLane(SystemClock()))
    assert outcome == LaneOutcome(Written.YES, 3, whole=3)
    assert steps.done == ["prepare", "commit", "recheck", "write 0", "write 1", "write 2"]


async def test_recheck_that_says_no_writes_nothing() -> None:
    steps = Steps(why="killed")
    outcome = await steps.run(OrderLane(SystemClock()))
    assert outcome == LaneOutcome(Written.NO, frames=0, reason="killed", whole=0)
    assert (outcome.frames, outcome.whole) == (0, 0)
    assert steps.done == ["prepare", "commit", "recheck"]


async def test_commit_that_fails_writes_nothing_and_frees_the_lane() -> None:
    lane, steps = OrderLane(SystemClock()), Steps()

    async def fails() -> None:
        raise JournalUnwritable("disk full")

    steps.commit = fails  # type: ignore[method-assign]
    with pytest.raises(JournalUnwritable):
        await steps.run(lane)
    assert steps.done == ["prepare"]
    assert (await Steps().run(lane)).written is Written.YES


@pytest.mark.parametrize(
    ("fail", "at_frame", "written", "begun"),
    [
        (NotConnected("gone"), 0, Written.NO, 0),
        (OrderValidationError("a text that cannot be written"), 0, Written.NO, 0),
        (OrderInDoubt("half of it"), 0, Written.MAYBE, 1),
        (NotConnected("gone"), 1, Written.MAYBE, 1),
        (OrderInDoubt("half of it"), 1, Written.MAYBE, 2),
        (AssertionError("the library asserts after writing"), 0, Written.MAYBE, 1),
        (OSError("broken pipe"), 2, Written.MAYBE, 3),
    ],
)
async def test_only_not_connected_before_the_first_frame_is_certainly_not_sent(
    fail: Exception, at_frame: int, written: Written, begun: int
) -> None:
    steps = Steps(fail=fail, at_frame=at_frame, frames=3)
    outcome = await steps.run(OrderLane(SystemClock()))
    assert (outcome.written, outcome.frames, outcome.whole) == (written, begun, at_frame)
    assert steps.done[3:] == [f"write {number}" for number in range(at_frame)]  # nothing after what failed


async def test_turns_never_overlap() -> None:
    lane = OrderLane(SystemClock())
    log: list[str] = []

    async def turn(name: str) -> None:
        steps = Steps()
        steps.done = log
        await steps.run(lane)

    await asyncio.gather(*(turn(str(number)) for number in range(10)))
    assert log == ["prepare", "commit", "recheck", "write 0"] * 10


async def test_a_turn_that_does_not_come_is_not_sent() -> None:
    lane, slow = OrderLane(SystemClock()), Steps()
    slow.gate.clear()
    holding = asyncio.create_task(slow.run(lane))
    await asyncio.sleep(0)
    waiting = Steps()
    with pytest.raises(OrderNotSent):
        await waiting.run(lane, timeout=0.01)
    assert waiting.done == []
    slow.gate.set()
    assert (await holding).written is Written.YES


async def test_the_backends_turn_comes_before_the_ids_within_what_is_left_of_the_time() -> None:
    """A backend that queues what it is handed would write an order long after it was checked again."""
    asked: list[float] = []
    steps = Steps()

    async def turn(left: float) -> None:
        asked.append(left)
        steps.done.append("turn")

    lane = OrderLane(SystemClock(), turn)
    assert (await steps.run(lane, timeout=0.5)).written is Written.YES
    assert steps.done == ["turn", "prepare", "commit", "recheck", "write 0"]
    assert 0 < asked[0] <= 0.5


async def test_a_turn_that_does_not_come_writes_nothing_and_frees_the_lane() -> None:
    steps, answers = Steps(), [OrderNotSent("no turn")]

    async def turn(_: float) -> None:
        if answers:
            raise answers.pop()

    lane = OrderLane(SystemClock(), turn)
    with pytest.raises(OrderNotSent, match="no turn"):
        await steps.run(lane)
    assert steps.done == []
    assert (await steps.run(lane)).written is Written.YES
