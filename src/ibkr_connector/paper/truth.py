"""The truth log: what the gateway received and what it did, the judge of every claim about orders.

In memory and, with a path, as JSON lines: one object per entry, written through at once, file mode 0600. Kinds used
by the gateway: connect, disconnect, recv_place, recv_modify, recv_cancel, recv_global_cancel, held, accepted,
modified, rejected, status, fill, commission, cancelled, expired; and of faults: fault, fault_hit, fault_end, withheld,
forwarded, forgotten, forked, correction (see docs/IMPLEMENTATION/faults.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The market time of entries recorded before a clock was given."""


class _Clock(Protocol):
    def now(self) -> datetime: ...

    def wire(self) -> float: ...


@dataclass(frozen=True, slots=True)
class TruthEntry:
    """One thing that happened."""

    seq: int
    """1, 2, 3 …"""
    at: datetime
    """Market time, aware UTC."""
    wire: float
    """Wire time, seconds."""
    kind: str
    fields: dict[str, object]

    def matches(self, match: dict[str, object]) -> bool:
        """Whether every named field has the given value."""
        return all(name in self.fields and self.fields[name] == value for name, value in match.items())

    def to_dict(self) -> dict[str, object]:
        """The entry as it is written to the file; Decimals and times are still objects."""
        return {"seq": self.seq, "at": self.at, "wire": self.wire, "kind": self.kind, **self.fields}


@dataclass(slots=True, eq=False)
class _Waiter:
    match: dict[str, object]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[TruthEntry]


class TruthLog:
    """Entries in the order they happened. Recording is safe from any thread, waiting from any event loop.

    With a path the file is appended to; it must be a regular file or not exist yet (OSError otherwise, also when it
    cannot be written).
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, clock: _Clock | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._clock = clock
        self._entries: list[TruthEntry] = []
        self._waiters: dict[str, list[_Waiter]] = {}
        self._lock = threading.Lock()
        self._file: int | None = None if self.path is None else _open_private(self.path)

    def use_clock(self, clock: _Clock) -> None:
        """Stamp the entries from now on with this clock."""
        self._clock = clock

    @property
    def entries(self) -> Sequence[TruthEntry]:
        """Everything recorded so far, oldest first. It grows; do not keep it across awaits and expect it unchanged."""
        return self._entries

    def record(self, kind: str, /, *, at: datetime | None = None, **fields: object) -> TruthEntry:
        """Write one entry. `at` is its market time, by default the clock's."""
        clock = self._clock
        stamp = at if at is not None else (clock.now() if clock is not None else EPOCH)
        wire = clock.wire() if clock is not None else 0.0
        with self._lock:
            entry = TruthEntry(len(self._entries) + 1, stamp, wire, kind, fields)
            self._entries.append(entry)
            if self._file is not None:
                _write_all(self._file, _line(entry))
            waiters = self._waiters.get(kind)
            woken = [waiter for waiter in waiters if entry.matches(waiter.match)] if waiters else []
        for waiter in woken:
            _deliver(waiter, entry)
        return entry

    def of(self, kind: str, /, **match: object) -> list[TruthEntry]:
        """The entries of a kind whose fields have these values, oldest first."""
        return [entry for entry in tuple(self._entries) if entry.kind == kind and entry.matches(match)]

    async def wait_for(self, kind: str, /, *, timeout: float, since: int = 0, **match: object) -> TruthEntry:
        """The first entry of a kind with these field values and `seq > since`, already recorded or still to come.

        Raises TimeoutError naming what was waited for after `timeout` wire seconds.
        """
        loop = asyncio.get_running_loop()
        waiter = _Waiter(match, loop, loop.create_future())
        with self._lock:
            for entry in self._entries[since:]:
                if entry.kind == kind and entry.matches(match):
                    return entry
            self._waiters.setdefault(kind, []).append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter.future
        except TimeoutError:
            raise TimeoutError(
                f"no {kind!r} entry with {match!r} came within {timeout} s; the log has {len(self._entries)} entries"
            ) from None
        finally:
            with self._lock:
                self._waiters[kind].remove(waiter)
                if not self._waiters[kind]:
                    del self._waiters[kind]

    def close(self) -> None:
        """Close the file. Entries can still be read and recorded in memory. Harmless when called twice."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TruthLog {len(self._entries)} entries{f' -> {self.path}' if self.path else ''}>"


def _deliver(waiter: _Waiter, entry: TruthEntry) -> None:
    def resolve() -> None:
        if not waiter.future.done():
            waiter.future.set_result(entry)

    try:
        same_loop = asyncio.get_running_loop() is waiter.loop
    except RuntimeError:
        same_loop = False
    if same_loop:
        resolve()
    elif not waiter.loop.is_closed():
        waiter.loop.call_soon_threadsafe(resolve)


def _open_private(path: Path) -> int:
    # O_NOFOLLOW: somebody else's link must not make us write elsewhere. Absent on Windows.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    file = os.open(path, flags, 0o600)
    if hasattr(os, "fchmod"):
        os.fchmod(file, 0o600)
    return file


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _line(entry: TruthEntry) -> bytes:
    return json.dumps(entry.to_dict(), default=_plain, separators=(",", ":")).encode() + b"\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Enum):
        return str(value.value)
    return str(value)
