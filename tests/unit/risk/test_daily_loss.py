from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.risk import DailyLoss, DayFigures, day_boundary

D = Decimal


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Disk:
    """Keeps the last record, and counts."""

    def __init__(self, record: Mapping[str, Any] | None = None) -> None:
        self.record = record
        self.writes = 0
        self.broken = False

    def load(self) -> Mapping[str, Any] | None:
        return self.record

    def save(self, record: Mapping[str, Any]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.record = record
        self.writes += 1


@pytest.mark.parametrize(
    ("now", "boundary"),
    [
        ("2026-11-20T21:59:59", "2026-11-19T22:00:00"),
        ("2026-11-20T22:00:00", "2026-11-20T22:00:00"),
        ("2026-07-01T20:59:59", "2026-06-30T21:00:00"),
        ("2026-07-01T21:00:00", "2026-07-01T21:00:00"),
        ("2026-03-08T12:00:00", "2026-03-07T22:00:00"),  # the clocks change that night
        ("2026-03-08T21:00:00", "2026-03-08T21:00:00"),
        ("2026-11-01T12:00:00", "2026-10-31T21:00:00"),
        ("2026-11-01T22:00:00", "2026-11-01T22:00:00"),
    ],
)
def test_the_boundary_is_17_00_in_new_york_summer_and_winter(now: str, boundary: str) -> None:
    assert day_boundary(utc(now)) == utc(boundary)


def test_the_boundary_can_lie_elsewhere() -> None:
    assert day_boundary(utc("2026-07-01T12:00:00"), time(0), "Asia/Tokyo") == utc("2026-06-30T15:00:00")


def test_the_value_just_before_the_boundary_is_the_baseline_of_the_new_day() -> None:
    day = DailyLoss()
    day.observe(utc("2026-11-20T15:00:00"), D(100_000), D(-100))
    assert day.figures(D(99_950), D(-150)) == DayFigures(D(150), by_value=D(150), by_broker=D(150), drawdown=D(50))
    day.observe(utc("2026-11-20T21:30:00"), D(99_000), D(-1_100))
    day.observe(utc("2026-11-20T22:00:05"), D(98_900), D(-1_200))
    assert day.record is not None
    assert (day.record.baseline, day.record.source) == (D(99_000), "boundary")
    assert day.figures(D(98_900), None).loss == 100
    assert day.figures(D(98_900), D(-1_200)).loss == 1_200  # the broker's day still runs: the larger loss counts


def test_a_first_start_in_the_middle_of_the_day_takes_the_brokers_figure() -> None:
    day = DailyLoss()
    day.observe(utc("2026-11-20T15:00:00"), D(100_000), None)
    assert day.figures(D(100_000), None).loss is None
    assert day.figures(D(100_000), D(-70)).loss == 70
    day.observe(utc("2026-11-20T15:00:01"), D(100_000), D(-70))
    assert day.record is not None
    assert (day.record.baseline, day.record.source) == (D(100_070), "broker")
    assert day.figures(D(99_900), None).loss == 170


def test_a_start_right_after_the_boundary_takes_the_value_of_that_moment() -> None:
    day = DailyLoss()
    day.observe(utc("2026-11-20T22:05:00"), D(100_000), None)
    assert day.record is not None
    assert (day.record.baseline, day.record.source) == (D(100_000), "start")


def test_a_value_seen_too_long_before_the_boundary_is_no_baseline() -> None:
    day = DailyLoss()
    day.observe(utc("2026-11-20T15:00:00"), D(100_000), D(0))
    day.observe(utc("2026-11-21T15:00:00"), D(97_000), D(-500))
    assert day.record is not None
    assert (day.record.baseline, day.record.source) == (D(97_500), "broker")


@pytest.mark.parametrize(
    ("seen", "now", "source"),
    [
        ("2026-11-20T21:00:00", "2026-11-20T22:30:00", "boundary"),
        ("2026-11-20T20:59:59", "2026-11-20T22:30:00", "broker"),
        ("2026-11-20T15:00:00", "2026-11-20T22:10:00", "start"),
        ("2026-11-20T15:00:00", "2026-11-20T22:10:01", "broker"),
    ],
)
def test_how_near_a_value_must_be_to_the_boundary(seen: str, now: str, source: str) -> None:
    day = DailyLoss()
    day.observe(utc(seen), D(100), D(0))
    day.observe(utc(now), D(90), D(0))
    assert day.record is not None
    assert day.record.source == source


def test_without_the_account_value_nothing_is_known() -> None:
    day = DailyLoss()
    assert day.figures(D(1), None) == DayFigures(None)
    day.observe(utc("2026-11-20T15:00:00"), None, D(-70))
    assert day.figures(None, D(-70)).loss is None
    day.observe(utc("2026-11-20T22:05:00"), None, D(-70))
    assert day.record is not None
    assert day.record.baseline is None


def test_deposits_and_withdrawals_are_neither_profit_nor_loss() -> None:
    day = DailyLoss()
    day.adjust(D(5))  # nothing known yet: nothing to correct
    day.observe(utc("2026-11-20T15:00:00"), D(100_000), D(0))
    day.adjust(D(-30_000))
    assert day.figures(D(70_000), D(0)).loss == 0
    day.adjust(D(10_000))
    assert day.figures(D(80_000), D(0)).loss == 0


def test_the_baseline_outlives_a_restart_in_the_middle_of_the_day() -> None:
    disk = Disk()
    day = DailyLoss(disk.load, disk.save)
    day.observe(utc("2026-11-20T15:00:00"), D("100000.01"), D(0))
    day.save_if_due(utc("2026-11-20T15:00:00"))
    day.latch(tripped=True)
    day.save_if_due(utc("2026-11-20T15:00:00.5"))
    again = DailyLoss(disk.load, disk.save)
    assert again.record == day.record
    again.observe(utc("2026-11-20T20:00:00"), D(99_000), D(0))
    figures = again.figures(D(99_000), D(0))
    assert (figures.loss, figures.tripped) == (D("1000.01"), True)
    again.observe(utc("2026-11-20T21:59:00"), D(99_000), D(0))
    again.observe(utc("2026-11-20T22:01:00"), D(99_000), D(0))
    assert not again.figures(D(99_000), D(0)).tripped  # a new day


def test_a_clock_that_goes_back_over_the_boundary_begins_no_day_twice() -> None:
    day = DailyLoss()
    day.observe(utc("2026-11-20T21:59:00"), D(100), D(0))
    day.observe(utc("2026-11-20T22:00:01"), D(90), D(0))
    day.observe(utc("2026-11-20T21:59:30"), D(80), D(0))
    assert day.record is not None
    assert day.record.baseline == 100


def test_values_are_saved_once_a_minute_and_news_at_once() -> None:
    disk = Disk()
    day = DailyLoss(disk.load, disk.save)
    start = utc("2026-11-20T15:00:00")
    for second in range(0, 130, 10):
        day.observe(start + timedelta(seconds=second), D(100), D(0))
        day.save_if_due(start + timedelta(seconds=second))
    assert disk.writes == 3
    assert day.latch(tripped=True)
    assert not day.latch(tripped=True)
    day.save_if_due(start + timedelta(seconds=131))
    assert disk.writes == 4
    day.save_if_due(start - timedelta(seconds=5))  # a clock that went back does not stop the saving
    assert disk.writes == 5
    day.save_if_due(start)
    assert disk.writes == 5
    day.adjust(D(0))
    day.save_if_due(start)
    assert disk.writes == 6
    disk.broken = True
    day.adjust(D(1))
    with pytest.raises(OSError, match="disk full"):
        day.save_if_due(start + timedelta(seconds=132))
    disk.broken = False
    day.save_if_due(start + timedelta(seconds=132))
    assert disk.record is not None
    assert disk.record["baseline"] == "101"


def test_saving_before_anything_is_known_stores_nothing() -> None:
    disk = Disk()
    DailyLoss(disk.load, disk.save).save_if_due(utc("2026-11-20T15:00:00"))
    assert disk.writes == 0
    assert not DailyLoss().latch(tripped=True)


GOOD = {
    "version": 1,
    "boundary": "2026-11-19T22:00:00+00:00",
    "baseline": "100",
    "source": "broker",
    "seen": None,
    "seen_at": None,
    "tripped": False,
}


def test_a_stored_record_is_read() -> None:
    day = DailyLoss(Disk(GOOD).load)
    assert day.problem == ""
    assert day.figures(D(90), None).loss == 10


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"baseline": "many"}, {"baseline": "NaN"}, {"boundary": "2026-11-19T22:00:00"}, {"seen_at": 5}],
)
def test_a_record_that_cannot_be_read_is_told_and_the_broker_is_believed(change: dict[str, object]) -> None:
    day = DailyLoss(Disk({**GOOD, **change}).load)
    assert day.record is None
    assert "cannot be read" in day.problem
    assert day.figures(D(90), D(-5)).loss == 5


# --- drawdown --------------------------------------------------------------------------------------------------------


def test_the_highest_value_is_kept_over_days_and_restarts_and_follows_deposits() -> None:
    disk = Disk()
    day = DailyLoss(disk.load, disk.save)
    now = utc("2026-11-18T15:00:00")
    for value in (100_000, 103_000, 101_000):
        day.observe(now, D(value), D(0))
    day.save_if_due(now)
    again = DailyLoss(disk.load, disk.save)
    again.observe(utc("2026-11-20T15:00:00"), D(99_000), D(0))
    assert again.figures(D(99_000), D(0)).drawdown == 4_000
    again.adjust(D(-2_000))  # withdrawn: no loss
    assert again.figures(D(97_000), D(0)).drawdown == 4_000
    assert again.figures(None, D(0)).drawdown is None
    assert again.figures(D(110_000), D(0)).drawdown == 0


def test_only_a_resume_begins_the_drawdown_anew_and_ends_a_trip_whichever_process_said_it() -> None:
    day = DailyLoss()
    now = utc("2026-11-18T15:00:00")
    day.observe(now, D(100_000), D(0), 3)
    day.observe(now, D(90_000), D(0), 3)
    day.latch(tripped=True)
    day.observe(now, D(90_000), D(0), 3)
    assert (day.figures(D(90_000), D(0)).drawdown, day.figures(D(90_000), D(0)).tripped) == (D(10_000), True)
    day.observe(now, D(90_000), D(0), 4)
    assert (day.figures(D(90_000), D(0)).drawdown, day.figures(D(90_000), D(0)).tripped) == (D(0), False)
