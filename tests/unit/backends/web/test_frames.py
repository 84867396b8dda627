"""What ibind and we are told of a frame."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("ibind")

from ibkr_connector.backends.web.frames import FRAME_LIMIT, FrameRouter

HERE = 1_795_000_000.0
"""The clock of this machine."""


def names(frame: Any) -> list[str]:
    text = frame if isinstance(frame, str) else json.dumps(frame)
    return [type(event).__name__ for event in FrameRouter(lambda: HERE).route(text)]


def test_every_frame_is_handed_on_as_it_is() -> None:
    frame = {"topic": "smd+1", "conid": 1, "84": "1.0", "no such field": [1]}
    (event,) = FrameRouter(lambda: HERE).route(json.dumps(frame))
    assert event.message == frame


@pytest.mark.parametrize(
    "frame",
    [
        {"topic": "ntf", "args": {"id": "1"}},
        {"topic": "ssd+DU1", "result": []},
        {"topic": "ssd+DU1", "result": [{"key": "NetLiquidation", "timestamp": 1}]},
        {"topic": "xyz"},
        {"topic": 5},
        {"error": "Topic unknown", "code": 1},
        {"result": "unsubscribed from summary"},
        {"topic": "sts", "args": "none"},
    ],
)
def test_frames_that_ibinds_own_router_refuses_come_through(frame: dict[str, Any]) -> None:
    assert names(frame) == ["GenericIbkrEvent"]


def test_a_heartbeat_counts_when_it_comes_whatever_the_servers_clock_says() -> None:
    system, _ = FrameRouter(lambda: HERE).route(json.dumps({"topic": "system", "hb": 1_000}))
    assert system.data["hb"] == int(HERE * 1000)


@pytest.mark.parametrize("told", [True, False])
def test_the_session_is_told_to_ibind_before_the_frame_to_us(told: bool) -> None:
    status, generic = FrameRouter(lambda: HERE).route(json.dumps({"topic": "sts", "args": {"authenticated": told}}))
    assert status.authenticated is told
    assert type(generic).__name__ == "GenericIbkrEvent"


def test_a_fragment_without_the_session_changes_nothing() -> None:
    status, _ = FrameRouter(lambda: HERE).route(json.dumps({"topic": "sts", "args": {"message": ""}}))
    assert (status.authenticated, status.competing) == (None, None)


def test_waiting_for_a_session_is_told() -> None:
    assert names({"message": "waiting for session"}) == ["WaitingForSession", "GenericIbkrEvent"]


@pytest.mark.parametrize("raw", ["", "{", "[]", "5", "null", "[" * 100_000, " " * (FRAME_LIMIT + 1)])
def test_what_is_no_frame_is_dropped_and_raises_nothing(raw: str) -> None:
    assert names(raw) == []


def test_ibind_still_has_what_is_set_in_it() -> None:
    """`wsclient` sets these where ibind has no argument: another version of ibind may not have them."""
    import ibind

    client = ibind.IbkrWsClient(account_id="DU1", url="ws://127.0.0.1:1/ws", ibkr_client=object())
    runtime = client._runtime
    assert runtime._transport._reconnect_timeout > 0
    assert runtime._transport._connection_timeout > 0
    assert runtime._lifecycle._connection_timeout > 0
    assert runtime._lifecycle._state_manager is runtime._state_manager
    assert runtime._transport._wsa is None
    assert runtime._transport._running is False
