"""A clock whose sleepers wake when the test moves it, and not before."""

from __future__ import annotations

import asyncio

from ibkr_connector.clock import ManualClock


class StepClock(ManualClock):
    """Starts at 0 s; `step` moves it, waking sleepers in their order."""

    def __init__(self) -> None:
        super().__init__(monotonic=0.0)
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.naps = 0

    async def sleep(self, seconds: float) -> None:
        self.naps += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.monotonic() + seconds, future))
        await future

    async def step(self, seconds: float) -> None:
        """Move on by `seconds`."""
        end = self.monotonic() + seconds
        await settle()
        while due := [entry for entry in self.sleepers if entry[0] <= end and not entry[1].done()]:
            at, future = min(due, key=lambda entry: entry[0])
            self.advance(max(0.0, at - self.monotonic()))
            future.set_result(None)
            await settle()
        self.sleepers = [entry for entry in self.sleepers if not entry[1].done()]
        self.advance(end - self.monotonic())


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)
