"""The gateway's clock: market time follows loop time, and only forward."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from ibkr_connector.paper.clock import MarketClock, default_session_start

MONDAY = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose time jumps to the next timer when nothing is ready: hours pass in no time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1_000.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready and scheduled:
            self._now = max(self._now, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def test_market_time_is_the_anchor_plus_loop_time_times_speed() -> None:
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:

        async def scenario() -> tuple[datetime, float]:
            clock = MarketClock(start=MONDAY, speed=60)
            began = clock.wire()
            await asyncio.sleep(90)
            return clock.now(), clock.wire() - began

        now, elapsed = runner.run(scenario())
    assert now == MONDAY + timedelta(minutes=90)
    assert elapsed == pytest.approx(90)


async def test_the_clock_never_goes_back() -> None:
    clock = MarketClock(start=MONDAY)
    with pytest.raises(ValueError, match="only moves forward"):
        clock.jump(MONDAY - timedelta(seconds=1))


async def test_wire_at_tells_when_a_market_time_will_be_reached() -> None:
    clock = MarketClock(start=MONDAY, speed=10)
    assert clock.wire_at(MONDAY + timedelta(seconds=50)) - clock.wire() == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
async def test_a_speed_that_is_not_positive_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be"):
        MarketClock(start=MONDAY, speed=speed)


async def test_a_start_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        MarketClock(start=datetime(2026, 3, 2, 10, 0))  # noqa: DTZ001


async def test_real_mode_reads_the_wall_once_and_takes_neither_start_nor_speed() -> None:
    readings: list[datetime] = []

    def wall() -> datetime:
        readings.append(MONDAY)
        return MONDAY

    clock = MarketClock("real", wall=wall)
    assert clock.now() - MONDAY < timedelta(minutes=1)
    clock.now()
    assert len(readings) == 1
    with pytest.raises(ValueError, match="follows the real market"):
        MarketClock("real", start=MONDAY)
    with pytest.raises(ValueError, match="follows the real market"):
        MarketClock("real", speed=2)


async def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'session' or 'real'"):
        MarketClock("fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-20T15:00:00+00:00", "2026-11-20T15:00:00+00:00"),  # Friday, 10:00 sharp: today
        ("2026-11-20T14:59:59+00:00", "2026-11-19T15:00:00+00:00"),  # a second earlier: Thursday
        ("2026-11-22T20:00:00+00:00", "2026-11-20T15:00:00+00:00"),  # Sunday: Friday
        ("2026-11-26T20:00:00+00:00", "2026-11-25T15:00:00+00:00"),  # Thanksgiving: Wednesday
        ("2026-07-06T13:00:00+00:00", "2026-07-02T14:00:00+00:00"),  # after the long weekend, summer time
    ],
)
def test_session_clock_starts_at_ten_of_the_last_session_that_had_it(now: str, expected: str) -> None:
    assert default_session_start(datetime.fromisoformat(now)) == datetime.fromisoformat(expected)


async def test_session_mode_without_start_uses_that_default() -> None:
    clock = MarketClock(wall=lambda: datetime(2026, 11, 22, 20, tzinfo=UTC))
    assert clock.anchor == datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert clock.mode == "session"
    assert clock.speed == 1
