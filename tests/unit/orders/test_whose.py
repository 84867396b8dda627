"""Which messages are about an order of ours: a name that somebody else may use too is no proof."""

from __future__ import annotations

from ibkr_connector.models.contract import Contract
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.whose import foreign, is_about
from unit.orders.kit import CLIENT_ID, ORDER_ID, UP, completed, echo, fill, sent

MSFT = Contract.stock("MSFT").with_con_id(272093)


def known() -> OrderRecord:
    record = sent()
    apply(record, echo(), UP)
    return record


def test_permid_is_enough_whatever_else_is_told() -> None:
    assert is_about(known(), echo(client_id=99, order_ref="", account="DU9"))
    assert is_about(known(), completed(order_ref="", account="DU9", contract=MSFT))
    assert is_about(known(), fill(1, order_ref="", client_id=0).execution)


def test_our_ref_from_our_client_and_account_is_ours_before_the_permid_is_known() -> None:
    assert is_about(sent(), echo())
    assert is_about(sent(), fill(1).execution)


def test_our_ref_from_another_client_is_another_programs_order() -> None:
    for record in (sent(), known()):
        assert not is_about(record, echo(client_id=CLIENT_ID + 1, perm_id=5))
        assert not is_about(record, fill(1, client_id=CLIENT_ID + 1, perm_id=5).execution)


def test_our_ref_in_another_account_is_another_order_unless_the_number_is_ours() -> None:
    assert not is_about(sent(), echo(account="DU9", order_id=ORDER_ID + 1))
    assert is_about(sent(), echo(account="DU9"))  # ours, booked to the wrong account: a severe drift


def test_completed_order_without_client_id_must_fit_in_account_contract_and_side() -> None:
    assert is_about(sent(), completed(perm_id=5))
    assert not is_about(known(), completed(perm_id=5))
    assert not is_about(sent(), completed(perm_id=5, account="DU9"))
    assert not is_about(sent(), completed(perm_id=5, contract=MSFT))
    assert not is_about(sent(), completed(perm_id=5, action="SELL"))
    assert not is_about(sent(), completed(perm_id=5, contract=Contract.stock("MSFT")))
    assert is_about(sent(), completed(perm_id=5, contract=Contract.stock("AAPL")))


def test_an_order_that_is_not_ours_is_known_by_its_permid_alone() -> None:
    theirs = foreign(echo(perm_id=5), UP)
    assert theirs is not None
    apply(theirs, echo(perm_id=5), UP)
    assert is_about(theirs, echo(perm_id=5, order_ref="x"))
    assert not is_about(theirs, echo(perm_id=6))
    assert not is_about(sent(), echo(order_ref="", perm_id=0))


def test_another_programs_order_with_our_ref_is_no_fork_and_no_drift_of_ours() -> None:
    record = known()
    assert [change.kind for change in apply(record, echo(client_id=99, perm_id=5, quantity=7), UP)] == ["noted"]
    assert not record.is_forked
    assert not record.drift
