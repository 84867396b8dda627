"""Frames survive any split of the stream, and nothing else gets through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.tws.framing import (
    FrameError,
    FrameReader,
    encode_frame,
    frame,
    split_fields,
)

payloads = st.lists(st.binary(min_size=1, max_size=300), max_size=12)


@given(payloads, st.data())
def test_payloads_survive_every_way_of_cutting_the_stream(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(payload) for payload in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = FrameReader()
    received: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
        received.extend(reader.frames())
    assert received == sent
    assert reader.pending == 0


@given(payloads)
def test_payloads_survive_a_stream_that_comes_byte_by_byte(sent: list[bytes]) -> None:
    reader = FrameReader()
    received: list[bytes] = []
    for byte in b"".join(frame(payload) for payload in sent):
        reader.feed(bytes([byte]))
        received.extend(reader.frames())
    assert received == sent


def test_an_incomplete_frame_waits() -> None:
    reader = FrameReader()
    reader.feed(struct.pack(">I", 5) + b"abcd")
    assert reader.next_frame() is None
    reader.feed(b"e")
    assert reader.next_frame() == b"abcde"
    assert reader.next_frame() is None


@pytest.mark.parametrize("length", [0, 101, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_before_any_of_it_is_held(length: int) -> None:
    reader = FrameReader(limit=100)
    reader.feed(struct.pack(">I", length))
    with pytest.raises(FrameError, match=str(length)):
        reader.next_frame()


def test_a_frame_of_exactly_the_limit_passes() -> None:
    reader = FrameReader(limit=100)
    reader.feed(frame(b"x" * 100))
    assert reader.next_frame() == b"x" * 100


def test_peeking_leaves_the_frame_where_it_is() -> None:
    reader = FrameReader()
    reader.feed(frame(b"one") + frame(b"two"))
    assert reader.peek_frame() == b"one"
    assert reader.peek_frame() == b"one"
    reader.drop_frame()
    assert reader.peek_frame() == b"two"


def test_every_field_is_nul_terminated_the_last_one_too() -> None:
    assert encode_frame(["9", "1", "42"]) == b"\0\0\0\x079\x001\x0042\0"


@pytest.mark.parametrize(
    ("text", "wire"),
    [("é", b"\\u00e9"), ("日本", b"\\u65e5\\u672c"), ("😀", b"\\ud83d\\ude00"), ("plain", b"plain"), ("a\nb", b"a\nb")],
)
def test_text_beyond_ascii_is_escaped_per_utf16_unit(text: str, wire: bytes) -> None:
    assert encode_frame([text])[4:] == wire + b"\0"


@given(st.lists(st.text(st.characters(blacklist_characters="\0")), min_size=1, max_size=8))
def test_fields_never_shift_whatever_text_they_carry(fields: list[str]) -> None:
    payload = encode_frame(fields)[4:]
    assert payload.count(b"\0") == len(fields)
    assert payload.isascii()


def test_a_nul_inside_a_field_cannot_add_a_field() -> None:
    assert encode_frame(["a\0b", "c"])[4:] == b"ab\0c\0"


def test_fields_are_split_only_where_the_payload_ends_properly() -> None:
    assert split_fields(b"71\x002\x000\0\0") == ["71", "2", "0", ""]
    assert split_fields(b"71\x002") is None
    assert split_fields(b"\xff\0") == ["\\xff"]


def test_a_frame_arrived_when_its_last_byte_did() -> None:
    reader = FrameReader()
    one, two, three = (frame(text) for text in (b"one", b"two", b"three"))
    reader.feed(one[:3], 1.0)
    assert reader.next_frame() is None
    reader.feed(one[3:] + two[:2], 2.0)
    reader.feed(two[2:] + three, 3.0)
    seen = []
    while reader.peek_frame() is not None:
        seen.append(reader.arrived)
        reader.drop_frame()
    assert seen == [2.0, 3.0, 3.0]


def test_a_frame_that_comes_byte_by_byte_makes_no_list_of_its_bytes() -> None:
    reader = FrameReader()
    for number, byte in enumerate(frame(b"x" * 1000)[:-1]):
        reader.feed(bytes([byte]), float(number))
        assert reader.peek_frame() is None
    assert len(reader._marks) == 0
    reader.feed(b"x", 5000.0)
    assert reader.next_frame() == b"x" * 1000
    assert reader.arrived == 5000.0
