"""The stepped loop: time jumps, hangs are seen, what is killed stays dead, connections behave as TCP's do."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from proof.memorynet import KERNEL_BYTES, MemoryTransport
from proof.steploop import PROCESS, Hang, Process, StepLoop

Main = Callable[[StepLoop], Coroutine[Any, Any, Any]]


def run(main: Main, seed: int = 1) -> Any:
    loop = StepLoop(seed)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


class Peer(asyncio.Protocol):
    """Keeps what it gets."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.transport: MemoryTransport
        self.got = b""
        self.times: list[float] = []
        self.over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.paused: list[str] = []
        self._keep_open = keep_open
        self.saw_end = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.times.append(asyncio.get_running_loop().time())

    def eof_received(self) -> bool:
        self.saw_end = True
        return self._keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set_result(exc)

    def pause_writing(self) -> None:
        self.paused.append("pause")

    def resume_writing(self) -> None:
        self.paused.append("resume")


async def pair(loop: StepLoop, *, keep_open: bool = False) -> tuple[Peer, Peer]:
    accepted: list[Peer] = []

    def accept() -> Peer:
        accepted.append(Peer(keep_open=keep_open))
        return accepted[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    _, ours = await loop.create_connection(Peer, "127.0.0.1", server.sockets[0].getsockname()[1])
    return ours, accepted[0]


class TestTime:
    def test_an_hour_of_sleep_is_over_at_once_and_is_an_hour(self) -> None:
        async def main(loop: StepLoop) -> float:
            begun = loop.time()
            await asyncio.gather(asyncio.sleep(3_600), asyncio.sleep(1_800))
            return loop.time() - begun

        assert run(main) == pytest.approx(3_600)

    def test_timers_come_in_their_order(self) -> None:
        async def main(loop: StepLoop) -> list[int]:
            order: list[int] = []
            for number in (3, 1, 2):
                loop.call_later(number, order.append, number)
            await asyncio.sleep(5)
            return order

        assert run(main) == [1, 2, 3]

    def test_a_wait_that_nothing_ends_is_a_hang_that_names_who_waits(self) -> None:
        async def main(loop: StepLoop) -> None:
            waiting = loop.create_task(asyncio.Event().wait(), name="the one that hangs")
            await waiting

        with pytest.raises(Hang, match="the one that hangs"):
            run(main)

    def test_a_loop_that_spins_without_time_is_a_hang(self) -> None:
        async def main(loop: StepLoop) -> None:
            def again() -> None:
                loop.call_soon(again)

            again()
            await asyncio.sleep(1)

        with pytest.raises(Hang, match="time stands still"):
            run(main)

    def test_work_on_another_thread_is_done_at_once_and_answered_later(self) -> None:
        async def main(loop: StepLoop) -> tuple[int, bool]:
            begun = loop.time()
            found = await asyncio.to_thread(lambda: 7)
            return found, loop.time() > begun

        assert run(main) == (7, True)

    def test_what_work_on_another_thread_raises_reaches_its_caller(self) -> None:
        async def main(loop: StepLoop) -> None:
            await asyncio.to_thread(int, "seven")

        with pytest.raises(ValueError, match="seven"):
            run(main)


class TestConnections:
    def test_bytes_arrive_in_order_and_later_than_they_were_sent(self) -> None:
        async def main(loop: StepLoop) -> None:
            ours, theirs = await pair(loop)
            sent = loop.time()
            for number in range(200):
                ours.transport.write(bytes([number]))
                await asyncio.sleep(0.0001)
            await asyncio.sleep(1)
            assert theirs.got == bytes(range(200))
            assert theirs.times[0] > sent
            assert len(theirs.times) > 1

        run(main)

    def test_some_messages_arrive_in_pieces(self) -> None:
        async def main(loop: StepLoop) -> int:
            ours, theirs = await pair(loop)
            for _ in range(100):
                ours.transport.write(b"0123456789")
                await asyncio.sleep(0.1)
            return len(theirs.times)

        assert run(main) > 100

    def test_nobody_listens(self) -> None:
        async def main(loop: StepLoop) -> None:
            await loop.create_connection(Peer, "127.0.0.1", 4002)

        with pytest.raises(ConnectionRefusedError):
            run(main)

    def test_close_sends_what_was_written_then_ends_both(self) -> None:
        async def main(loop: StepLoop) -> None:
            ours, theirs = await pair(loop)
            ours.transport.write(b"x" * 1_000)
            ours.transport.close()
            ours.transport.write(b"too late")
            assert await ours.over is None
            assert await theirs.over is None
            assert theirs.got == b"x" * 1_000

        run(main)

    def test_abort_ends_at_once_and_the_peer_sees_an_end(self) -> None:
        async def main(loop: StepLoop) -> None:
            ours, theirs = await pair(loop)
            ours.transport.abort()
            assert await ours.over is None
            assert await theirs.over is None

        run(main)

    def test_a_reset_loses_what_is_under_way_and_says_so(self) -> None:
        async def main(loop: StepLoop) -> None:
            ours, theirs = await pair(loop)
            theirs.transport.write(b"never arrives")
            theirs.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0")
            theirs.transport.abort()
            assert isinstance(await ours.over, ConnectionResetError)
            assert ours.got == b""

        run(main)

    def test_a_half_closed_connection_can_still_be_written(self) -> None:
        async def main(loop: StepLoop) -> None:
            ours, theirs = await pair(loop, keep_open=True)
            ours.transport.write_eof()
            await asyncio.sleep(1)
            assert theirs.saw_end
            theirs.transport.write(b"still here")
            await asyncio.sleep(1)
            assert ours.got == b"still here"

        run(main)

    def test_a_reader_that_does_not_read_makes_the_writer_pause(self) -> None:
        async def main(loop: StepLoop) -> None:
            ours, theirs = await pair(loop)
            theirs.transport.pause_reading()
            ours.transport.set_write_buffer_limits(high=1_000)
            ours.transport.write(b"x" * (KERNEL_BYTES + 2_000))
            assert ours.transport.get_write_buffer_size() == 2_000
            assert ours.paused == ["pause"]
            await asyncio.sleep(1)
            assert theirs.got == b""
            theirs.transport.resume_reading()
            await asyncio.sleep(1)
            assert len(theirs.got) == KERNEL_BYTES + 2_000
            assert ours.paused == ["pause", "resume"]

        run(main)

    def test_writing_to_a_peer_that_has_gone_is_answered_with_a_reset(self) -> None:
        async def main(loop: StepLoop) -> None:
            ours, theirs = await pair(loop, keep_open=True)
            theirs.transport._lost = True
            ours.transport.write(b"anybody there?")
            assert isinstance(await ours.over, ConnectionResetError)

        run(main)


class TestProcesses:
    def test_nothing_of_a_killed_process_runs_any_more(self) -> None:
        async def main(loop: StepLoop) -> list[str]:
            told: list[str] = []
            process = Process("p")
            context = contextvars.Context()
            context.run(PROCESS.set, process)

            async def work() -> None:
                try:
                    while True:
                        told.append("work")
                        await asyncio.sleep(1)
                finally:
                    told.append("finally")

            task = loop.create_task(work(), context=context)
            await asyncio.sleep(2.5)
            kept = loop.kill(process)
            assert kept == [task]
            await asyncio.sleep(10)
            seen, told[:] = list(told), []
            return seen

        assert run(main) == ["work", "work", "work"]

    def test_a_killed_process_does_not_answer_and_its_peer_sees_the_end(self) -> None:
        async def main(loop: StepLoop) -> None:
            accepted: list[Peer] = []

            def accept() -> Peer:
                accepted.append(Peer())
                return accepted[-1]

            server = await loop.create_server(accept, "127.0.0.1", 0)
            process = Process("p")
            context = contextvars.Context()
            context.run(PROCESS.set, process)
            port = server.sockets[0].getsockname()[1]
            _, ours = await loop.create_task(loop.create_connection(Peer, "127.0.0.1", port), context=context)
            ours.transport.write(b"last words")
            loop.kill(process)
            await asyncio.wait_for(asyncio.shield(accepted[0].over), 5)
            assert accepted[0].got == b"last words"
            assert not ours.over.done()
            assert loop.net.of(process) == []

        run(main)

    def test_a_future_that_a_dead_process_waits_for_wakes_nobody(self) -> None:
        async def main(loop: StepLoop) -> bool:
            process = Process("p")
            context = contextvars.Context()
            context.run(PROCESS.set, process)
            future = loop.create_future()
            woken: list[bool] = []

            async def wait() -> None:
                await future
                woken.append(True)

            task = loop.create_task(wait(), context=context)
            await asyncio.sleep(0.1)
            kept = loop.kill(process)
            future.set_result(None)
            await asyncio.sleep(1)
            assert kept == [task]
            return bool(woken)

        assert run(main) is False
