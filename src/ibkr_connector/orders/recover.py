"""From the journal back to records: what was in memory when the program ended, and what nobody saw answered since."""

from __future__ import annotations

from ibkr_connector.orders.changes import Change
from ibkr_connector.orders.entries import JournalOrder
from ibkr_connector.orders.evolve import evolve
from ibkr_connector.orders.record import Context, OrderRecord
from ibkr_connector.orders.steps import link_lost, new_record

_WHY = "The program ended before the broker's answer was recorded."


def recover(order: JournalOrder, ctx: Context) -> tuple[OrderRecord, list[Change]]:
    """The record of a journaled order, and the new changes to journal: everything unanswered is in doubt.

    The connections it was written to and echoed on ended with the process: their numbers mean nothing any more, and
    nothing can be changed before the broker has shown it again.
    """
    record = replayed(order)
    record.forget_connections()
    return record, link_lost(record, _WHY, ctx)


def replayed(order: JournalOrder) -> OrderRecord:
    """The record as it was when the journal was last written, connections included."""
    record = new_record(order.request, account=order.account, group=order.group, parent_ref=order.parent_ref)
    for change in order.changes:
        evolve(record, change)
    return record
