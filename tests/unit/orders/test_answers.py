"""What whoever places a group is told, by what became of its orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from ibkr_connector.backends.base import Backend
from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import GroupIncomplete, OrderNotSent, OrderRejected
from ibkr_connector.orders import steps
from ibkr_connector.orders.answers import raise_if_refused
from ibkr_connector.orders.changes import Cancelled, Rejected
from ibkr_connector.orders.evolve import evolve
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.record import OrderRecord
from unit.orders.kit import NOW, UP, echo, fill, request, sent

Fate = Callable[[OrderRecord], Any]


class Refusing:
    """The one thing that is asked of a backend here."""

    def refusal(self, code: int | None, text: str, **context: Any) -> OrderRejected:
        return OrderRejected(text, code=code, **context)


def works(record: OrderRecord) -> None:
    apply(record, echo(record), UP)


def fills(record: OrderRecord) -> None:
    apply(record, fill(100), UP)


def is_refused(record: OrderRecord) -> None:
    evolve(record, Rejected(at=NOW, code=201, why="no"))


def comes_late(record: OrderRecord) -> None:
    evolve(record, Rejected(at=NOW, code=201, why="Order rejected - reason:OCA group is already filled."))


def is_cancelled(record: OrderRecord) -> None:
    evolve(record, Cancelled(at=NOW))


def is_not_written(record: OrderRecord) -> None:
    steps.not_sent(record, "the write failed", UP)


def is_in_doubt(record: OrderRecord) -> None:
    steps.enter_doubt(record, Operation.NEW, "no answer", UP)


@pytest.mark.parametrize(
    ("fates", "error"),
    [
        ((works, works), None),
        ((works, is_refused), GroupIncomplete),
        ((works, is_not_written), GroupIncomplete),
        ((is_in_doubt, is_refused), None),  # the doubt is told first
        ((fills, is_refused), None),  # it has done its work
        ((works, comes_late), None),  # the same, the fill is told in a moment
        ((fills, is_cancelled), None),
        ((is_cancelled, is_cancelled), None),
        ((is_refused, is_refused), OrderRejected),
        ((is_refused, is_cancelled), OrderRejected),
        ((is_not_written, is_not_written), OrderNotSent),
    ],
)
def test_nobody_is_told_rejected_or_not_sent_of_a_group_of_which_a_part_lives_or_filled(
    fates: tuple[Fate, Fate], error: type[Exception] | None
) -> None:
    lives = []
    for fate in fates:
        record = sent(request(oca_group="g", oca_type=1))
        fate(record)
        lives.append(LiveOrder(record))
    backend = cast(Backend, Refusing())
    if error is None:
        raise_if_refused(lives, backend, oca="g")
    else:
        with pytest.raises(error) as caught:
            raise_if_refused(lives, backend, oca="g")
        assert type(caught.value) is error
