"""IBKR's known absences: New York time, over midnight, over the change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ibkr_connector.config.gateway import GatewaySettings
from ibkr_connector.config.resetwindow import ResetWindow
from ibkr_connector.session.absence import KnownAbsences

NIGHTLY = ResetWindow.parse("nightly", "23:45-00:05")
WEEKLY = ResetWindow.parse("weekly", "sun 01:00-18:00")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2026-11-20T04:44:59", None),  # New York is five hours behind UTC in winter
        ("2026-11-20T04:45:00", "2026-11-20T05:05:00"),
        ("2026-11-20T05:04:59", "2026-11-20T05:05:00"),
        ("2026-11-20T05:05:00", None),
        ("2026-07-01T03:50:00", "2026-07-01T04:05:00"),  # and four in summer
        ("2026-07-01T04:50:00", None),
        ("2026-03-08T04:50:00", "2026-03-08T05:05:00"),  # the night in which summer time begins
    ],
)
def test_the_nightly_reset_is_new_yorks_and_goes_over_midnight(now: str, ends: str | None) -> None:
    assert NIGHTLY.ends(at(now)) == (None if ends is None else at(ends))


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2026-11-22T05:59:59", None),
        ("2026-11-22T06:00:00", "2026-11-22T23:00:00"),
        ("2026-11-21T12:00:00", None),
        ("2026-11-23T12:00:00", None),
    ],
)
def test_the_weekly_login_is_on_its_day_only(now: str, ends: str | None) -> None:
    assert WEEKLY.ends(at(now)) == (None if ends is None else at(ends))


def test_a_weekly_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    window = ResetWindow.parse("friday", "FRI 23:00-03:00")
    assert window.ends(at("2026-11-21T07:00:00")) == at("2026-11-21T08:00:00")
    assert window.ends(at("2026-11-22T07:00:00")) is None


@pytest.mark.parametrize("text", ["", "23:45", "25:00-01:00", "23:45-23:45", "noday 01:00-02:00", "01:00 - 02:00"])
def test_what_is_no_window_says_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="should"):
        ResetWindow.parse("x", text)


def test_a_daily_window_cannot_be_weekly_nor_the_other_way_round() -> None:
    with pytest.raises(ValueError, match="every day"):
        GatewaySettings(nightly_reset="sun 01:00-02:00")
    with pytest.raises(ValueError, match="once a week"):
        GatewaySettings(weekly_login="01:00-02:00")


def test_attempts_are_in_vain_until_the_nightly_reset_ends() -> None:
    absence = KnownAbsences(GatewaySettings()).at(at("2026-11-20T04:50:00"))
    assert absence is not None
    assert absence.hint == 15 * 60
    assert "nightly reset until 00:05 New York" in absence.why


def test_nobody_knows_when_a_person_logs_in_so_attempts_are_rare_and_go_on() -> None:
    known = KnownAbsences(GatewaySettings())
    absence, late = known.at(at("2026-11-22T12:00:00")), known.at(at("2026-11-22T22:59:00"))
    assert absence is not None
    assert late is not None
    assert (absence.hint, late.hint) == (300.0, 60.0)
    assert "log it in" in absence.why


def test_nothing_is_known_where_the_settings_say_so() -> None:
    known = KnownAbsences(GatewaySettings(nightly_reset=None, weekly_login=None))
    assert known.at(at("2026-11-20T04:50:00")) is None
    assert known.at(at("2026-11-22T12:00:00")) is None
