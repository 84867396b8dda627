"""What the connector writes, frame by frame, seen at its own end of the connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proof.history import History

_NAMES = {"3": "place", "4": "cancel", "58": "global_cancel"}
Watch = Callable[[Any, bytes, str], None]
"""Told of each write: the transport, the bytes, the name of the last message in them."""


class Tap:
    """Notes every message of the connector as `wire`. Knows the framing and where an order id stands, nothing else."""

    def __init__(self, history: History, client_id: int, watch: Watch) -> None:
        self._history = history
        self._client_id = client_id
        self._watch = watch
        self._rest = b""
        self._greeted = False

    def begin(self) -> None:
        """A new connection."""
        self._rest, self._greeted = b"", False

    def written(self, transport: Any, data: bytes) -> None:
        """Bytes on their way out."""
        self._rest += data
        if not self._greeted and self._rest.startswith(b"API\0"):
            self._greeted, self._rest = True, self._rest[4:]
            self._frame()  # the range of versions
            return
        message = ""
        while (body := self._frame()) is not None:
            fields = body.split(b"\0", 3)
            number = fields[0].decode()
            message = _NAMES.get(number, number)
            order_id = int(fields[1]) if message in {"place", "cancel"} else 0
            if message == "cancel" and len(fields) > 3:
                order_id = int(fields[2]) if fields[1] == b"1" else order_id
            self._history.add("wire", message=message, order_id=order_id, client_id=self._client_id)
        self._watch(transport, data, message)

    def _frame(self) -> bytes | None:
        if len(self._rest) < 4:
            return None
        end = 4 + int.from_bytes(self._rest[:4], "big")
        if len(self._rest) < end:
            return None
        body, self._rest = self._rest[4:end], self._rest[end:]
        return body
