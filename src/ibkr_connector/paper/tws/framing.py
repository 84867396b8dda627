"""Frames of the TWS socket: a 4-byte big-endian length, then NUL-terminated text fields. Sans I/O.

`FrameReader` takes bytes as the socket delivers them, split or coalesced in any way, and gives back whole payloads.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator

MAX_INBOUND = 16 * 1024 * 1024
"""Bytes a client may put into one frame. IBKR documents 0xFFFFFF; more is a peer that does not speak this protocol."""

_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """The peer announced an impossible frame: the stream cannot be followed any further, drop the connection."""


class FrameReader:
    """Cuts a byte stream into payloads. Holds at most one incomplete frame of `limit` bytes and what came with it."""

    __slots__ = ("_buffer", "_fed", "_marks", "_taken", "arrived", "limit")

    def __init__(self, limit: int = MAX_INBOUND) -> None:
        self._buffer = bytearray()
        self._fed = self._taken = 0
        """Bytes so far."""
        self._marks: deque[tuple[int, float]] = deque()
        """Up to which byte had come when."""
        self.arrived = 0.0
        """When the last byte of the frame that was shown or given last arrived, as `feed` was told."""
        self.limit = limit
        """Bytes of the longest payload; may be changed at any time."""

    @property
    def pending(self) -> int:
        """Bytes held back because their frame is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview, at: float = 0.0) -> None:
        """Add bytes in the order received, which arrived at `at`."""
        self._buffer += data
        self._fed += len(data)
        self._marks.append((self._fed, at))

    def frames(self) -> Iterator[bytes]:
        """Yield every complete payload; each is gone from the buffer when yielded. Raises FrameError."""
        while (payload := self.next_frame()) is not None:
            yield payload

    def next_frame(self) -> bytes | None:
        """Give the next complete payload, or None while it is incomplete. Raises FrameError."""
        payload = self.peek_frame()
        if payload is not None:
            self.drop_frame()
        return payload

    def peek_frame(self) -> bytes | None:
        """The next complete payload, left in the buffer. Raises FrameError.

        The length is judged as soon as its four bytes are in, so a peer cannot make us hold a frame that is too long.
        """
        if len(self._buffer) < _LENGTH.size:
            self._marks.clear()  # of what is here nothing is whole: its last byte is still to come
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length == 0 or length > self.limit:
            raise FrameError(f"a frame of {length} bytes was announced; 1 to {self.limit} are possible")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            self._marks.clear()
            return None
        while self._marks[0][0] < self._taken + end:
            self._marks.popleft()
        self.arrived = self._marks[0][1]
        return bytes(self._buffer[_LENGTH.size : end])

    def drop_frame(self) -> None:
        """Remove the frame `peek_frame` has shown."""
        (length,) = _LENGTH.unpack_from(self._buffer)
        del self._buffer[: _LENGTH.size + length]
        self._taken += _LENGTH.size + length


def frame(payload: bytes) -> bytes:
    """Prefix a payload with its length."""
    return _LENGTH.pack(len(payload)) + payload


def encode_frame(fields: Iterable[str]) -> bytes:
    """One message as it goes over the wire: every field NUL-terminated, the last one too.

    Non-ASCII text is escaped the way gateways of server version 153 and later do it (a backslash, `u` and four hex
    digits per UTF-16 unit). A NUL inside a field would shift every field behind it and is left out.
    """
    return frame("".join([f"{_clean(field)}\0" for field in fields]).encode("ascii"))


def split_fields(payload: bytes) -> list[str] | None:
    """The fields of a payload, or None if it does not end with the NUL every message ends with."""
    if not payload.endswith(b"\0"):
        return None
    return payload[:-1].decode("utf-8", "backslashreplace").split("\0")


def _clean(field: str) -> str:
    if field.isascii():
        return field.replace("\0", "") if "\0" in field else field
    units = field.replace("\0", "").encode("utf-16-be", "surrogatepass")
    return "".join(chr(unit) if unit < 0x80 else f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", units))
