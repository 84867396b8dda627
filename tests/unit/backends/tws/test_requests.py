"""Who gets which answer: no caller an older one than asked for, nobody another one's, nobody half of one as a whole."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import example, given, strategies as st

from ibkr_connector.backends.base import Later
from ibkr_connector.backends.tws.requests import LATE_MARKER_S, Answer, Channel, RequestTable, at_once
from ibkr_connector.clock import ManualClock, SystemClock
from ibkr_connector.errors import ConnectionLost, NotConnected, ProtocolError, RequestTimeout, TradingError

SOON = 5.0


class Gateway:
    """Takes un-numbered questions; answers them in order when told to. A row carries the number of its question."""

    def __init__(self, clock: ManualClock | None = None, later: Later = at_once) -> None:
        self.channel: Channel[int] = Channel("rows", clock or ManualClock(), later=later)
        self.asked = 0
        self.unanswered: deque[int] = deque()
        self.variants: list[str] = []

    def ask(self, variant: str = "") -> asyncio.Task[Answer[int]]:
        def write() -> None:
            self.asked += 1
            self.unanswered.append(self.asked)
            self.variants.append(variant)

        return asyncio.ensure_future(self.channel.ask(write, SOON, variant=variant))

    def answer(self, *, rows: int = 2, end: bool = True) -> None:
        number = self.unanswered.popleft()
        for _ in range(rows):
            self.channel.add(number)
        if end:
            self.channel.end()


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(6):
        await asyncio.sleep(0)


async def leave(task: asyncio.Task[Answer[int]]) -> None:
    task.cancel()
    await settle()


# --- channels ---------------------------------------------------------------------------------------------------------


async def test_callers_of_one_round_share_one_question() -> None:
    gateway = Gateway()
    tasks = [gateway.ask() for _ in range(50)]
    await settle()
    assert gateway.asked == 1
    gateway.answer()
    answers = await asyncio.gather(*tasks)
    assert {answer.items for answer in answers} == {(1, 1)}
    assert all(answer.complete for answer in answers)


async def test_a_caller_who_comes_after_the_question_was_written_gets_a_newer_answer() -> None:
    gateway = Gateway()
    first = gateway.ask()
    await settle()
    later = [gateway.ask() for _ in range(3)]
    await settle()
    assert gateway.asked == 1
    gateway.answer()
    await settle()
    assert gateway.asked == 2
    assert not any(task.done() for task in later)
    gateway.answer()
    assert (await first).items == (1, 1)
    assert [answer.items for answer in await asyncio.gather(*later)] == [(2, 2)] * 3


async def test_variants_do_not_share_an_answer() -> None:
    gateway = Gateway()
    own, everyone = gateway.ask("own"), gateway.ask("all")
    await settle()
    assert gateway.variants == ["own"]
    gateway.answer()
    await settle()
    gateway.answer()
    assert (await own).items == (1, 1)
    assert (await everyone).items == (2, 2)
    assert gateway.variants == ["own", "all"]


async def test_the_late_end_of_a_given_up_question_does_not_end_the_next_one() -> None:
    gateway = Gateway()
    given_up = gateway.ask()
    await settle()
    await leave(given_up)
    assert gateway.channel.owed == 1
    task = gateway.ask()
    await settle()
    gateway.channel.add(1)
    gateway.channel.end()  # of question 1, late
    await settle()
    assert not task.done()
    gateway.unanswered.popleft()
    gateway.answer()  # question 2
    answer = await task
    assert answer.items == (2, 2)
    assert answer.complete


async def test_after_a_lost_end_the_next_question_still_gets_a_whole_answer() -> None:
    gateway = Gateway()
    given_up = gateway.ask()
    await settle()
    gateway.answer(end=False)
    await leave(given_up)
    task = gateway.ask()
    await settle()
    gateway.answer()
    await settle()
    assert gateway.asked == 3  # the first end could be a late one: it asked again
    gateway.answer()
    assert (await task).items == (3, 3)


async def test_an_end_that_is_late_for_a_minute_counts_as_lost() -> None:
    clock = ManualClock()
    gateway = Gateway(clock)
    given_up = gateway.ask()
    await settle()
    await leave(given_up)
    clock.advance(LATE_MARKER_S)
    assert gateway.channel.owed == 0
    task = gateway.ask()
    await settle()
    gateway.unanswered.popleft()
    gateway.answer()
    assert (await task).items == (2, 2)
    assert gateway.asked == 2


async def test_a_late_end_that_nobody_waits_for_is_struck_off() -> None:
    gateway = Gateway()
    given_up = gateway.ask()
    await settle()
    await leave(given_up)
    gateway.answer()
    gateway.channel.end()
    assert gateway.channel.owed == 0


async def test_at_the_timeout_there_is_what_came_marked_as_incomplete() -> None:
    channel: Channel[int] = Channel("rows", SystemClock())
    task = asyncio.ensure_future(channel.ask(lambda: None, 0.01))
    await settle()
    channel.add(1)
    answer = await task
    assert answer.items == (1,)
    assert not answer.complete
    assert not answer.ended
    assert not channel.busy


async def test_one_caller_who_leaves_does_not_end_the_question_of_the_others() -> None:
    gateway = Gateway()
    impatient, patient = gateway.ask(), gateway.ask()
    await settle()
    await leave(impatient)
    gateway.answer()
    assert (await patient).items == (1, 1)
    assert gateway.channel.owed == 0


async def test_a_question_that_nobody_waits_for_any_more_is_not_written() -> None:
    gateway = Gateway()
    first = gateway.ask()
    await settle()
    queued = gateway.ask("other")
    await settle()
    await leave(queued)
    gateway.answer()
    await first
    await settle()
    assert gateway.variants == [""]


class Turns:
    """What is to be written later, until the test lets it."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], bool]] = deque()

    def __call__(self, write: Callable[[], bool]) -> None:
        self.waiting.append(write)

    def take(self) -> bool:
        return self.waiting.popleft()()


async def test_a_question_that_had_to_wait_is_written_with_a_slot_of_its_own() -> None:
    """Its callers' slots were given long before (INV-09)."""
    turns = Turns()
    gateway = Gateway(later=turns)
    first = gateway.ask()
    await settle()
    assert (gateway.asked, len(turns.waiting)) == (1, 0), "who need not wait writes with the slot it came with"
    second = gateway.ask()
    await settle()
    gateway.answer()
    await first
    await settle()
    assert (gateway.asked, len(turns.waiting)) == (1, 1)
    third = gateway.ask()  # not written yet: shared
    await settle()
    assert turns.take()
    assert (gateway.asked, len(turns.waiting)) == (2, 0)
    gateway.answer()
    assert (await second).items == (await third).items == (2, 2)


async def test_a_turn_that_comes_when_nobody_waits_any_more_writes_nothing() -> None:
    turns = Turns()
    gateway = Gateway(later=turns)
    first = gateway.ask()
    await settle()
    second = gateway.ask()
    await settle()
    gateway.answer()
    await first
    await leave(second)
    assert not turns.take()
    assert gateway.asked == 1
    last = gateway.ask()
    await settle()
    assert gateway.asked == 2
    gateway.answer()
    assert (await last).items == (2, 2)


async def test_asking_again_after_a_late_marker_waits_for_a_slot_too() -> None:
    turns = Turns()
    gateway = Gateway(later=turns)
    given_up = gateway.ask()
    await settle()
    await leave(given_up)
    task = gateway.ask()
    await settle()
    gateway.answer(rows=1)  # of the question that was given up
    assert (gateway.asked, len(turns.waiting)) == (2, 1)
    assert turns.take()
    gateway.answer(rows=1)
    assert (await task).items == (2,)
    assert gateway.channel.owed == 1, "the answer to the third question is still to come"


async def test_asking_again_is_dropped_when_the_answer_came_first() -> None:
    turns = Turns()
    gateway = Gateway(later=turns)
    given_up = gateway.ask()
    await settle()
    await leave(given_up)
    task = gateway.ask()
    await settle()
    gateway.answer(rows=1)
    gateway.answer(rows=1)
    assert (await task).items == (2,)
    assert not turns.take()
    assert (gateway.asked, gateway.channel.owed) == (2, 0)


async def test_a_write_that_fails_is_told_to_all_who_share_it() -> None:
    channel: Channel[int] = Channel("rows", ManualClock())

    def write() -> None:
        raise NotConnected("gone")

    tasks = [asyncio.ensure_future(channel.ask(write, SOON)) for _ in range(3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [NotConnected] * 3
    assert not channel.busy
    assert channel.owed == 0


async def test_a_second_write_that_fails_is_told_too() -> None:
    channel: Channel[int] = Channel("rows", ManualClock())
    given_up = asyncio.ensure_future(channel.ask(lambda: None, SOON))
    await settle()
    await leave(given_up)
    writes: list[int] = []

    def write() -> None:
        writes.append(1)
        if len(writes) > 1:
            raise NotConnected("gone")

    task = asyncio.ensure_future(channel.ask(write, SOON))
    await settle()
    channel.end()
    with pytest.raises(NotConnected):
        await task


async def test_a_library_that_has_lost_its_socket_is_told_as_one_of_our_errors() -> None:
    gateway = Gateway()
    first = gateway.ask()
    await settle()

    def unconnected() -> None:
        raise ConnectionError("Not connected")  # what both libraries raise

    second = asyncio.ensure_future(gateway.channel.ask(unconnected, SOON, variant="other"))
    await settle()
    gateway.answer()
    with pytest.raises(NotConnected):
        await second
    assert (await first).complete


async def test_a_question_written_again_to_a_lost_socket_ends_with_one_of_our_errors() -> None:
    gateway = Gateway()
    given_up = gateway.ask()
    await settle()
    await leave(given_up)
    writes = iter([None, ConnectionError("Not connected")])

    def write() -> None:
        if (error := next(writes)) is not None:
            raise error

    asking = asyncio.ensure_future(gateway.channel.ask(write, SOON))
    await settle()
    gateway.channel.end()
    with pytest.raises(NotConnected):
        await asking


async def test_the_end_of_the_connection_ends_every_question_in_flight_and_waiting() -> None:
    def lost(what: str) -> TradingError:
        return ConnectionLost(what)

    gateway = Gateway()
    tasks = [gateway.ask()]
    await settle()
    tasks += [gateway.ask(), gateway.ask("other")]
    await settle()
    gateway.channel.fail(lost)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionLost] * 3
    assert "rows" in str(results[0])
    assert not gateway.channel.busy


async def test_an_answer_that_meets_a_caller_who_just_left_is_not_logged_by_asyncio() -> None:
    def lost(what: str) -> TradingError:
        return ConnectionLost(what)

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    gateway = Gateway()
    task = gateway.ask()
    await settle()
    gateway.channel.fail(lost)
    task.cancel()
    await settle()
    assert task.cancelled()
    gc.collect()
    assert complaints == []


async def test_a_builtin_timeout_among_the_typed_errors_is_not_swallowed() -> None:
    def timed_out(what: str) -> TradingError:
        return RequestTimeout(what)

    gateway = Gateway()
    task = gateway.ask()
    await settle()
    gateway.channel.fail(timed_out)
    with pytest.raises(RequestTimeout):
        await task


async def test_an_unreadable_part_makes_the_answer_incomplete() -> None:
    gateway = Gateway()
    gateway.channel.damage()
    task = gateway.ask()
    await settle()
    gateway.channel.damage()
    gateway.answer()
    answer = await task
    assert answer.ended
    assert answer.damaged
    assert not answer.complete


@given(st.lists(st.sampled_from(["ask", "leave", "answer", "lose", "lose end", "age"]), max_size=40))
@example(["ask", "leave", "ask", "answer", "answer", "answer"])
@example(["ask", "leave", "ask", "lose", "answer", "answer", "ask", "answer", "answer"])
def test_no_order_of_answers_losses_and_departures_gives_a_wrong_whole_answer(steps: list[str]) -> None:
    """A gateway that answers in order, may lose a question or an end marker, and is at most a minute late."""

    async def run() -> None:
        clock = ManualClock()
        gateway = Gateway(clock)
        waiting: dict[asyncio.Task[Answer[int]], int] = {}
        for step in steps:
            if step == "ask":
                waiting[gateway.ask()] = gateway.asked
            elif step == "leave" and waiting:
                await leave(next(task for task in waiting))
            elif step in ("answer", "lose end") and gateway.unanswered:
                gateway.answer(end=step == "answer")
            elif step == "lose" and gateway.unanswered:
                gateway.unanswered.popleft()
            elif step == "age":
                gateway.unanswered.clear()
                clock.advance(LATE_MARKER_S)
            await settle()
            for task in [task for task in waiting if task.done()]:
                asked_before = waiting.pop(task)
                if task.cancelled():
                    continue
                answer = task.result()
                assert answer.complete
                # All of one answer, the newest; rows of one that lost its end marker may stand before it, never older
                # than the question.
                assert answer.items.count(answer.items[-1]) == 2, answer
                assert list(answer.items) == sorted(answer.items)
                assert answer.items[0] > asked_before
        for task in waiting:
            task.cancel()
        await settle()

    asyncio.run(run())


@given(st.integers(0, 4), st.booleans())
def test_a_gateway_that_answers_again_is_believed_again(given_up: int, lost: bool) -> None:
    """However many questions went unanswered, the next one gets its answer without waiting for the minute."""

    async def run() -> None:
        gateway = Gateway()
        for _ in range(given_up):
            task = gateway.ask()
            await settle()
            await leave(task)
        if lost:
            gateway.unanswered.clear()
        task = gateway.ask()
        await settle()
        for _ in range(2 * given_up + 1):
            if task.done():
                break
            gateway.answer()
            await settle()
        assert (await task).complete

    asyncio.run(run())


# --- numbered requests ------------------------------------------------------------------------------------------------


async def test_parts_go_to_the_request_whose_number_they_carry() -> None:
    table = RequestTable()
    first, second = table.open(1, "first"), table.open(2, "second")
    table.add(1, "a")
    table.add(2, "b")
    table.add(3, "c")
    table.finish(1)
    table.finish(3)
    await first.future
    assert first.items == ["a"]
    assert second.items == ["b"]
    assert not second.future.done()
    table.close(first)
    table.close(second)
    assert len(table) == 0
    assert table.get(1) is None


async def test_only_the_first_end_counts() -> None:
    table = RequestTable()
    request = table.open(1, "x")
    request.fail(ProtocolError("first"))
    request.fail(ConnectionLost("second"))
    request.finish()
    with pytest.raises(ProtocolError):
        await request.future


async def test_an_error_that_nobody_awaits_any_more_is_not_logged_by_asyncio() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    table = RequestTable()
    request = table.open(1, "x")
    request.fail(ProtocolError("late"))
    table.close(request)
    del request
    await settle()
    assert complaints == []


async def test_an_unreadable_part_fails_a_request_or_marks_it_where_parts_are_of_use() -> None:
    table = RequestTable()
    whole, partial = table.open(1, "bars"), table.open(2, "executions", partial=True)
    assert table.damage(1, ProtocolError("unreadable"))
    assert table.damage(2, ProtocolError("unreadable"))
    assert not table.damage(9, ProtocolError("unreadable"))
    with pytest.raises(ProtocolError):
        await whole.future
    assert not partial.complete
    assert not partial.future.done()
    other = table.open(3, "executions", partial=True)
    table.damage_partial()
    table.add_to_partial("cost")
    assert not other.complete
    assert other.items == ["cost"]
    assert whole.items == []
    table.close(partial)
    table.close(other)


async def test_the_end_of_the_connection_names_what_was_asked() -> None:
    def lost(what: str) -> TradingError:
        return ConnectionLost(f"{what} is lost")

    table = RequestTable()
    requests = [table.open(number, f"thing {number}") for number in (1, 2)]
    table.fail_all(lost)
    for request in requests:
        with pytest.raises(ConnectionLost, match=f"{request.what} is lost"):
            await request.future
