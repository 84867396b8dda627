from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ibkr_connector.risk import TradingAction, TradingControl, TradingRecord, TradingState

AT = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


class Disk:
    def __init__(self, record: Mapping[str, Any] | None = None) -> None:
        self.record = record
        self.broken = False

    def load(self) -> Mapping[str, Any] | None:
        return self.record

    def save(self, record: Mapping[str, Any]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.record = record


def state(control: TradingControl) -> TradingState:
    return control.record.state


def test_a_kill_outlives_a_restart_and_ends_only_with_resume() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    assert state(control) is TradingState.ACTIVE
    control.kill("operator", AT)
    control = TradingControl(disk.load, disk.save)
    assert control.record == TradingRecord(TradingState.HALTED, "operator", AT)
    control.reduce("later", AT)
    assert state(control) is TradingState.HALTED
    assert control.resume("checked", AT)
    assert state(control) is TradingState.ACTIVE
    assert state(TradingControl(disk.load)) is TradingState.ACTIVE


def test_reducing_is_kept_too_and_a_second_reason_does_not_replace_the_first() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.reduce("first", AT)
    control.reduce("second", AT)
    assert TradingControl(disk.load).record == TradingRecord(TradingState.REDUCING, "first", AT)


def test_without_a_place_to_store_it_works_in_memory() -> None:
    control = TradingControl()
    control.reduce("x", AT)
    control.kill("x", AT)
    assert state(control) is TradingState.HALTED
    assert control.resume("x", AT)
    assert state(control) is TradingState.ACTIVE


def test_a_disk_that_fails_stops_no_kill_and_no_reduce_but_every_resume() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    disk.broken = True
    with pytest.raises(OSError, match="disk full"):
        control.reduce("r", AT)
    assert state(control) is TradingState.REDUCING
    with pytest.raises(OSError, match="disk full"):
        control.kill("k", AT)
    assert state(control) is TradingState.HALTED
    with pytest.raises(OSError, match="disk full"):
        control.resume("s", AT)
    assert state(control) is TradingState.HALTED


def test_what_a_resume_that_failed_left_on_the_disk_is_put_right() -> None:
    """A save that was given up can still come to pass: after it the disk must say that trading is stopped."""
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("k", AT)
    saves: list[Mapping[str, Any]] = []

    def late(record: Mapping[str, Any]) -> None:
        saves.append(record)
        disk.record = record
        if len(saves) == 1:
            raise TimeoutError("no answer in time")

    control = TradingControl(disk.load, late)
    with pytest.raises(TimeoutError):
        control.resume("s", AT)
    assert [record["state"] for record in saves] == ["active", "halted"]
    assert state(TradingControl(disk.load)) is TradingState.HALTED


def test_it_tells_whether_there_is_a_place_to_store_it() -> None:
    disk = Disk()
    assert TradingControl(disk.load, disk.save).is_stored
    assert not TradingControl().is_stored


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"version": 3, "state": "active", "reason": "", "at": None},
        {"version": 2, "state": "active", "reason": "", "at": None, "serial": "x"},
        {"version": 2, "state": "active", "reason": "", "at": None, "action": "dance"},
        {"version": 1, "state": "running", "reason": "", "at": None},
        {"version": 1, "state": "active", "reason": "", "at": 5},
        5,
    ],
)
def test_a_state_that_cannot_be_read_counts_as_killed(stored: Any) -> None:
    record = TradingControl(Disk(stored).load).record
    assert record.state is TradingState.HALTED
    assert "check the state directory" in record.reason


def test_a_state_whose_reading_fails_counts_as_killed() -> None:
    def load() -> Mapping[str, Any] | None:
        raise PermissionError("no access")

    assert state(TradingControl(load)) is TradingState.HALTED


def test_a_kill_that_was_stored_before_a_resume_stores_its_word_is_stored_again() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.reduce("first", AT)

    class Gap:
        """The moment between the resume's look at the state and its turn to save."""

        inside = False

        def __enter__(self) -> None:
            if not self.inside:
                self.inside = True
                control.kill("second", AT)

        def __exit__(self, *exc: object) -> None:
            pass

    control._saving = Gap()  # type: ignore[assignment]
    assert not control.resume("too early", AT)
    assert TradingControl(disk.load).record.reason == "second"


def test_a_kill_that_comes_while_somebody_resumes_wins() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("first", AT)
    saving, go_on = threading.Event(), threading.Event()

    def slow_save(record: Mapping[str, Any]) -> None:
        if record["state"] == "active":
            saving.set()
            assert go_on.wait(10)
        disk.save(record)

    control = TradingControl(disk.load, slow_save)
    resumed: list[bool] = []
    resumer = threading.Thread(target=lambda: resumed.append(control.resume("too early", AT)))
    resumer.start()
    assert saving.wait(10)
    killer = threading.Thread(target=lambda: control.kill("second", AT))
    killer.start()
    while control.record.reason != "second":  # in memory the kill does not wait for the disk
        killer.join(0.01)
        assert killer.is_alive()
    go_on.set()
    resumer.join(10)
    killer.join(10)
    assert resumed == [False]
    assert control.record.reason == "second"
    assert disk.record is not None
    assert (disk.record["state"], disk.record["reason"]) == ("halted", "second")


# --- shared by processes ---------------------------------------------------------------------------------------------


def test_a_kill_right_after_a_resume_was_seen_by_another_thread_wins() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("first", AT)
    killers: list[threading.Thread] = []

    def seen_and_killed(record: Mapping[str, Any]) -> None:
        disk.save(record)
        assert state(control) is TradingState.ACTIVE
        control._save = disk.save
        killers.append(threading.Thread(target=control.kill, args=("second", AT)))
        killers[0].start()
        while not control.unsaved:
            killers[0].join(0.001)

    control._save = seen_and_killed
    assert not control.resume("checked", AT)
    killers[0].join(5.0)
    assert control.record == TradingRecord(TradingState.HALTED, "second", AT)
    assert disk.record is not None
    assert disk.record["state"] == "halted"


def later(seconds: int) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_a_kill_by_another_process_holds_here_at_the_next_look() -> None:
    disk = Disk()
    here, there = TradingControl(disk.load, disk.save), TradingControl(disk.load, disk.save)
    there.kill("from there", later(1))
    assert here.record.reason == "from there"
    assert here.resume("seen to", later(2))
    assert state(there) is TradingState.ACTIVE
    assert there.record.resumes == 1


def test_a_resume_that_somebody_reads_before_it_returns_is_still_a_resume() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("operator", AT)

    def save_and_look(record: Mapping[str, Any]) -> None:
        """The moment between storing the record and taking it: another thread looks."""
        disk.record = record
        assert state(control) is TradingState.ACTIVE

    control._save = save_and_look
    assert control.resume("checked", later(1))
    assert state(control) is TradingState.ACTIVE


def test_a_record_that_was_there_and_is_gone_counts_as_killed_until_somebody_resumes() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    assert state(control) is TradingState.ACTIVE  # none was ever there
    control.resume("begun", AT)
    disk.record = None
    assert (control.record.state.value, "missing" in control.record.reason) == ("halted", True)
    assert control.resume("looked at it", later(1))
    assert control.record.state.value == "active"
    assert disk.record is not None


def test_a_kill_that_could_not_be_stored_is_not_ended_by_a_process_that_does_not_know_of_it() -> None:
    disk = Disk()
    here, there = TradingControl(disk.load, disk.save), TradingControl(disk.load, disk.save)
    disk.broken = True
    with pytest.raises(OSError, match="disk full"):
        here.kill("fire", later(1))
    disk.broken = False
    assert there.resume("nothing is wrong", later(2))
    assert here.record.reason == "fire"
    here.save_again()
    assert there.record.reason == "fire"


def test_a_resume_here_does_not_overwrite_a_kill_that_came_from_elsewhere_meanwhile() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("first", AT)
    other = TradingControl(disk.load, disk.save)

    @contextmanager
    def gap() -> Iterator[None]:
        if other.record.reason == "first":
            other.kill("second", later(1))
        yield

    slow = TradingControl(disk.load, disk.save, gap)
    assert not slow.resume("of the first", later(2))
    assert slow.record.reason == control.record.reason == "second"


def test_a_kill_does_not_wait_for_a_lock_that_is_stuck_and_a_resume_does_not_go_without_it() -> None:
    disk = Disk()

    class Stuck(AbstractContextManager[None]):
        def __enter__(self) -> None:
            raise TimeoutError("held by another")

        def __exit__(self, *exc: object) -> None:
            pass

    control = TradingControl(disk.load, disk.save, Stuck)
    control.kill("now", AT)
    assert TradingControl(disk.load).record.reason == "now"
    with pytest.raises(TimeoutError):
        control.resume("later", later(1))
    assert state(control) is TradingState.HALTED


def test_a_halt_becomes_reducing_only_when_that_is_meant() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("x", AT)
    control.reduce("y", later(1))
    assert state(control) is TradingState.HALTED
    control.reduce("flatten", later(2), action=TradingAction.FLATTEN, from_halted=True)
    record = TradingControl(disk.load).record
    assert (record.state, record.action) == (TradingState.REDUCING, TradingAction.FLATTEN)


def test_what_a_record_asks_for_is_done_once() -> None:
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("x", AT, action=TradingAction.CANCEL)
    asked = control.record
    control.done(asked)
    assert TradingControl(disk.load).record.action is TradingAction.NONE
    assert state(control) is TradingState.HALTED
    control.kill("y", later(1), action=TradingAction.CANCEL)
    control.done(asked)  # of a newer one nothing has been done
    assert control.record.action is TradingAction.CANCEL


def test_a_record_of_the_first_version_is_understood() -> None:
    disk = Disk({"version": 1, "state": "halted", "reason": "old", "at": None})
    control = TradingControl(disk.load, disk.save)
    assert control.record == TradingRecord(TradingState.HALTED, "old", None)
    assert control.resume("new", AT)


def test_a_halt_becomes_reducing_here_when_it_cannot_be_saved_and_a_later_kill_elsewhere_still_counts() -> None:
    """Positions are closed although the disk fails; whoever kills meanwhile, from where it can be saved, stops that."""
    disk = Disk()
    control = TradingControl(disk.load, disk.save)
    control.kill("x", AT)
    disk.broken = True
    with pytest.raises(OSError, match="disk full"):
        control.reduce("flatten", later(1), from_halted=True)
    assert state(control) is TradingState.REDUCING
    assert state(TradingControl(disk.load)) is TradingState.HALTED
    disk.broken = False
    TradingControl(disk.load, disk.save).kill("enough", later(2))
    assert control.record.reason == "enough"
    assert not control.unsaved
