"""Which error code ends which operation on an order, and which end nothing.

IBKR speaks about orders in error messages whose meaning hangs on what was asked: 201 refuses a new order, or a change,
or a cancel, and a working order goes on living. Both client libraries mark live orders Cancelled on codes that end
nothing; here a code is final only if this table says so *for the operation outstanding on that id* (the caller checks
that the broker link is up). What is not in the table is a note and a reason to ask: silence then leads to doubt, and
doubt to evidence, never to a guess.

Sources: IBKR's message code list (interactivebrokers.github.io/tws-api/message_codes.html) and the behaviour of real
gateways noted beside the rows. 104 and 105 answering a *new* order prove that some order has that id, which may be this
one: they stay notes. 106 (cannot transmit) may leave the order sitting in TWS: a note too.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import StrEnum

from ibkr_connector.backends.base import LOGIN_REFUSED, NOT_CONFIRMED, PACE_REFUSED, REPLY_WITHHELD
from ibkr_connector.backends.facts import Operation


class Verdict(StrEnum):
    """What an error message does to an order."""

    NOTE = "note"
    """Nothing is certain: keep it, and ask the broker for the order's state."""
    REJECTED = "rejected"
    """The new order was refused; it does not exist."""
    CANCELLED = "cancelled"
    """The order was cancelled."""
    MODIFY_REFUSED = "modify_refused"
    """The change was refused; the order works on as it was."""
    CANCEL_REFUSED = "cancel_refused"
    """The cancel was refused; the text names the order's state."""


_INVALID_ORDER = frozenset(
    {
        110,  # price increment (a warning on a working order, an end for a new one)
        111,  # TIF and order type are incompatible
        113,  # TIF must be DAY for MOC, LOC
        116,  # dead exchange
        200,  # no security definition (false ones come while the link is down: then nothing ends)
        201,  # order rejected
        203,  # not available or allowed for this account
        320,  # error reading the request
        321,  # error validating the request; read-only API
        322,  # error processing the request
        355,  # size does not conform to the market rule
        382,  # number-of-ticks constraint of the presets
        383,  # size constraint of the presets
        387,  # order type not supported there
        388,  # size below the minimum
        392,  # contract expired
        403,  # invalid stop price
        434,  # size zero
        435,  # no account named
        460,  # no trading permissions
        10289,  # cash quantity needed
        10293,  # listed as an order rejection by other connectors
        10318,  # no fractional quantities
        NOT_CONFIRMED,  # our own no to a question of the broker's, confirmed by it
        REPLY_WITHHELD,
        LOGIN_REFUSED,  # the request that carried it was
        PACE_REFUSED,
    }
)
"""Refusals of an order's content: they refuse a new order and a change alike."""

_ENDS_NEW = _INVALID_ORDER | {
    103,  # duplicate order id: the id was used before, this message made no order
    107,  # incomplete order, not transmitted
    133,  # submit new order failed
}
_REFUSES_MODIFY = _INVALID_ORDER | {
    104,  # cannot modify a filled order
    105,  # does not match the original order
    134,  # modify order failed
    329,  # order modify failed, cannot change to the new type
    2102,  # still being processed
}
_REFUSES_CANCEL = frozenset(
    {
        135,  # cannot find order
        136,  # cannot be cancelled
        161,  # not in a cancellable state
        201,  # a refused cancel as gateways send it
        10147,  # not found
        10148,  # cannot be cancelled, state: …
    }
)
_WARNINGS = frozenset({165, 399, 404, 492, 10167, 10349}) | frozenset(range(2100, 2200))


def ends(operation: Operation | None, code: int, text: str) -> Verdict:
    """What `code` means for an order on which only `operation` is outstanding (None = nothing is)."""
    if code == 202:
        # "Order Canceled - reason:" names an accomplished fact, whatever was asked.
        return Verdict.CANCELLED
    if operation is Operation.NEW and (code in _ENDS_NEW or (code == 109 and "not be transmitted" in text)):
        return Verdict.REJECTED
    if operation is Operation.MODIFY and (code in _REFUSES_MODIFY or code == 109):
        return Verdict.MODIFY_REFUSED
    if operation is Operation.CANCEL and code in _REFUSES_CANCEL:
        if _names(text, "PendingCancel"):
            return Verdict.NOTE  # a cancel sent again after an outage: the first one is under way
        return Verdict.CANCELLED if code == 10148 and _names(text, *_CANCELLED) else Verdict.CANCEL_REFUSED
    return Verdict.NOTE


def judge(outstanding: AbstractSet[Operation], code: int, text: str) -> Verdict:
    """The verdict over all outstanding operations; where they disagree (201 on a change and a cancel), a note."""
    if not outstanding:
        return ends(None, code, text)
    verdicts = {ends(operation, code, text) for operation in outstanding} - {Verdict.NOTE}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.NOTE


def is_warning(code: int) -> bool:
    """Whether the code is a warning to show beside the order (hours, held, preset, 21xx)."""
    return code in _WARNINGS


def refuses_orders(code: int) -> bool:
    """Whether the code refuses orders where it is about one: an `Inactive` order beside it was rejected."""
    return code in _ENDS_NEW


_CANCELLED = ("Cancelled", "ApiCancelled", "Canceled")


def _names(text: str, *states: str) -> bool:
    """Whether the text of a refused cancel ends in one of `states` ("…, state: Cancelled.")."""
    return text.rpartition("state:")[2].strip().rstrip(".") in states
