"""A look at a TWS port with nothing but a socket: is it there, does it speak, who is connected, what does it allow.

It asks for server version 157, whose layouts are the simplest, and sends what cannot change anything: the start-up
message, the time, the open orders of its own client id, and a cancel of an order id that nobody uses (a read-only API
refuses that with 321 instead of 10147).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from ibkr_connector.clock import Clock, system_clock

CLIENT_ID_IN_USE = 326
_INVALID_REQUEST = 321
_NOBODYS_ORDER = 2**31 - 1
_MOST_BYTES = 1_000_000
_QUIET_S = 1.5
"""How long the answers to the probe's questions may take after the start-up messages."""
_VERSIONS = "v100..157"


class Stage(StrEnum):
    """How far the probe got."""

    REFUSED = "refused"
    """Nobody listens."""
    UNREACHABLE = "unreachable"
    """The host cannot be reached, or its name not be found."""
    SILENT = "silent"
    """Something accepts connections and does not answer the handshake."""
    CLOSED = "closed"
    """It answered and ended the connection before it was ready."""
    READY = "ready"
    """Accounts and order id were told."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one probe saw."""

    host: str
    port: int
    client_id: int
    stage: Stage
    detail: str = ""
    server_version: int | None = None
    accounts: tuple[str, ...] = ()
    server_time: datetime | None = None
    asked_at: datetime | None = None
    """The machine's clock when the time was told."""
    read_only: bool | None = None
    """None: not found out."""
    notices: list[tuple[int, str]] = field(default_factory=list)
    """Messages about no request: (code, text)."""

    @property
    def id_in_use(self) -> bool:
        """Whether another connection holds the client id."""
        return any(code == CLIENT_ID_IN_USE for code, _ in self.notices)


async def probe(host: str, port: int, client_id: int, *, timeout: float = 5.0, clock: Clock = system_clock) -> Findings:
    """Look at one port, within about `timeout` seconds. Never raises for what the other side does."""
    found = Findings(host=host, port=port, client_id=client_id, stage=Stage.UNREACHABLE)
    try:
        reader, writer = await clock.wait_for(asyncio.open_connection(host, port), timeout)
    except ConnectionRefusedError:
        found.stage = Stage.REFUSED
        return found
    except TimeoutError:
        found.detail = f"no answer to the connection in {timeout:g} s"
        return found
    except OSError as error:
        found.detail = error.strerror or str(error)
        return found
    try:
        await _talk(reader, writer, found, timeout, clock)
    except TimeoutError:
        pass  # the stage says how far it came
    except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
        found.detail = found.detail or str(error) or type(error).__name__
        if found.stage is Stage.SILENT and found.server_version is not None:
            found.stage = Stage.CLOSED
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return found


async def _talk(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, found: Findings, timeout: float, clock: Clock
) -> None:
    found.stage = Stage.SILENT
    writer.write(b"API\0" + _frame(_VERSIONS.encode()))
    greeting = await clock.wait_for(_message(reader), timeout)
    if len(greeting) != 2 or not greeting[0].isdecimal():
        raise ValueError(f"the answer to the handshake was {greeting[:3]!r}")
    found.server_version = int(greeting[0])
    _send(writer, "71", "2", str(found.client_id), "")
    needed = {"15", "9"}
    deadline = clock.monotonic() + timeout
    while needed:
        fields = await clock.wait_for(_message(reader), max(deadline - clock.monotonic(), 0.0))
        _note(fields, found, clock)
        needed.discard(fields[0])
    found.stage = Stage.READY
    _send(writer, "49", "1")
    _send(writer, "5", "1")
    _send(writer, "4", "1", str(_NOBODYS_ORDER))
    deadline = clock.monotonic() + _QUIET_S
    while found.server_time is None or found.read_only is None:
        _note(await clock.wait_for(_message(reader), max(deadline - clock.monotonic(), 0.0)), found, clock)


def _note(fields: list[str], found: Findings, clock: Clock) -> None:
    match fields:
        case ["15", _, accounts, *_]:
            found.accounts = tuple(name for name in accounts.split(",") if name)
        case ["49", _, seconds, *_] if seconds.isdecimal():
            found.server_time = datetime.fromtimestamp(int(seconds), UTC)
            found.asked_at = clock.now()
        case ["4", _, number, code, text, *_] if code.isdecimal():
            if int(code) == _INVALID_REQUEST and "read-only" in text.lower():
                found.read_only = True
            elif number == str(_NOBODYS_ORDER):
                found.read_only = bool(found.read_only)
            else:
                found.notices.append((int(code), text))
        case _:
            pass


async def _message(reader: asyncio.StreamReader) -> list[str]:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if not 0 < length <= _MOST_BYTES:
        raise ValueError(f"a message of {length} bytes was announced: this is not the TWS protocol")
    payload = await reader.readexactly(length)
    return payload.decode("utf-8", "backslashreplace").removesuffix("\0").split("\0")


def _send(writer: asyncio.StreamWriter, *fields: str) -> None:
    writer.write(_frame("".join(f"{text}\0" for text in fields).encode("ascii")))


def _frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload
