"""Whether an order that adds risk could be sent now, in the words with which it would be refused."""

from __future__ import annotations

from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.session.session import Session


def order_checks(session: Session, desk: OrderDesk) -> tuple[tuple[str, str], ...]:
    """What an order needs of link and journal: each condition's name, and what is wrong with it (empty: nothing).

    The sender asks the link right before every write, in these very words. Whether the journal takes an order only its
    commit can tell; that is what sets `writable`. Any thread.
    """
    if session.settings.read_only:
        journal = "the settings say read_only: no order is sent"
    elif desk.journal is None:
        journal = "the order journal is not open"
    else:
        journal = "" if desk.journal.writable else "the order journal cannot be written"
    return (*session.link.order_checks(), ("journal", journal))
