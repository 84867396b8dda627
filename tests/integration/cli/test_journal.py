"""What became of an order, and an operator's word on it, at the command line, over a socket."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ibkr_connector.clock import SystemClock
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.journal import Journal
from ibkr_connector.testing import HostedGateway
from support.cli import Run

ACCOUNT = "DU1234567"


@pytest.fixture
async def doubtful(tmp_path: Path, gateway: HostedGateway) -> str:
    """An order of an earlier day that nobody knows the end of."""
    journal = Journal.open(tmp_path / "state", ACCOUNT, SystemClock(), threaded=False)
    sent = gateway.truth.of("start")[0].at if gateway.truth.of("start") else SystemClock().now()
    request = OrderRequest.make(
        contract=Contract.stock("AAPL").with_con_id(265598), quantity=10, action="BUY", order_ref="lost.1"
    )
    entry = SendingEntry(
        request=request,
        decision={},
        account=ACCOUNT,
        order_id=1,
        client_id=2,
        endpoint=f"127.0.0.1:{gateway.tws_port}",
        epoch=1,
        sent_at=sent - timedelta(days=3),
    )
    await journal.commit_sending([entry])
    journal.close()
    return "lost.1"


def test_a_doubt_that_no_evidence_settles_is_settled_by_the_operator_once_and_kept(
    run: Run, gateway: HostedGateway, doubtful: str
) -> None:
    assert run("buy", "AAPL", "1", "--limit", "1", "--timeout", "2").code == 3  # it waits for the doubt
    assert [order["order_ref"] for order in run("orders", "doubt", "--json").document] == [doubtful]
    resolve = ("orders", "resolve", doubtful, "--as", "cancelled", "--evidence", "not in the statement of that day")
    ran = run(*resolve, "--json")
    assert (ran.code, ran.document["state"]) == (0, "cancelled")
    assert run("orders", "doubt", "--json").document == []
    (told,) = run("journal", doubtful, "--json").document
    assert "resolved" in [step["what"] for step in told["history"]]
    assert "not in the statement of that day" in "".join(line["data"] for line in told["audit"])
    again = run(*resolve, "--json")
    assert (again.code, again.document["context"]["legal"]) == (2, "an order in doubt")
    assert run("buy", "AAPL", "1", "--limit", "1").code == 0
    assert run("audit", "verify", "--head", told["audit"][-1]["hash"]).code == 0


def test_a_doubt_resolved_as_filled_says_that_it_books_no_fill(run: Run, gateway: HostedGateway, doubtful: str) -> None:
    before = run("positions", "--json").document
    resolve = ("orders", "resolve", doubtful, "--as", "filled", "--evidence", "the statement shows it")
    ran = run(*resolve, "--json")
    assert (ran.code, ran.document["state"], ran.document["filled_quantity"]) == (0, "filled", 0)
    assert "No fill was booked" in ran.document["note"]
    assert "executions of 0 of 10 AAPL" in ran.document["note"]
    assert "broker's own report" in ran.document["note"]
    assert run("positions", "--json").document == before


def test_an_order_that_is_not_there_or_not_in_doubt_cannot_be_resolved(run: Run, gateway: HostedGateway) -> None:
    assert run("buy", "AAPL", "1", "--limit", "1", "--ref", "fine.1").code == 0
    for ref, kind in (("nobody", "OrderNotFound"), ("fine.1", "InvalidRequest")):
        ran = run("orders", "resolve", ref, "--as", "filled", "--evidence", "I think so", "--json")
        assert (ran.code, ran.document["error"]) == (2, kind)
    (order,) = run("orders", "--json").document
    assert (order["order_ref"], order["state"]) == ("fine.1", "working")
