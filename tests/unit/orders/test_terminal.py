"""The table of codes: what ends what."""

from __future__ import annotations

import pytest

from ibkr_connector.backends.facts import Operation
from ibkr_connector.orders.terminal import Verdict, ends, is_warning, judge, refuses_orders

NEW, MODIFY, CANCEL = Operation.NEW, Operation.MODIFY, Operation.CANCEL


@pytest.mark.parametrize(
    ("operation", "code", "text", "verdict"),
    [
        (None, 201, "", Verdict.NOTE),
        (NEW, 201, "", Verdict.REJECTED),
        (MODIFY, 201, "", Verdict.MODIFY_REFUSED),
        (CANCEL, 201, "", Verdict.CANCEL_REFUSED),
        (None, 202, "", Verdict.CANCELLED),
        (NEW, 202, "", Verdict.CANCELLED),
        (MODIFY, 202, "", Verdict.CANCELLED),
        (CANCEL, 202, "", Verdict.CANCELLED),
        (NEW, 103, "Duplicate order id", Verdict.REJECTED),
        (MODIFY, 103, "", Verdict.NOTE),
        # 104 and 105 prove that an order with this id exists: they never end a new one.
        (NEW, 104, "Can't modify a filled order.", Verdict.NOTE),
        (NEW, 105, "", Verdict.NOTE),
        (MODIFY, 104, "", Verdict.MODIFY_REFUSED),
        (MODIFY, 105, "", Verdict.MODIFY_REFUSED),
        (NEW, 106, "Can't transmit order ID:", Verdict.NOTE),
        (NEW, 109, "Price is out of range. The order will not be transmitted.", Verdict.REJECTED),
        (NEW, 109, "Price is out of range.", Verdict.NOTE),
        (MODIFY, 109, "Price is out of range.", Verdict.MODIFY_REFUSED),
        (NEW, 110, "", Verdict.REJECTED),
        (MODIFY, 110, "", Verdict.MODIFY_REFUSED),
        (None, 110, "", Verdict.NOTE),
        (NEW, 200, "", Verdict.REJECTED),
        (NEW, 321, "", Verdict.REJECTED),
        (NEW, 399, "", Verdict.NOTE),
        (NEW, 404, "", Verdict.NOTE),
        (NEW, 10349, "", Verdict.NOTE),
        (NEW, 10197, "", Verdict.NOTE),
        (NEW, 99999, "", Verdict.NOTE),
        (MODIFY, 2102, "", Verdict.MODIFY_REFUSED),
        (NEW, 2102, "", Verdict.NOTE),
        (CANCEL, 135, "", Verdict.CANCEL_REFUSED),
        (CANCEL, 136, "", Verdict.CANCEL_REFUSED),
        (CANCEL, 161, "", Verdict.CANCEL_REFUSED),
        (CANCEL, 10147, "", Verdict.CANCEL_REFUSED),
        (CANCEL, 10148, "can not be cancelled, state: Cancelled.", Verdict.CANCELLED),
        (CANCEL, 10148, "can not be cancelled, state: Filled.", Verdict.CANCEL_REFUSED),
        (CANCEL, 10148, "can not be cancelled, state: PendingCancel.", Verdict.NOTE),
        (CANCEL, 200, "", Verdict.NOTE),
        (NEW, 10148, "state: Cancelled.", Verdict.NOTE),
    ],
)
def test_a_code_means_what_the_table_says_for_the_operation(
    operation: Operation | None, code: int, text: str, verdict: Verdict
) -> None:
    assert ends(operation, code, text) is verdict


@pytest.mark.parametrize(
    ("outstanding", "code", "verdict"),
    [
        (set(), 201, Verdict.NOTE),
        (set(), 202, Verdict.CANCELLED),
        ({NEW}, 201, Verdict.REJECTED),
        ({NEW, CANCEL}, 201, Verdict.NOTE),
        ({MODIFY, CANCEL}, 201, Verdict.NOTE),
        ({NEW, CANCEL}, 10147, Verdict.CANCEL_REFUSED),
        ({MODIFY, CANCEL}, 104, Verdict.MODIFY_REFUSED),
        ({NEW, CANCEL}, 202, Verdict.CANCELLED),
        ({NEW, CANCEL}, 399, Verdict.NOTE),
    ],
)
def test_a_code_that_could_answer_two_operations_answers_none(
    outstanding: set[Operation], code: int, verdict: Verdict
) -> None:
    assert judge(outstanding, code, "") is verdict


def test_warnings_and_refusals_are_told_apart() -> None:
    assert [code for code in (201, 399, 404, 2109, 10349, 1100) if is_warning(code)] == [399, 404, 2109, 10349]
    assert [code for code in (103, 104, 201, 202, 203, 399) if refuses_orders(code)] == [103, 201, 203]
