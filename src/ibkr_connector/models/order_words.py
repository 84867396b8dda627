"""The words of an order: side, type, time in force, OCA type, and the states it goes through."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Action(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Action.BUY else -1

    @property
    def opposite(self) -> Action:
        """The other side."""
        return Action.SELL if self is Action.BUY else Action.BUY


class OrderType(StrEnum):
    """Order types the connector sends, spelled as IBKR spells them."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STP LMT"
    TRAILING_STOP = "TRAIL"


class TimeInForce(StrEnum):
    """How long an order works."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class OcaType(IntEnum):
    """What a fill of one order of an OCA group does to the others, by IBKR's numbers.

    With block only one order of the group is at an exchange at a time, so that no more than one can fill at once.
    """

    CANCEL_WITH_BLOCK = 1
    """The others are cancelled."""
    REDUCE_WITH_BLOCK = 2
    """The others are reduced in proportion."""
    REDUCE_WITHOUT_BLOCK = 3
    """The others are reduced in proportion, and may fill before that reaches them. IBKR's own default."""

    @property
    def blocks(self) -> bool:
        """Whether the group can never fill more than its largest order."""
        return self is not OcaType.REDUCE_WITHOUT_BLOCK


class OrderState(StrEnum):
    """Where an order stands, from the caller's hand to its end."""

    NEW = "new"
    """Validated; nothing sent."""
    SENDING = "sending"
    """Committed to the journal; the write is being made or awaits its first answer."""
    WORKING = "working"
    """The broker acknowledged it (PreSubmitted, Submitted)."""
    PARTIALLY_FILLED = "partially_filled"
    """Working, with a part filled."""
    PENDING_CANCEL = "pending_cancel"
    """A cancel was sent and not answered yet."""
    IN_DOUBT = "in_doubt"
    """It may be at the broker; nothing is known yet."""
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NOT_SENT = "not_sent"
    """Given up before the write, or settled as never arrived."""

    @property
    def is_done(self) -> bool:
        """Whether the order has ended."""
        return self in _DONE_STATES

    @property
    def is_live(self) -> bool:
        """Whether the order can still fill (in doubt counts)."""
        return self in _LIVE_STATES


_DONE_STATES = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED, OrderState.NOT_SENT}
)
_LIVE_STATES = frozenset(set(OrderState) - _DONE_STATES - {OrderState.NEW})
