"""What is in flight: the reservations of orders that may still fill, through their whole life, and what agents hold.

A reservation begins with the engine's decision. It moves by what the broker says, and goes only when the order's end is
known for certain, or when the order was given up before its commit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal

from ibkr_connector.risk.agents import AgentLedger
from ibkr_connector.risk.reservation import Exposure, Reservation, ReservationBook

_ZERO = Decimal(0)


class InFlight:
    """The counting part of `RiskEngine`. All methods are safe from any thread."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._book = ReservationBook()
        self._agents = AgentLedger()
        self._forked: dict[str, int] = {}
        """Live orders of which the broker made several, and their contracts."""

    def commit(self, *refs: str) -> None:
        """SENDING is in the journal: from now on the orders may be at the broker, and only `on_done` frees them."""
        with self._lock:
            for ref in refs:
                found = self._book.get(ref)
                if found is not None:
                    found.committed = True

    def release(self, *refs: str) -> None:
        """The orders were given up before SENDING. Unknown refs are ignored.

        Raises RuntimeError for a committed one: a timeout, a lost connection or an exception frees nothing.
        """
        with self._lock:
            for ref in refs:
                found = self._book.get(ref)
                if found is not None and found.committed:
                    raise RuntimeError(
                        f"order {ref} may be at the broker: its reservation stays until its end is known (on_done)"
                    )
            for ref in refs:
                self._book.remove(ref)

    def on_fill(self, ref: str, filled: Decimal, open_quantity: Decimal) -> None:
        """An execution came: `filled` in all so far, `open_quantity` that can still fill. Unknown refs are ignored."""
        with self._lock:
            known = self._book.get(ref) or self._book.ended(ref)
            if known is not None:
                self._agents.add(known.agent, known.con_id, known.sign * (filled - known.filled))
                known.filled = filled
            self._book.set_open(ref, open_quantity, filled)

    def on_open(self, ref: str, open_quantity: Decimal) -> None:
        """What can still fill changed without a fill: a change was acknowledged, rejected or not sent."""
        with self._lock:
            self._book.set_open(ref, open_quantity)

    def on_done(self, ref: str) -> None:
        """The order has ended for certain: filled, cancelled, rejected, expired, or settled as never arrived."""
        with self._lock:
            self._forked.pop(ref, None)
            self._book.remove(ref)

    def on_forked(self, ref: str, con_id: int) -> None:
        """The broker made several orders of this one: until all have ended, nothing adds risk in its contract."""
        with self._lock:
            self._forked[ref] = con_id

    def on_revived(self, ref: str, open_quantity: Decimal) -> None:
        """An order that had ended turns out to live: it is counted again, limits or not. Unknown refs are ignored."""
        with self._lock:
            known = self._book.ended(ref)
            if not self._book.set_open(ref, open_quantity) and known is not None:
                known.open = open_quantity
                self._book.add(known)

    def adopt(
        self,
        ref: str,
        *,
        con_id: int,
        sign: int,
        quantity: Decimal,
        open_quantity: Decimal,
        filled: Decimal = _ZERO,
        group: str = "",
        oca: str = "",
        loss: Decimal = _ZERO,
        agent: str = "",
    ) -> None:
        """Count an order that is there already: read back from the journal, or another program's. No gate is asked.

        sign: +1 buy, -1 sell. group: the entry's ref, for a bracket's legs. oca: its OCA group with block. loss: what
        the whole quantity may cost while in flight, base currency. agent: lower case; what is filled is in
        `start_agents` already. An order counted already is brought up to date instead.
        """
        with self._lock:
            if not self._book.set_open(ref, open_quantity, filled):
                self._book.add(
                    Reservation(
                        ref,
                        con_id,
                        sign,
                        quantity,
                        open_quantity,
                        loss,
                        filled=filled,
                        group=group,
                        oca=oca,
                        agent=agent,
                        committed=True,
                    )
                )

    def start_agents(self, held: Mapping[tuple[str, int], Decimal]) -> None:
        """What the agents' orders of earlier runs have filled, by (agent in lower case, con_id)."""
        with self._lock:
            self._agents.start(held)

    def agent_position(self, agent: str, con_id: int) -> Decimal:
        """What an agent's own orders have filled of a contract."""
        with self._lock:
            return self._agents.position(agent, con_id)

    @contextmanager
    def atomically(self) -> Iterator[None]:
        """Hold the engine's lock: for a position and `on_fill` that must move in one step from several threads."""
        with self._lock:
            yield

    def reserved_exposure(self, con_id: int, *, without: Iterable[str] = ()) -> Exposure:
        """What may still be bought and sold in a contract."""
        with self._lock:
            return self._book.exposure(con_id, without=frozenset(without))

    def reserved(self, ref: str) -> Decimal | None:
        """What an order can still fill, by its reservation; None when there is none."""
        with self._lock:
            found = self._book.get(ref)
            return None if found is None else found.open

    @property
    def in_flight_loss(self) -> Decimal:
        """What everything in flight may cost, base currency."""
        with self._lock:
            return self._book.loss_open()
