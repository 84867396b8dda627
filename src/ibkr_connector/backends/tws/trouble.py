"""Messages the decoder could not read: counted, told, and held against the answer they belonged to.

The library logs such a message and goes on. For us an unreadable position is a wrong list of positions, so the decoder
gets a logger of ours (per connection) that hears of it. Only the log text says which message it was.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from typing import Any

from ibkr_connector.backends.facts import SystemNotice
from ibkr_connector.backends.outlet import Outlet
from ibkr_connector.backends.tws.wrapper import Callbacks
from ibkr_connector.errors import ProtocolError
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)

UNREADABLE = -1
"""The code of the `SystemNotice` that tells of an unreadable message (no code of IBKR's)."""

_TOLD_AT_FIRST = 20
_TOLD_EVERY = 100
_SHOWN = 200
_FIELD = re.compile(r"'([^']*)'")
_METHOD = re.compile(r"Error for (\w+)")

_REQ_ID_AT = {10: 1, 11: 1, 17: 1, 18: 1, 52: 2, 55: 2, 73: 2, 74: 2, 79: 1, 88: 1}
"""Message number -> where its request number stands (server versions from 164 on)."""

_OF_METHOD = {
    "orderStatus": 3,
    "positionEnd": 62,
    "openOrderEnd": 53,
    "completedOrdersEnd": 102,
}


class DecoderLog(logging.LoggerAdapter[logging.Logger]):
    """What the decoder takes for its logger: an exception logged there is an unreadable message."""

    def __init__(self, on_unreadable: Callable[[str, BaseException | None], None]) -> None:
        super().__init__(logging.getLogger(f"{__name__}.decoder"), {})
        self._on_unreadable = on_unreadable

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """The decoder's only call."""
        self._on_unreadable(str(msg), sys.exc_info()[1])


class WireLog(logging.LoggerAdapter[logging.Logger]):
    """The client's logger: the wire at debug level. Its errors are guesses about what we raise with a type; they are
    told at debug level, too.
    """

    def __init__(self) -> None:
        super().__init__(logging.getLogger("ibkr_connector.backends.tws.wire"), {})

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Everything at debug level."""
        super().log(logging.DEBUG, msg, *args, **kwargs)


class Unreadable:
    """Counts unreadable messages of one connection and spoils what they belonged to."""

    def __init__(self, callbacks: Callbacks, outlet: Outlet, on_count: Callable[[], None]) -> None:
        self.count = 0
        self._callbacks = callbacks
        self._outlet = outlet
        self._on_count = on_count

    def __call__(self, told: str, error: BaseException | None) -> None:
        """The decoder gave up on a message; `told` is its log text."""
        self.count += 1
        self._on_count()
        number, fields = _which(told)
        why = f"{type(error).__name__}: {error}" if error is not None else "no reason given"
        name = f"message {number}" if number is not None else told[:40]
        text = f"unreadable {name}: {why}"[:_SHOWN]
        if self.count <= _TOLD_AT_FIRST or self.count % _TOLD_EVERY == 0:
            _log.warning(
                "the client library could not read a message", message=name, why=why[:_SHOWN], count=self.count
            )
            self._outlet.emit(SystemNotice(code=UNREADABLE, text=text))
        if number is not None:
            self._spoil(number, fields, text)

    def _spoil(self, number: int, fields: list[str], text: str) -> None:
        calls = self._callbacks
        at = _REQ_ID_AT.get(number)
        if at is not None and len(fields) > at and fields[at].lstrip("-").isdigit():
            req_id = int(fields[at])
            found = calls.requests.damage(
                req_id, ProtocolError(f"a part of the answer is unreadable ({text}).", req_id=req_id)
            )
            if found:
                return
        if number in (11, 59):
            calls.requests.damage_partial()
        elif number in (61, 62):
            calls.positions.damage()
        elif number in (3, 5, 53):
            calls.open_orders.damage()
        elif number in (101, 102):
            calls.completed_orders.damage()


def _which(told: str) -> tuple[int | None, list[str]]:
    """Message number and first fields out of the decoder's log text."""
    if told.startswith("Error handling fields"):
        fields = _FIELD.findall(told[:_SHOWN])[:4]
        if fields and fields[0].isdigit():
            return int(fields[0]), fields
        return None, []
    method = _METHOD.match(told)
    return (_OF_METHOD.get(method.group(1)) if method else None), []
