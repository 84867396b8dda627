"""Logins and brokerage sessions: how long they last, and who has them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from ibkr_connector.paper.clock import MarketClock
from ibkr_connector.paper.web.options import WebOptions
from ibkr_connector.paper.web.session import LoginSession

NOON = datetime(2026, 11, 20, 17, tzinfo=UTC)  # 12:00 New York


class Times:
    """Both times, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wire(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


def make(**options: Any) -> tuple[LoginSession, Times, list[dict[str, object]]]:
    times = Times()
    session = LoginSession(cast("MarketClock", times), WebOptions(**options), random.Random(1))
    told: list[dict[str, object]] = []
    session.listen(told.append)
    return session, times, told


def test_a_login_ends_at_midnight_in_new_york() -> None:
    session, times, told = make()
    times.seconds = 12 * 3600 - 1
    session.touch()
    session.look()
    assert (session.logged_in, session.authenticated) == (True, True)
    times.seconds += 1
    session.look()
    assert (session.logged_in, session.authenticated, session.token) == (False, False, "")
    assert told == [{"authenticated": False}]
    assert session.status() == {"authenticated": False, "competing": False, "connected": False, "MAC": session.mac}


def test_without_midnight_it_lasts_a_day() -> None:
    session, times, _ = make(midnight=False)
    times.seconds = 86_399
    session.look()
    assert session.status()["connected"] is True
    assert session.left_ms() == 1000
    times.seconds += 1
    session.look()
    assert not session.logged_in
    assert session.left_ms() == 0


def test_a_brokerage_session_needs_a_request_now_and_then() -> None:
    session, times, told = make()
    for _ in range(3):
        times.seconds += 329
        session.look()
        session.touch()
    assert session.status()["authenticated"] is True
    times.seconds += 330
    session.look()
    assert (session.authenticated, session.logged_in, session.competing) == (False, True, False)
    assert told == [{"authenticated": False}]
    assert session.open_brokerage(compete=False)
    assert session.status()["authenticated"] is True


def test_a_rival_keeps_the_session_until_somebody_competes_or_it_leaves() -> None:
    session, _, told = make()
    session.rival()
    assert told == [{"authenticated": False}, {"competing": True}]
    assert not session.open_brokerage(compete=False)
    assert session.competing
    session.rival_leaves()
    assert not session.authenticated
    assert session.open_brokerage(compete=False)
    session.rival()
    assert session.open_brokerage(compete=True)
    assert not session.competing


def test_the_token_lasts_as_long_as_the_login() -> None:
    session, _, _ = make()
    token = session.token
    session.lose_brokerage()
    session.open_brokerage(compete=True)
    assert session.token == token
    session.log_out()
    session.log_in(brokerage=False)
    assert session.token not in {"", token}
    assert not session.authenticated


def test_a_renewed_token_prolongs_a_login_and_does_not_open_a_brokerage_session() -> None:
    session, times, _ = make(logged_in=False)
    session.renew(times.wall() + timedelta(hours=24))
    assert (session.logged_in, session.authenticated) == (True, False)
    token = session.token
    session.renew(times.wall() + timedelta(hours=48))
    assert session.token == token
    assert session.left_ms() == 48 * 3_600_000


def test_who_has_stopped_listening_hears_nothing() -> None:
    session, _, told = make()
    other: list[dict[str, object]] = []
    stop = session.listen(other.append)
    stop()
    stop()
    session.lose_brokerage()
    assert (len(told), other) == (1, [])
