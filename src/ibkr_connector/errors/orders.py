"""Orders: refused, rejected, in doubt. Never an OSError: a common retry decorator would send them again."""

from __future__ import annotations

from ibkr_connector.errors.base import Outcome, TradingError


class OrderError(TradingError):
    """Base of everything about one order. `context['order_ref']` names it where it exists."""

    default_remedy = "Look the order up with get_order(order_ref) before doing anything else."


class OrderValidationError(OrderError, ValueError):
    """The order is wrong as written. Nothing was sent; `context` holds `field`, `value` and `legal`."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Correct the order; nothing was sent."


class RiskRejected(OrderError):
    """One or more pre-trade gates said no. `context['decision']` lists each gate with its limit and value."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Make the order smaller or change the limits in the configuration; nothing was sent."

    @property
    def gates(self) -> list[str]:
        """The names of the gates that refused, in their order."""
        return [str(gate) for gate in self.context.get("gates", [])]


class OrderNotSent(OrderError):
    """The order was given up before the write (no slot, link lost, not ready, killed). Nothing was sent."""

    retryable = True
    outcome = Outcome.NOT_SENT
    default_remedy = "Nothing was sent; the same order_ref may be used again."


class OrderRejected(OrderError):
    """The broker refused the order. Correct it and send it as a new order."""

    outcome = Outcome.REJECTED
    default_remedy = "Correct what the broker's text names and place a new order."


class InsufficientFunds(OrderRejected):
    """The broker refused for lack of margin or funds."""

    default_remedy = "Reduce the order or free buying power."


class PriceIncrementError(OrderRejected):
    """The price is not a multiple of the contract's tick (110)."""

    default_remedy = "Round the price to the contract's minimum increment."


class OrderConfirmationRequired(OrderRejected):
    """The broker asked back before taking the order, and the configuration does not say yes to that question.

    It was answered with no, so nothing is at the broker. The message holds the question and its message id.
    """

    default_remedy = (
        "Read the question. If the answer is yes for every order, add its message id to `confirm` in section [web]; "
        "then place a new order."
    )


class OrderInDoubt(OrderError):
    """It may have reached the broker. Do NOT place it again: wait for settlement, or look at `orders_in_doubt()`."""

    outcome = Outcome.UNKNOWN
    default_remedy = (
        "Do NOT send it again. A connector that runs settles it from the broker's records; orders_in_doubt() and "
        "`ibkr-connector orders doubt` list it."
    )


class ModifyInDoubt(OrderInDoubt):
    """The change may or may not have reached the broker; exposure counts the larger of both versions."""

    default_remedy = "Do NOT repeat it. Wait for the broker's echo, or cancel the order."


class CancelInDoubt(OrderInDoubt):
    """The cancel was sent and not confirmed. The order may still fill; the cancel may be sent again."""

    retryable = True
    default_remedy = "The order may still fill. Cancel again, or check the order's state."


class GroupIncomplete(OrderError):
    """Orders of an OCA group work at the broker, and another was refused or not sent. Do NOT place the group again.

    `context['group']` names it, `context['orders']` tells the state of each order by ref, `context['why']` the reason.
    """

    outcome = Outcome.UNKNOWN
    default_remedy = (
        "The others work on. Cancel them with cancel_order(ref) if they must not work without it, or place an order in "
        "its stead; do NOT place the whole group again."
    )


class OrderNotFound(OrderError):
    """No such order is known here or at the broker (135, 10147)."""

    outcome = Outcome.REJECTED
    default_remedy = "Check the reference; get_open_orders() lists what works."


class OrderNotCancellable(OrderError):
    """The order cannot be cancelled any more (136, 161, 10148): it is filled or cancelled."""

    outcome = Outcome.REJECTED
    default_remedy = "Read its state: it has ended."


class ModifyNotPossible(OrderError):
    """The change cannot be made safely (not echoed in this connection, another change outstanding, ended). Not sent."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Cancel the order and place a new one."


class ModifyRejected(OrderError):
    """The broker refused the change; the order works on as it was."""

    outcome = Outcome.REJECTED
    default_remedy = "The order works on unchanged; correct the change or cancel the order."


class OrderCancelled(OrderError):
    """The order ended (cancelled, expired) before what was awaited. `context` holds the filled quantity."""

    default_remedy = "Read `order.filled`: a part may have been done."


class FlattenIncomplete(OrderError):
    """Closing all positions stopped before the end. `context['report']` says what was done and what is left."""

    default_remedy = (
        "Close what is open in TWS, or flatten again: see `ibkr-connector positions`, and `ibkr-connector orders "
        'doubt` for orders whose end is not known. Orders of other programs in the way: scope="account". Only reducing '
        "orders are let through until `resume`."
    )
