"""The numbers an exchange gives out: permanent order ids, execution ids, and each client's order id mark."""

from __future__ import annotations

import random

FIRST_PERM_ID = 1_426_086_001
"""Real permIds of one login rise from a large number; nobody may rely on where they start."""


class OrderIds:
    """The highest order id each client has used. It outlives connections, as in a real gateway."""

    def __init__(self) -> None:
        self._marks: dict[int, int] = {}

    def next(self, client_id: int) -> int:
        """The next valid id of this client: one above its mark, from 1."""
        return self._marks.get(client_id, 0) + 1

    def roll_back(self, by: int) -> None:
        """Lower every mark: what a restarted gateway can do to its clients."""
        self._marks = {client_id: max(mark - by, 0) for client_id, mark in self._marks.items()}

    def take(self, client_id: int, order_id: int) -> bool:
        """Raise the mark to a new order's id. False: the id is not above the mark (error 103), nothing changes."""
        if order_id < self.next(client_id):
            return False
        self._marks[client_id] = order_id
        return True


class PermIds:
    """One permanent id per order, rising."""

    def __init__(self, first: int = FIRST_PERM_ID) -> None:
        self._next = first

    def take(self) -> int:
        """A new permanent id."""
        value, self._next = self._next, self._next + 1
        return value


class ExecIds:
    """Execution ids shaped like IBKR's `0000e0d5.69dd7411.01.01`: venue, rising number, part, correction."""

    def __init__(self, rng: random.Random) -> None:
        self._next = 0x60000000 + rng.randrange(0x0F000000)

    def take(self, session: int) -> str:
        """A new id for a venue's session number; its correction number is 01."""
        self._next += 1
        return f"{session:08x}.{self._next:08x}.01.01"
