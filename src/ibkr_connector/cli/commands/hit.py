"""Which own orders a stop hits: those that were open when it began, and those that were placed while it took hold.

The broker lists what works, and a program that trades may have cancelled an order before a command's first look. Its
journal knows of every order, whoever ended it and when.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ibkr_connector.cli.commands.orders import journals
from ibkr_connector.cli.common import Cx
from ibkr_connector.errors import JournalError
from ibkr_connector.models.order import OrderSnapshot, OrderState
from ibkr_connector.orders.recover import replayed

_EVER = datetime.min.replace(tzinfo=UTC)


class OwnOrders:
    """The orders that the journals of the accounts on this machine hold, seen from the moment the stop began."""

    def __init__(self, cx: Cx) -> None:
        """Look at what is there, before anything is stopped."""
        self._cx = cx
        # Each journal's own last moment: its times are the broker's, which need not be this machine's.
        self._since: dict[Path, datetime] = {}
        for journal in journals(cx, missing_ok=True):
            try:
                last = [o.updated_at for o in journal.recent(1)]
            except JournalError as error:
                self._without(error)
            else:
                self._since[journal.reader.path] = next((at for at in last if at is not None), _EVER)
        self._open = {o.order_ref for o, _ in self._moved() if not o.state.is_done}

    def hit(self) -> list[OrderSnapshot]:
        """The orders the stop has hit, as their journals know them by now: open or ended, acknowledged ones alone."""
        return [
            o for o, is_new in self._moved() if o.perm_id and (o.order_ref in self._open or (is_new and _is_hit(o)))
        ]

    @staticmethod
    def may_end(o: OrderSnapshot) -> bool:
        """Whether the program that trades will write down how the order ended; doubts may last."""
        return not o.state.is_done and o.state is not OrderState.IN_DOUBT

    def _moved(self) -> list[tuple[OrderSnapshot, bool]]:
        """Open orders and those that have moved since, each with whether it was placed since."""
        found: list[tuple[OrderSnapshot, bool]] = []
        for journal in journals(self._cx, missing_ok=True):
            since = self._since.get(journal.reader.path, _EVER)
            try:
                orders = journal.reader.load(since)
            except JournalError as error:
                self._without(error)
            else:
                found += [(replayed(order).to_snapshot(), order.created_at > since) for order in orders]
        return found

    def _without(self, error: JournalError) -> None:
        """Looking and getting out go on without a journal (INV-12)."""
        self._cx.out.note_once(f"{error.message} What its program has cancelled already is not shown.", "yellow")


def _is_hit(o: OrderSnapshot) -> bool:
    """Whether an order that came while the stop took hold was cancelled by it, or works still."""
    return not o.state.is_done or o.state is OrderState.CANCELLED
