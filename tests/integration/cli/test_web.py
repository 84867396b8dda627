"""The commands over the Web API: settings from the environment, the same exit codes, one order written once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="needs the extra paper-web")
pytest.importorskip("cryptography", reason="needs the extra paper-web")
pytest.importorskip("ibind")

from ibkr_connector.paper import WebOptions
from ibkr_connector.testing import HostedGateway
from support.cli import Run, runner
from support.connector import ACCOUNT
from support.web import hurry


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostedGateway]:
    hurry(monkeypatch)
    with HostedGateway(seed=7, web_port=0, web=WebOptions(limits=None)) as hosted:
        yield hosted


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gateway: HostedGateway
) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IBKR_BACKEND", "web")
    monkeypatch.setenv("IBKR_WEB_URL", gateway.web_url)
    monkeypatch.setenv("IBKR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    return runner(capsys)


def test_reading_commands_show_the_account(run: Run, gateway: HostedGateway) -> None:
    status = run("status", "--json")
    assert status.code == 0, status.out
    assert f"http://{status.document['host']}:{status.document['port']}/v1/api/" == gateway.web_url
    assert status.document["state"] == "ready"
    assert run("account", "--json").document["account_id"] == ACCOUNT
    assert run("positions", "--json").document == []
    assert run("orders", "--json").document == []
    quote, pair = run("quote", "AAPL", "EUR.USD", "--json").document
    assert quote["bid"] < quote["ask"]
    assert pair["name"] == "EUR.USD"
    bars = run("history", "AAPL", "--json")
    assert bars.code == 0
    assert json.loads(bars.out)


def test_an_order_is_placed_seen_cancelled_and_written_once(run: Run, gateway: HostedGateway) -> None:
    placed = run("buy", "AAPL", "10", "--limit", "200", "--json")
    assert placed.code == 0, placed.out
    (seen,) = run("orders", "--json").document
    assert seen["state"] == "working"
    (ended,) = run("cancel", "--all", "--json").document
    assert (ended["state"], ended["order_ref"]) == ("cancelled", seen["order_ref"])
    assert len(gateway.truth.of("http", request="place_order")) == 1
    assert len(gateway.truth.of("http", request="cancel_order")) == 1
    assert run("buy", "AAPL", "10", "--limit", "200", "--preview", "--json").code == 0
    assert len(gateway.truth.of("recv_place")) == 1


def test_kill_and_flatten_end_everything(run: Run, gateway: HostedGateway) -> None:
    assert run("buy", "AAPL", "100", "--wait", "20", "--json").code == 0
    assert run("buy", "AAPL", "10", "--limit", "200", "--json").code == 0
    assert run("kill", "lunch", "--json").code == 0
    assert run("buy", "AAPL", "1", "--json").code == 4
    assert run("flatten", "lunch", "--json").code == 0
    assert run("resume", "done", "--json").code == 0
    assert run("positions", "--json").document == []
    assert run("orders", "--json").document == []
    assert len(gateway.truth.of("cancelled")) == 1


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("quote", "NOPE"), 2, "NOPE"),
        (("quote", "AAPL", "--port", "7497"), 2, "[web] url"),
        (("status", "--host", "gateway"), 2, "[web] url"),
        (("status", "--timeout", "0"), 2, "--timeout"),
        (("buy", "AAPL", "0"), 2, "quantity"),
        (("buy", "AAPL", "10", "--limit", "240", "--ttl", "300"), 1, "GTD"),
        (("buy", "AAPL", "5", "--stop", "300"), 5, "o10331"),
        (("cancel", "nosuch"), 2, "nosuch"),
        (("history", "AAPL", "--bar-size", "3 parsecs"), 2, "bar"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_told_and_no_order_works(
    run: Run, gateway: HostedGateway, words: tuple[str, ...], code: int, named: str
) -> None:
    ran = run(*words, "--json")
    assert ran.code == code, ran.out
    assert named in ran.document["message"] + ran.document["remedy"]
    assert not gateway.truth.of("accepted")


def test_a_gateway_that_is_not_there_is_code_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_WEB_URL", "http://127.0.0.1:1/v1/api/")
    ran = run("status", "--json")
    assert ran.code == 3
    assert "Client Portal Gateway" in ran.document["remedy"]
