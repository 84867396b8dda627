"""Orders as the Web API writes and reads them: bodies, answers, rows, and whose a row is."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.web import order_rows
from ibkr_connector.backends.web.order_answers import Question, Refused, Taken, Unclear, read_answer
from ibkr_connector.backends.web.order_body import order_body, what_if_of
from ibkr_connector.backends.web.order_book import NOBODY, OrderBook
from ibkr_connector.errors import NotSupportedByBackend, OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.orders.drift import compare, terms_of_told
from ibkr_connector.orders.whose import is_about
from unit.orders.kit import ACCOUNT, CLIENT_ID, request, sent

AAPL = Contract.stock("AAPL").with_con_id(265598)
ORDER = WireOrder(
    order_id=11, contract=AAPL, action="BUY", quantity=Decimal(100), order_type="LMT", limit_price=Decimal("10.00"),
    stop_price=None, trail_amount=None, trail_percent=None, tif="DAY", good_till=None, outside_rth=False,
    account=ACCOUNT, order_ref="REF1",
)  # fmt: skip
FIXTURES = Path(__file__).parents[5] / "shared" / "fixtures" / "web_api" / "Orders"


def recorded(name: str) -> Any:
    if not FIXTURES.is_dir():
        pytest.skip("the recordings are not here")
    return json.loads((FIXTURES / name).read_text())["Response"]["Body"]


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"orderType": "LMT", "price": 10, "tif": "DAY", "quantity": 100, "cOID": "REF1"}),
        ({"order_type": "MKT", "limit_price": None}, {"orderType": "MKT"}),
        ({"order_type": "STP", "limit_price": None, "stop_price": Decimal("9.5")}, {"orderType": "STP", "price": 9.5}),
        (
            {"order_type": "STP LMT", "stop_price": Decimal("9.5")},
            {"orderType": "STOP_LIMIT", "price": 10, "auxPrice": 9.5},
        ),
        (
            {"order_type": "TRAIL", "limit_price": None, "trail_percent": Decimal("1.5")},
            {"orderType": "TRAIL", "trailingAmt": 1.5, "trailingType": "%"},
        ),
        (
            {"order_type": "TRAIL", "limit_price": None, "trail_amount": Decimal("0.25")},
            {"trailingAmt": 0.25, "trailingType": "amt"},
        ),
    ],
)
def test_bodies_say_what_was_asked(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    body = order_body(replace(ORDER, **changes))
    assert {name: body[name] for name in expected} == expected
    assert ("price" in body) is ("price" in expected)


def test_a_small_price_keeps_every_digit() -> None:
    body = order_body(replace(ORDER, limit_price=Decimal("0.00001234"), quantity=Decimal("0.5")))
    assert (Decimal(str(body["price"])), body["quantity"]) == (Decimal("0.00001234"), 0.5)


@pytest.mark.parametrize(
    "changes", [{"tif": "GTD"}, {"tif": "FOK"}, {"order_type": "MOC"}, {"oca_group": "g", "oca_type": 3}]
)
def test_what_has_no_word_there_is_refused_not_left_out(changes: dict[str, Any]) -> None:
    with pytest.raises(NotSupportedByBackend):
        order_body(replace(ORDER, **changes))


def test_a_contract_without_its_number_is_refused() -> None:
    with pytest.raises(OrderValidationError):
        order_body(replace(ORDER, contract=Contract.stock("AAPL")))


def test_a_change_names_no_new_order() -> None:
    assert "cOID" not in order_body(ORDER, change=True)
    grouped = order_body(ORDER, parent_ref="P", grouped=True)
    assert (grouped["parentId"], grouped["isSingleGroup"]) == ("P", True)


def test_a_recorded_preview_is_read() -> None:
    told = what_if_of(recorded("POST-whatif-order.json"))
    assert (told.init_margin_change, told.equity_after) == (Decimal(164), Decimal(1006576))
    assert (told.commission, told.commission_currency) == (Decimal("0.01"), "USD")
    assert "exceeds" in told.warning


@pytest.mark.parametrize("body", [None, [], "x", {"amount": "x", "initial": None}])
def test_a_preview_of_another_shape_tells_nothing(body: Any) -> None:
    assert what_if_of(body).init_margin_change is None


# --- answers ----------------------------------------------------------------------------------------------------------


def test_recorded_answers_are_understood() -> None:
    question = read_answer(recorded("POST-place-order-confirmation.json"))
    assert isinstance(question, Question)
    assert question.message_ids
    [taken] = read_answer(recorded("POST-place-order-submitted.json"))  # type: ignore[misc]
    assert isinstance(taken, Taken)
    assert taken.perm_id > 0


@pytest.mark.parametrize(
    "body",
    [
        None, "fine", 7, [], [7], {}, [{}], {"order_status": "Submitted"}, [{"order_id": "x"}],
        [{"id": "../../x", "message": ["?"], "messageIds": ["o1"]}], [{"id": 5, "message": ["?"]}],
        [{"order_id": 1}, 7],
        [{"order_id": 1}] * 51,
    ],
)  # fmt: skip
def test_what_cannot_be_relied_on_is_unclear(body: Any) -> None:
    assert isinstance(read_answer(body), Unclear)


def test_a_question_is_shown_without_its_markup_and_with_its_ids() -> None:
    body = [{"id": "a-1", "message": ["<h4>Sure?</h4>\nReally"], "messageIds": ["o163", 7, "no id"]}]
    question = read_answer(body)
    assert isinstance(question, Question)
    assert question.shown == "o163: Sure? Really"


def test_a_duplicate_is_told_from_other_refusals() -> None:
    answer = read_answer({"error": "Order couldn't be submitted: Local order ID=x is already registered."})
    assert isinstance(answer, Refused)
    assert answer.is_duplicate
    other = read_answer({"error": "no"})
    assert isinstance(other, Refused)
    assert not other.is_duplicate


# --- rows -------------------------------------------------------------------------------------------------------------


def row(**changes: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "acct": ACCOUNT, "conid": 265598, "orderId": 77, "ticker": "AAPL", "secType": "STK", "cashCcy": "USD",
        "totalSize": 100.0, "filledQuantity": 0.0, "remainingQuantity": 100.0, "status": "Submitted", "side": "BUY",
        "origOrderType": "LIMIT", "orderType": "Limit", "price": "10.00", "timeInForce": "CLOSE", "order_ref": "REF1",
    }  # fmt: skip
    return told | changes


def test_our_order_comes_back_without_a_drift() -> None:
    record = sent(request())
    book = OrderBook()
    book.add(ORDER)
    told = order_rows.live_row(row())
    assert told is not None
    known = book.whose(told.perm_id, told.ref, account=told.account, con_id=told.con_id, side=told.side)
    echo = order_rows.echoed(told, known, client_id=CLIENT_ID, contracts={})
    assert is_about(record, echo)
    assert compare(record.terms, terms_of_told(echo)) == ()
    assert (echo.order_id, echo.client_id, echo.perm_id) == (11, CLIENT_ID, 77)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"totalSize": 99.0}, "quantity"),
        ({"price": "10.01"}, "limit_price"),
        ({"timeInForce": "GTC"}, "tif"),
        ({"outsideRTH": True}, "outside_rth"),
        ({"origOrderType": "STOP", "auxPrice": "10.00"}, "order_type"),
    ],
)
def test_what_the_broker_holds_differently_is_a_drift(changes: dict[str, Any], field: str) -> None:
    book = OrderBook()
    known = book.add(ORDER, 77)
    told = order_rows.live_row(row(**changes))
    assert told is not None
    echo = order_rows.echoed(told, known, client_id=CLIENT_ID, contracts={})
    assert [one.field for one in compare(sent(request()).terms, terms_of_told(echo))] == [field]


@pytest.mark.parametrize("changes", [{"orderId": None}, {"status": ""}, {"totalSize": "x"}, {"orderId": "x"}])
def test_a_row_without_what_matters_is_no_order(changes: dict[str, Any]) -> None:
    assert order_rows.live_row(row(**changes)) is None


def test_recorded_rows_are_read() -> None:
    told = order_rows.live_row(recorded("GET-live-orders.json")["orders"][0])
    assert told is not None
    assert (told.perm_id, told.status, told.tif, told.kind, told.filled) == (
        473740665, "Filled", "DAY", "MKT", Decimal(1),
    )  # fmt: skip
    known = OrderBook().add(ORDER, 473740665)
    status = order_rows.status_row(recorded("GET-order-status.json"), known)
    assert status is not None
    assert (status.status, status.kind, status.tif, status.quantity) == ("Filled", "MKT", "DAY", Decimal(1))
    assert status.limit_price is None


def test_a_trade_without_its_time_is_no_execution() -> None:
    assert order_rows.trade_row(recorded("GET-trades.json")[0], ACCOUNT) is None
    told = order_rows.trade_row(
        {"execution_id": "e.01", "size": 3.0, "price": "10.5", "trade_time": "20260312-15:00:00", "side": "S",
         "commission": "1.01", "order_id": 77, "order_ref": "REF1", "conid": 265598},
        ACCOUNT,
    )  # fmt: skip
    assert told is not None
    done = order_rows.execution(told, OrderBook().add(ORDER, 77), client_id=CLIENT_ID, contracts={}, before=Decimal(2))
    assert (done.side, done.quantity, done.cum_quantity, done.commission_currency) == (
        "SELL", Decimal(3), Decimal(5), "USD",
    )  # fmt: skip


def test_one_orders_untold_stop_is_the_accepted_one_and_a_strangers_stays_untold() -> None:
    stop = replace(ORDER, order_type="STP", limit_price=None, stop_price=Decimal(9))
    told = order_rows.live_row(row(origOrderType="STOP", price=""))
    assert told is not None
    mine = order_rows.echoed(told, OrderBook().add(stop, 77), client_id=CLIENT_ID, contracts={})
    theirs = order_rows.echoed(told, None, client_id=CLIENT_ID, contracts={})
    assert (mine.stop_price, theirs.stop_price, theirs.client_id) == (Decimal(9), None, NOBODY)


# --- whose ------------------------------------------------------------------------------------------------------------


def whose(book: OrderBook, perm_id: int, ref: str = "REF1", **changes: Any) -> int:
    given: dict[str, Any] = {"account": ACCOUNT, "con_id": 265598, "side": "BUY", **changes}
    known = book.whose(perm_id, ref, **given)
    return 0 if known is None else known.order.order_id


def test_an_order_whose_number_is_not_known_is_found_by_its_ref_where_the_rest_fits() -> None:
    for changes in ({"account": "DU2"}, {"con_id": 1}, {"side": "SELL"}, {"ref": "other"}):
        book = OrderBook()
        book.add(ORDER)
        assert whose(book, 77, **changes) == 0
    book = OrderBook()
    book.add(ORDER)
    assert whose(book, 77) == 11
    assert whose(book, 77, "") == 11  # the number is known from now on


def test_a_stranger_who_was_there_before_is_not_ours_by_taking_the_same_name() -> None:
    book = OrderBook()
    assert whose(book, 70) == 0
    book.add(ORDER)
    assert whose(book, 70) == 0
    assert whose(book, 77) == 11


def test_an_order_of_an_earlier_run_may_have_been_seen_before_the_journal_was_open() -> None:
    book = OrderBook()
    assert whose(book, 70) == 0
    book.remember(ORDER, 0, client_id=None, over=False)
    assert whose(book, 70) == 11


def test_a_number_of_another_client_id_is_no_number_of_ours() -> None:
    book = OrderBook()
    theirs = book.remember(ORDER, 0, client_id=CLIENT_ID + 1, over=False)
    assert book.by_id(ORDER.order_id) is None
    assert whose(book, 70) == ORDER.order_id
    told = order_rows.live_row(row(orderId=70))
    assert told is not None
    assert theirs.client_id == CLIENT_ID + 1


def test_a_second_number_under_our_ref_is_a_stranger_until_a_change_was_written() -> None:
    book = OrderBook()
    known = book.add(ORDER, 77)
    assert whose(book, 78) == 0
    known.changed = True
    assert whose(book, 79) == 11
    assert known.forks == {79}
    assert whose(book, 78) == 0


# --- late rows --------------------------------------------------------------------------------------------------------


def version(order: WireOrder) -> tuple[Decimal, Decimal | None, Decimal | None]:
    return (order.quantity, order.limit_price, order.stop_price)


def test_rows_of_before_a_change_are_late_for_a_while_and_then_a_drift() -> None:
    bigger = replace(ORDER, quantity=Decimal(150))
    known = OrderBook().add(ORDER, 77)
    assert not known.shows_old_version(version(ORDER), 1.0)
    known.accept(bigger, 2.0)
    assert known.shows_old_version(version(ORDER), 3.0)
    assert not known.shows_old_version(version(bigger), 3.0)
    assert not known.shows_old_version(version(replace(ORDER, quantity=Decimal(140))), 3.0)
    assert not known.shows_old_version(version(ORDER), 13.0)


def test_a_row_that_shows_an_unanswered_change_is_its_answer() -> None:
    known, dearer = OrderBook().add(ORDER, 77), replace(ORDER, limit_price=Decimal(11))
    known.proposed = dearer
    assert not known.shows_old_version(version(ORDER), 1.0)
    assert known.order is ORDER
    assert not known.shows_old_version(version(dearer), 2.0)
    assert known.order.limit_price == Decimal(11)
    assert known.shows_old_version(version(ORDER), 3.0)
