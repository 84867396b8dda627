"""The greeting is read however it arrives, and strangers are recognised."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.tws import versions
from ibkr_connector.paper.tws.framing import FrameError, frame
from ibkr_connector.paper.tws.handshake import Handshake, HandshakeError, Hello, server_hello
from ibkr_connector.paper.tws.wire import HOME_ZONE, HOME_ZONE_NAME

GREETING = b"API\0" + frame(b"v157..178 +PACEAPI")


@given(st.lists(st.integers(0, len(GREETING) + 3), max_size=6))
def test_the_greeting_is_read_however_it_is_cut(cuts: list[int]) -> None:
    stream = GREETING + b"abc"
    points = sorted(cuts)
    handshake = Handshake()
    hello: Hello | None = None
    rest = b""
    for start, end in zip([0, *points], [*points, len(stream)], strict=True):
        if hello is not None:
            rest += stream[start:end]
            continue
        hello = handshake.feed(stream[start:end])
        rest = handshake.rest
    assert hello == Hello(157, 178, "+PACEAPI")
    assert rest == b"abc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"v100..157", Hello(100, 157, "")),
        (b"v176", Hello(176, 176, "")),
        (b"v157..176\0", Hello(157, 176, "")),
    ],
)
def test_all_spellings_of_the_versions_are_read(text: bytes, expected: Hello) -> None:
    assert Handshake().feed(b"API\0" + frame(text)) == expected


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"API1", b"APX"])
def test_another_protocol_is_recognised_by_its_first_bytes(data: bytes) -> None:
    with pytest.raises(HandshakeError):
        Handshake().feed(data)


@pytest.mark.parametrize("text", [b"157..178", b"v..", b"vx..y", b"v157...178", b"\xff\xfe"])
def test_a_greeting_without_versions_is_refused(text: bytes) -> None:
    with pytest.raises(HandshakeError, match="versions"):
        Handshake().feed(b"API\0" + frame(text))


def test_a_greeting_may_not_be_long() -> None:
    with pytest.raises(FrameError):
        Handshake().feed(b"API\0" + frame(b"v" * 2000))


@pytest.mark.parametrize(
    ("low", "high", "agreed"),
    [
        (100, 157, 157),
        (157, 176, 176),
        (157, 178, 178),
        (100, 222, 178),
        (157, 177, 176),
        (100, 170, 157),
        (157, 157, 157),
        (158, 175, None),
        (100, 156, None),
        (179, 200, None),
        (200, 100, None),
    ],
)
def test_the_highest_version_both_speak_is_agreed_and_never_more_than_178(
    low: int, high: int, agreed: int | None
) -> None:
    assert versions.negotiate(low, high) == agreed


def test_the_answer_has_exactly_two_fields() -> None:
    at = datetime(2026, 4, 5, 21, 49, 26, tzinfo=UTC)
    assert server_hello(176, at, HOME_ZONE, HOME_ZONE_NAME) == ["176", "20260405 17:49:26 US/Eastern"]
