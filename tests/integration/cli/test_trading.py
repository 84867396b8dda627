"""`buy`, `sell`, `cancel` through a socket: the gateway received what was said, and exit codes tell the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.api.orders import OrdersApi
from ibkr_connector.cli.common import Cx
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.models.order import BracketRequest
from ibkr_connector.orders.handle import BracketOrder
from ibkr_connector.paper import TwsOptions
from ibkr_connector.testing import HostedGateway, sync_paper_connector
from support.cli import Ran, Run
from support.connector import ACCOUNT


def received(gateway: HostedGateway) -> list[dict[str, Any]]:
    return [dict(entry.fields) for entry in gateway.truth.of("recv_place")]


def test_a_market_order_is_filled_and_sold_again(run: Run, gateway: HostedGateway) -> None:
    bought = run("buy", "AAPL", "100", "--wait", "30", "--json")
    assert bought.code == 0
    assert bought.document["state"] == "filled"
    assert bought.document["commission"] == 1.0
    assert run("sell", "AAPL", "100", "--wait", "30").code == 0
    assert run("positions", "--json").document == []
    assert [(o["action"], o["order_type"]) for o in received(gateway)] == [("BUY", "MKT"), ("SELL", "MKT")]
    assert run("audit", "verify", "--json").document[0]["ok"]


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (["--limit", "100"], {"order_type": "LMT", "limit_price": 100, "tif": "DAY"}),
        (["--limit", "100", "--tif", "gtc", "--outside-rth"], {"tif": "GTC", "outside_rth": True}),
        (["--stop", "300"], {"order_type": "STP", "aux_price": 300}),
        (["--stop", "300", "--limit", "301"], {"order_type": "STP LMT", "aux_price": 300, "limit_price": 301}),
        (["--trail", "5"], {"order_type": "TRAIL", "aux_price": 5}),
        (["--limit", "100", "--ref", "mine.7"], {"order_ref": "mine.7"}),
        (["--limit", "100", "--ttl", "600"], {"order_type": "LMT", "tif": "GTD"}),
    ],
)
def test_options_make_the_order_they_say(
    run: Run, gateway: HostedGateway, options: list[str], fields: dict[str, Any]
) -> None:
    assert run("buy", "AAPL", "1", *options, "--json").code == 0
    (order,) = received(gateway)
    assert {name: order[name] for name in fields} == fields


def test_a_time_to_live_is_the_entry_s_alone(run: Run, gateway: HostedGateway) -> None:
    words = ("buy", "AAPL", "10", "--limit", "100", "--take-profit", "110", "--stop-loss", "95", "--ttl", "600")
    assert run(*words).code == 0
    assert [o["tif"] for o in received(gateway)] == ["GTD", "GTC", "GTC"]


@pytest.mark.parametrize("words", [("--ttl", "1"), ("--ttl", "nan"), ("--ttl", "60", "--tif", "IOC")])
def test_a_time_to_live_that_is_none_is_bad_input(run: Run, gateway: HostedGateway, words: tuple[str, ...]) -> None:
    assert run("buy", "AAPL", "1", "--limit", "1", *words).code == 2
    assert received(gateway) == []


def test_cancel_all_can_leave_what_only_closes_positions(run: Run) -> None:
    assert run("buy", "AAPL", "10", "--wait", "30").code == 0
    assert run("sell", "AAPL", "10", "--stop", "5", "--ref", "exit.1").code == 0
    assert run("buy", "AAPL", "1", "--limit", "1", "--ref", "entry.1").code == 0
    ran = run("cancel", "--all", "--keep-exits", "--json")
    assert (ran.code, [order["order_ref"] for order in ran.document]) == (0, ["entry.1"])
    assert [order["order_ref"] for order in run("orders", "--json").document] == ["exit.1"]
    assert run("cancel", "exit.1", "--keep-exits").code == 2
    assert run("cancel", "--all", "--keep-exits", "--scope", "account").code == 2


def test_a_bracket_s_exits_outlive_the_day(run: Run, gateway: HostedGateway) -> None:
    ran = run("buy", "AAPL", "10", "--limit", "100", "--take-profit", "110", "--stop-loss", "95", "--json")
    assert ran.code == 0
    assert [o["state"] for o in ran.document] == ["working"] * 3
    assert [(o["order_type"], o["tif"]) for o in received(gateway)] == [("LMT", "DAY"), ("LMT", "GTC"), ("STP", "GTC")]


def test_a_bracket_waits_for_its_entry_s_commission_like_a_single_order(run: Run) -> None:
    ran = run("buy", "AAPL", "1", "--take-profit", "900", "--stop-loss", "5", "--wait", "30", "--json")
    assert ran.code == 0
    entry = ran.document[0]
    assert entry["state"] == "filled"
    assert entry["commission"] == 1.0


def test_a_bracket_is_placed_with_the_timeout_that_was_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []
    place = OrdersApi.place_bracket

    async def watched(self: OrdersApi, request: BracketRequest, *, timeout: float | None = None) -> BracketOrder:
        asked.append(timeout)
        return await place(self, request, timeout=timeout)

    monkeypatch.setattr(OrdersApi, "place_bracket", watched)
    words = ("buy", "AAPL", "10", "--limit", "100", "--take-profit", "110", "--stop-loss", "95", "--timeout", "17")
    assert run(*words).code == 0
    assert asked == [17]


def test_an_agent_s_limits_hold_for_its_orders_from_a_shell_and_for_nobody_else_s(
    run: Run, gateway: HostedGateway, tmp_path: Path
) -> None:
    (tmp_path / "ibkr_config.ini").write_text("[agent.dip]\nmax_order_size = 10\n")
    ran = run("buy", "AAPL", "11", "--limit", "100", "--agent", "Dip", "--json")
    assert (ran.code, ran.document["error"]) == (4, "RiskRejected")
    assert "agent_limits" in str(ran.document)
    assert run("buy", "AAPL", "11", "--limit", "100", "--agent", "Dip", "--preview").code == 0
    assert received(gateway) == []
    within = run("buy", "AAPL", "10", "--limit", "100", "--agent", "Dip", "--json")
    assert (within.code, within.document["agent"]) == (0, "Dip")
    assert run("buy", "AAPL", "11", "--limit", "100", "--json").document["agent"] == ""
    assert [o["agent"] for o in run("orders", "--json").document] == ["Dip", ""]
    assert run("buy", "AAPL", "1", "--agent", "").code == 2


def test_all_legs_of_a_bracket_are_the_agent_s(run: Run) -> None:
    words = ("buy", "AAPL", "10", "--limit", "100", "--take-profit", "110", "--stop-loss", "95", "--agent", "dip")
    assert [order["agent"] for order in run(*words, "--json").document] == ["dip"] * 3


def test_a_preview_places_nothing(run: Run, gateway: HostedGateway) -> None:
    document = run("buy", "AAPL", "100", "--preview", "--json").document
    assert document["init_margin_after"] > 0
    assert document["commission"] > 0
    assert received(gateway) == []


def test_the_same_ref_is_never_sent_twice(run: Run, gateway: HostedGateway) -> None:
    first = run("buy", "AAPL", "1", "--limit", "100", "--ref", "once.1", "--json")
    again = run("buy", "AAPL", "1", "--limit", "100", "--ref", "once.1", "--json")
    assert first.code == again.code == 0
    assert first.document["perm_id"] == again.document["perm_id"]
    assert len(received(gateway)) == 1


def test_waiting_in_vain_tells_the_order_and_that_it_works_on(run: Run, gateway: HostedGateway) -> None:
    ran = run("buy", "AAPL", "1", "--limit", "100", "--wait", "0.1", "--json")
    assert ran.code == 1
    assert ran.document["error"] == "RequestTimeout"
    assert [o["state"] for o in ran.document["orders"]] == ["working"]
    assert run("buy", "AAPL", "1", "--limit", "100", "--wait", "0.1").code == 1


def test_cancel_by_ref_by_id_and_all(run: Run) -> None:
    one = run("buy", "AAPL", "1", "--limit", "100", "--ref", "a.1", "--json").document
    run("buy", "AAPL", "1", "--limit", "101", "--ref", "a.2")
    run("buy", "AAPL", "1", "--limit", "102", "--ref", "a.3")
    by_ref = run("cancel", "a.2", "--json")
    assert [o["state"] for o in by_ref.document] == ["cancelled"]
    by_id = run("cancel", str(one["order_id"]), "--json")
    assert [o["order_ref"] for o in by_id.document] == ["a.1"]
    rest = run("cancel", "--all", "--json")
    assert [o["order_ref"] for o in rest.document] == ["a.3"]
    assert run("orders", "--json").document == []
    unknown = run("cancel", "4711", "--json")
    assert unknown.code == 2
    assert unknown.document["error"] == "OrderNotFound"
    assert unknown.document["outcome"] == "not_sent"


def test_beside_a_program_that_trades_orders_are_refused_and_everything_can_be_cancelled(
    run: Run, gateway: HostedGateway, tmp_path: Path
) -> None:
    with sync_paper_connector(gateway, state_dir=tmp_path / "state") as program:
        order = program.place_limit_order("AAPL", 1, "BUY", 100.0)
        ran = run("buy", "AAPL", "1", "--json")
        assert ran.code == 3
        assert ran.document["error"] == "ClientIdInUse"
        assert "--scope account" in ran.document["remedy"]
        held = run("buy", "AAPL", "1", "--client-id", "9", "--json")
        assert held.code == 1
        assert held.document["error"] == "JournalInUse"
        assert len(received(gateway)) == 1
        everything = run("cancel", "--all", "--scope", "account", "--json")
        assert everything.code == 0
        assert [o["order_ref"] for o in everything.document] == [order.ref]
        assert order.done(timeout=30).state == "cancelled"


def test_a_risk_limit_refuses_with_code_4_and_nothing_is_sent(run: Run, gateway: HostedGateway) -> None:
    ran = run("buy", "AAPL", "20000", "--json")
    assert ran.code == 4
    assert "order_size" in ran.document["message"]
    assert received(gateway) == []
    assert run("buy", "AAPL", "20000").code == 4


def test_the_broker_s_refusal_is_code_5(run: Run, gateway: HostedGateway, tmp_path: Path) -> None:
    (tmp_path / "ibkr_config.ini").write_text("[risk_limits]\ncheck_ticks = no\n")  # else a gate is first
    ran = run("buy", "AAPL", "1", "--limit", "100.001", "--json")
    assert ran.code == 5
    assert ran.document["code"] == 110


def test_a_read_only_api_is_code_5_with_its_fix(
    run: Run, gateway: HostedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostedGateway(options=TwsOptions(read_only=True)) as refusing:
        monkeypatch.setenv("IBKR_PORT", str(refusing.tws_port))
        ran = run("buy", "AAPL", "1", "--limit", "100", "--json")
        assert ran.code == 5
        assert "Read-Only" in ran.document["message"] + ran.document["remedy"]


def heads(ran: Ran) -> list[str]:
    return re.findall(rf"audit_head of {ACCOUNT} at (?:start|stop): ([0-9a-f]{{64}})", ran.err)


def test_what_opens_the_journal_tells_the_head_of_its_audit_trail_at_start_and_stop(run: Run) -> None:
    bought = run("buy", "AAPL", "1", "--limit", "1", "--json")
    first, last = heads(bought)
    assert first != last
    assert heads(run("cancel", "--all"))[0] == last
    [told] = run("audit", "verify", "--head", last, "--json").document
    assert (told["ok"], told["known_head"]) == (True, last)
    assert heads(run("status")) == []


@pytest.mark.parametrize("words", [("kill",), ("kill", "--scope", "account"), ("flatten",)])
def test_orders_that_the_program_cancelled_before_the_command_s_first_look_are_told_too(
    run: Run, gateway: HostedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    reading = Cx.reading
    with sync_paper_connector(gateway, state_dir=tmp_path / "state") as program:
        ended = program.place_limit_order("AAPL", 1, "BUY", 99.0)
        ended.cancel()
        filled = program.place_market_order("MSFT", 1, "BUY")
        filled.filled(timeout=30)
        placed = [program.place_limit_order("AAPL", 1, "BUY", price) for price in (100.0, 101.0)]

        @asynccontextmanager
        async def late(cx: Cx) -> AsyncIterator[IBKRConnector]:
            for order in placed:
                await asyncio.to_thread(order.done, timeout=30)
            async with reading(cx) as reader:
                yield reader

        monkeypatch.setattr(Cx, "reading", late)
        ran = run(words[0], "fire", *words[1:], "--json")
    assert ran.code == 0
    told = {o["order_ref"]: (o["state"], o["client_id"]) for o in ran.document["cancelled"]}
    client_id = placed[0].snapshot.client_id
    assert told == {order.ref: ("cancelled", client_id) for order in placed}
    assert ran.document["working"] == []


@pytest.mark.parametrize("scope", ["own", "account"])
def test_a_kill_beside_a_program_tells_how_the_orders_ended_and_not_how_they_were(
    run: Run, gateway: HostedGateway, tmp_path: Path, scope: str
) -> None:
    with sync_paper_connector(gateway, state_dir=tmp_path / "state") as program:
        order = program.place_limit_order("AAPL", 1, "BUY", 100.0)
        with sync_paper_connector(gateway, client_id=9) as other:
            foreign = other.place_limit_order("MSFT", 2, "BUY", 50.0)
            ran = run("kill", "fire", "--scope", scope, "--json")
            assert ran.code == 0
            assert [(o["order_ref"], o["state"]) for o in ran.document["cancelled"]] == [(order.ref, "cancelled")]
            assert [o["state"] for o in ran.document["others"]] == ["working" if scope == "own" else "cancelled"]
            assert order.done(timeout=30).state == "cancelled"
            assert foreign.is_done == (scope == "account")
