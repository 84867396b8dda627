"""The one rising sequence of numbers that orders and requests share, and which of them are orders.

The protocol tells errors by the number alone, so a request must never carry the number of an order. Order ids must rise
per client id, over reconnects and restarts (else error 103).
"""

from __future__ import annotations

from ibkr_connector.errors import IBKRError

LAST_ID = 2**31 - 2
"""Order ids are signed 32-bit numbers; the last one of them means "not set"."""


class Ids:
    """Numbers handed out over the backend's life, and order ids seen in the present connection."""

    __slots__ = ("_next", "orders", "what_ifs")

    def __init__(self) -> None:
        self._next = 1
        self.orders: set[int] = set()
        """Order ids written in this connection or seen in echoes of our client id."""
        self.what_ifs: set[int] = set()
        """Ids of previews: an echo of one is no order."""

    @property
    def next(self) -> int:
        """The number that `take` would give."""
        return self._next

    def take(self) -> int:
        """The next number. Raises `IBKRError` when there is none left (two thousand million)."""
        if self._next > LAST_ID:
            raise IBKRError(
                "the order ids of this client id are used up.",
                remedy="Reset the API order id sequence in TWS, or configure another client_id.",
            )
        number = self._next
        self._next += 1
        return number

    def allow_from(self, first: int) -> None:
        """Numbers from now on are >= `first`; what is no possible id is ignored."""
        if 0 < first <= LAST_ID:
            self._next = max(self._next, first)

    def saw_order(self, order_id: int) -> None:
        """An order of our client id has this id: it is taken."""
        if 0 < order_id < LAST_ID:
            self.orders.add(order_id)
            self._next = max(self._next, order_id + 1)

    def new_connection(self) -> None:
        """What was outstanding in the old connection is not in the new one; the sequence goes on."""
        self.orders.clear()
        self.what_ifs.clear()
