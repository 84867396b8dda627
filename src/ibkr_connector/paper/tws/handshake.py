"""The first bytes of a connection: `API` and a NUL, then one frame `v<min>..<max>[ options]`. Sans I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from .framing import FrameReader

PREFIX = b"API\0"
_MAX_HELLO = 1024
_VERSIONS = re.compile(r"v([0-9]{1,9})(?:\.\.([0-9]{1,9}))?(?: (.*))?", re.DOTALL)


class HandshakeError(Exception):
    """What arrived is not the beginning of a TWS API connection: drop it."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What the client announced."""

    min_version: int
    max_version: int
    options: str
    """Connect options, for instance `+PACEAPI`."""


class Handshake:
    """Collects bytes until the client's greeting is complete; what follows it is left in `rest`."""

    __slots__ = ("_data", "rest")

    def __init__(self) -> None:
        self._data = bytearray()
        self.rest = b""

    def feed(self, data: bytes) -> Hello | None:
        """Add bytes; the greeting once it is complete, else None. Raises HandshakeError or FrameError on garbage."""
        self._data += data
        seen = bytes(self._data[: len(PREFIX)])
        if not PREFIX.startswith(seen):
            raise HandshakeError(f"the connection began with {seen!r}, not with {PREFIX!r}")
        reader = FrameReader(_MAX_HELLO)
        reader.feed(self._data[len(PREFIX) :])
        payload = reader.next_frame()
        if payload is None:
            return None
        self.rest = bytes(self._data[len(PREFIX) + 4 + len(payload) :])
        # Some clients end the greeting with the NUL of a field, the official ones do not.
        match = _VERSIONS.fullmatch(payload.rstrip(b"\0").decode("ascii", "replace"))
        if match is None:
            raise HandshakeError(f"the greeting {payload[:64]!r} names no versions (v157..178)")
        low = int(match[1])
        return Hello(low, int(match[2] or low), match[3] or "")


def server_hello(version: int, at: datetime, zone: ZoneInfo, zone_name: str) -> list[str]:
    """The two fields that answer the greeting: the agreed version and the gateway's local time."""
    return [str(version), f"{at.astimezone(zone):%Y%m%d %H:%M:%S} {zone_name}"]
