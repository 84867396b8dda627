"""Reading commands through a socket: pure JSON, and no trace of them beside a program that trades."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibkr_connector.sync import SyncConnector
from ibkr_connector.testing import HostedGateway, sync_paper_connector
from support.cli import Run


@pytest.fixture
def trading(gateway: HostedGateway, tmp_path: Path) -> Iterator[SyncConnector]:
    """A program that trades: it holds the client id and the journal."""
    with sync_paper_connector(gateway, state_dir=tmp_path / "state") as connector:
        yield connector


def test_status_tells_link_account_and_versions(run: Run, gateway: HostedGateway) -> None:
    document = run("status", "--json").document
    assert document["connected"] is True
    assert document["account_id"] == "DU1234567"
    assert document["port"] == gateway.tws_port
    assert document["client_id"] == 102
    assert document["server_version"] in (176, 178)
    assert "DU1234567" in run("status").out


def test_the_account_adds_up(run: Run) -> None:
    document = run("account", "--json").document
    assert document["NetLiquidation"] == document["TotalCashValue"] == 1_000_000
    assert document["pnl"]["total_pnl"] == 0
    assert "1,000,000.00 USD" in run("account").out


def test_reads_run_beside_a_program_that_trades_and_show_its_orders_by_their_refs(
    run: Run, trading: SyncConnector
) -> None:
    trading.place_market_order("AAPL", 100, "BUY").filled(30)
    order = trading.place_limit_order("AAPL", 10, "BUY", 100.0)
    assert [p["position"] for p in run("positions", "--json").document] == [100.0]
    (shown,) = run("orders", "--json").document
    assert shown["order_ref"] == order.ref
    assert shown["client_id"] == 2
    assert order.ref in run("orders").out
    assert run("orders", "doubt", "--json").document == []
    assert trading.connected
    order.cancel()
    completed = run("orders", "completed", "--json").document
    assert {o["state"] for o in completed} == {"filled", "cancelled"}
    assert order.ref in {o["order_ref"] for o in completed}


def test_two_reads_at_once_do_not_take_each_other_s_client_id(run: Run, gateway: HostedGateway, tmp_path: Path) -> None:
    with sync_paper_connector(gateway, state_dir=tmp_path / "other", client_id=102):
        assert run("status", "--json").document["client_id"] == 103


def test_a_client_id_that_is_asked_for_is_used_or_refused(run: Run, trading: SyncConnector) -> None:
    assert run("status", "--json", "--client-id", "7").document["client_id"] == 7
    ran = run("status", "--json", "--client-id", "2")
    assert ran.code == 3
    assert ran.document["error"] == "ClientIdInUse"


def test_reads_leave_no_state_behind(run: Run, tmp_path: Path) -> None:
    assert run("positions", "--json").document == []
    assert run("orders", "--json").document == []
    assert not (tmp_path / "state").exists()


def test_a_quote_has_two_sides(run: Run) -> None:
    aapl, euro = run("quote", "AAPL", "EUR.USD", "--json").document
    assert aapl["symbol"] == "AAPL"
    assert aapl["bid"] <= aapl["ask"]
    assert euro["bid"] <= euro["ask"]
    assert "AAPL" in run("quote", "AAPL").out


def test_a_stream_is_one_document_a_line(run: Run) -> None:
    ran = run("quote", "AAPL", "--stream", "--count", "4", "--json")
    assert ran.code == 0
    assert [json.loads(line)["symbol"] for line in ran.out.splitlines()] == ["AAPL"] * 4
    plain = run("quote", "AAPL", "MSFT", "--stream", "--count", "3")
    assert len(plain.out.splitlines()) == 3


def test_two_pairs_of_one_currency_keep_their_names(run: Run) -> None:
    pairs = ("EUR.USD", "EUR.GBP")
    shown = run("quote", *pairs)
    assert shown.code == 0
    assert all(name in shown.out for name in pairs)
    assert [quote["name"] for quote in run("quote", *pairs, "--json").document] == list(pairs)
    streamed = run("quote", *pairs, "--stream", "--count", "2", "--json")
    assert {json.loads(line)["name"] for line in streamed.out.splitlines()} <= set(pairs)
    lines = run("quote", *pairs, "--stream", "--count", "2").out.splitlines()
    assert {line.split()[0] for line in lines} <= set(pairs)


def test_an_unknown_symbol_is_bad_input_also_in_a_stream(run: Run) -> None:
    for words in (("quote", "NOPE"), ("quote", "NOPE", "--stream"), ("history", "NOPE")):
        ran = run(*words, "--json")
        assert ran.code == 2
        assert ran.document["error"] == "ContractNotFound"


def test_bars_as_csv_and_as_json_are_the_same_bars(run: Run) -> None:
    asked = ("history", "AAPL", "--duration", "1 D", "--bar-size", "5 mins", "--end", "2026-11-18T21:00:00Z")
    document = run(*asked, "--json").document
    rows = list(csv.DictReader(io.StringIO(run(*asked, "--csv").out)))
    assert len(rows) == len(document["bars"]) == 78
    assert [float(row["close"]) for row in rows] == [bar["close"] for bar in document["bars"]]
    assert [row["datetime"] for row in rows] == [bar["datetime"] for bar in document["bars"]]
    shown = run(*asked, "--tail", "3")
    assert "the last 3 of 78" in shown.err
    assert rows[-1]["datetime"][:10] in shown.out


def test_csv_and_json_at_once_are_refused_before_connecting(run: Run) -> None:
    ran = run("history", "AAPL", "--csv", "--json")
    assert ran.code == 2
    assert ran.document["error"] == "InvalidRequest"


def test_the_log_is_on_stderr_and_stdout_stays_json(run: Run) -> None:
    ran = run("positions", "--json", "-vv")
    assert ran.document == []
    assert "ibkr_connector" in ran.err


def test_a_gateway_of_a_live_account_is_refused(
    run: Run, gateway: HostedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostedGateway(accounts=("U7654321",)) as live:
        monkeypatch.setenv("IBKR_PORT", str(live.tws_port))
        for words in (("positions", "--json"), ("buy", "AAPL", "1", "--json")):
            ran = run(*words)
            assert ran.code == 4
            assert ran.document["error"] == "LiveTradingRefused"
        assert not live.truth.of("recv_place")
