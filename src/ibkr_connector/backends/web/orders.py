"""Orders over the Web API: frames that hand a POST to the orders thread, cancels, previews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibkr_connector.backends.base import WhatIf, WireOrder
from ibkr_connector.backends.web.questions import Questions
from ibkr_connector.backends.web.records import Records
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import NotSupportedByBackend, OrderRejected, TradingError

_MISSING = "orders over the Web API are not built into this version."


class WebOrders:
    """The writes of `Backend`."""

    def __init__(self, room: WebRoom, questions: Questions, records: Records) -> None:
        self._room = room
        self._questions = questions
        self._records = records

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`."""

    def back(self) -> None:
        """See `Part`."""

    def order_frame(self, order: WireOrder) -> Callable[[], None]:
        """See `Backend.order_frame`."""
        raise NotSupportedByBackend(_MISSING)

    def send_cancel(self, order_id: int) -> None:
        """See `Backend.send_cancel`."""
        raise NotSupportedByBackend(_MISSING)

    def send_global_cancel(self) -> None:
        """See `Backend.send_global_cancel`."""
        raise NotSupportedByBackend(_MISSING)

    async def what_if(self, order: WireOrder, timeout: float) -> WhatIf:
        """See `Backend.what_if`."""
        raise NotSupportedByBackend(_MISSING)

    def refusal(self, code: int | None, text: str, **context: Any) -> TradingError:
        """See `Backend.refusal`."""
        return OrderRejected(text, code=code, **context)
