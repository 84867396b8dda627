"""Plans from files, over the control port and over HTTP; that equal seeds give equal faults, and none costs nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.paper import Fault, PaperGateway, PlanError

from ..gateway.conftest import until as condition
from ..gateway.raw import RawClient
from ..gateway.test_program import ending, program
from .kit import ask, limit, status_of, until, works

pytestmark = pytest.mark.protocol

PLAN = """
version = 1

[[fault]]
name = "lost"
kind = "swallow_request"
on = "place_order"
nth = 2

[[fault]]
kind = "swallow_request"
on = "cancel_order"
probability = 0.5
"""


async def http(port: int, method: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
    """One HTTP request to the control port."""
    head = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body)), **headers}
    lines = [f"{method} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in head.items() if value)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 15)
    writer.close()
    await writer.wait_closed()
    top, _, content = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(content)


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    return {"control_port": 0}


@pytest.fixture
async def port(gateway: PaperGateway) -> int:
    assert gateway.control_port is not None
    return gateway.control_port


async def test_faults_are_armed_listed_and_cleared_over_http(
    gateway: PaperGateway, client: RawClient, port: int
) -> None:
    assert await http(port, "GET /faults") == (200, {"ok": True, "faults": []})
    body = json.dumps({"kind": "swallow_request", "on": "place_order"}).encode()
    assert await http(port, "POST /faults", body) == (201, {"ok": True, "numbers": [1]})
    many = json.dumps([{"kind": "slow", "at": 3600}, {"kind": "refuse", "for": 60}]).encode()
    assert (await http(port, "POST /faults", many))[1] == {"ok": True, "numbers": [2, 3]}
    assert (await http(port, "POST /faults", PLAN.encode(), Content_Type="application/toml"))[1]["numbers"] == [4, 5]
    assert await ask(client, limit(1)) == []
    listed = (await http(port, "GET /faults"))[1]["faults"]
    assert [(f["number"], f["kind"], f["state"], f["fired"]) for f in listed] == [
        (1, "swallow_request", "spent", 1),
        (2, "slow", "waiting", 0),
        (3, "refuse", "running", 1),
        (4, "swallow_request", "armed", 0),
        (5, "swallow_request", "armed", 0),
    ]
    assert listed[2]["for"] == 60
    assert listed[3]["name"] == "lost"
    assert await http(port, "DELETE /faults") == (200, {"ok": True, "cleared": 4})
    assert gateway.server._hub.taps is None
    await works(gateway)


@pytest.mark.parametrize(
    ("request_", "body", "headers", "status", "words"),
    [
        ("POST /faults", b"{}", {}, 400, "needs a 'kind'"),
        ("POST /faults", b'{"kind": "sloow"}', {}, 400, "did you mean 'slow'"),
        ("POST /faults", b'[{"kind": "slow"}, {"kind": "slow", "dely": 1}]', {}, 400, "fault 2: slow takes no 'dely'"),
        ("POST /faults", b'{"kind": "halt", "symbol": "NOSUCH"}', {}, 400, "NOSUCH"),
        ("POST /faults", b"not json", {}, 400, "Expecting value"),
        ("POST /faults", b"\xff", {}, 400, "utf-8"),
        ("POST /faults", b"kind =", {"Content_Type": "application/toml"}, 400, "not TOML"),
        ("POST /faults", b"5", {}, 400, "must be a table"),
        ("PUT /faults", b"", {}, 405, "GET, POST, DELETE"),
        ("GET /orders", b"", {}, 404, "/faults"),
        ("POST /faults", b"", {"Content_Length": "999999999"}, 413, "at most"),
        ("POST /faults", b"", {"Content_Length": "x"}, 411, "Content-Length"),
        ("POST /faults", b"{}", {"Origin": "http://127.0.0.1"}, 403, "web pages"),
        ("GET /faults", b"", {"Host": "evil.example"}, 403, "web pages"),
    ],
)
async def test_a_request_that_makes_no_sense_is_explained_and_arms_nothing(
    gateway: PaperGateway, port: int, request_: str, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    got, answer = await http(port, request_, body, **headers)
    assert (got, answer["ok"]) == (status, False)
    assert words in answer["error"]
    assert gateway.faults.faults() == []


async def test_endless_headers_end(port: int) -> None:
    many: dict[str, Any] = {f"X{i}": "y" for i in range(200)}
    status, answer = await http(port, "GET /faults", **many)
    assert (status, answer["ok"]) == (431, False)


async def test_the_control_port_s_commands_do_the_same(gateway: PaperGateway, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def tell(**request_: object) -> dict[str, Any]:
        writer.write(json.dumps(request_).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 15))
        return answer

    armed = await tell(command="inject_fault", fault={"kind": "half_open", "on": "positions", "for": 5})
    assert armed == {"ok": True, "numbers": [1]}
    assert [f["kind"] for f in (await tell(command="faults"))["faults"]] == ["half_open"]
    assert "needs a 'kind'" in (await tell(command="inject_fault", fault={}))["error"]
    assert "must be a table" in (await tell(command="inject_fault"))["error"]
    assert await tell(command="clear_faults") == {"ok": True, "cleared": 1}
    writer.close()
    await writer.wait_closed()


async def test_a_program_follows_its_plan(tmp_path: Path) -> None:
    plan, truth = tmp_path / "plan.toml", tmp_path / "truth.jsonl"
    plan.write_text(PLAN)
    async with program("--faults", str(plan), "--truth", str(truth)) as (process, ready):
        async with await RawClient.connect(ready["tws_port"], 4) as client:
            await ask(client, limit(1), limit(2))
        process.terminate()
        assert (await ending(process))[0] == 0
    entries = [json.loads(line) for line in truth.read_text().splitlines()]
    assert [(e["fault"], e["name"], e["order_ref"]) for e in entries if e["kind"] == "fault"] == [
        ("swallow_request", "lost", "ref-2")
    ]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('[[fault]]\nkind = "sloow"\n', 2, "fault 1: unknown kind 'sloow': did you mean 'slow'?"),
        ('[[fault]]\nkind = "halt"\nsymbol = "NOSUCH"\n', 2, "lists no such instrument"),
        ("version = 9\n", 2, "version 9"),
        (None, 2, "there is no such file"),
    ],
)
@pytest.mark.parametrize("start", [["-m", "ibkr_connector.paper"], ["-m", "ibkr_connector.cli", "paper"]])
async def test_a_wrong_plan_stops_the_program_before_it_listens(
    tmp_path: Path, text: str | None, code: int, words: str, start: list[str]
) -> None:
    plan = tmp_path / "plan.toml"
    if text is not None:
        plan.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *start, "--tws-port", "0", "--faults", str(plan)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    got, out, err = await ending(process)
    assert (got, out) == (code, b"")
    assert words in err.decode()
    assert "Traceback" not in err.decode()


async def run(seed: int, plan: list[Fault]) -> list[dict[str, object]]:
    """The faults of one session: the same requests each time."""
    async with PaperGateway(tws_port=0, seed=seed, faults=plan) as gateway:
        async with await RawClient.connect(gateway.tws_port, 1) as client:
            for order_id in range(1, 41):
                await ask(client, limit(order_id))
        return [e.fields for e in gateway.truth.of("fault")]


async def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    plan = [
        Fault("swallow_request", on="place_order", probability=0.3),
        Fault("reject", on="place_order", probability=0.3, times=5),
    ]
    first = await run(7, plan)
    assert first == await run(7, plan)
    assert first != await run(8, plan)
    assert 5 < len(first) < 35
    assert len([f for f in first if f["fault"] == "reject"]) == 5


async def test_another_fault_changes_no_fault_s_chances() -> None:
    lonely = await run(7, [Fault("swallow_request", on="place_order", probability=0.3)])
    extra = Fault("duplicate_reply", on="open_order", probability=0.5)
    both = await run(7, [Fault("swallow_request", on="place_order", probability=0.3), extra])
    assert [f["order_id"] for f in lonely] == [f["order_id"] for f in both if f["fault"] == "swallow_request"]


async def test_nothing_is_asked_while_no_fault_is_armed(gateway: PaperGateway, client: RawClient) -> None:
    def asked() -> list[object]:
        connection = gateway.server.connection(1)
        assert connection is not None
        hub = gateway.server._hub
        places = [hub.taps, connection.pipe, gateway.exchange._core.disturbance]
        return [place for place in places if place is not None]

    assert asked() == []
    gateway.inject("swallow_request", on="place_order")
    gateway.inject("slow", for_=0.05, delay=0.01)
    assert len(asked()) == 3
    await ask(client, limit(1))
    await gateway.truth.wait_for("fault_end", timeout=15)
    await ask(client)
    assert asked() == []


async def test_a_fault_as_an_object_is_the_same_as_by_its_keys(gateway: PaperGateway, client: RawClient) -> None:
    assert gateway.inject(Fault("swallow_request", on="place_order")) == 1
    assert gateway.inject("swallow_request", on="place_order") == 2
    first, second = gateway.faults.faults()
    assert {**first, "number": 0} == {**second, "number": 0}
    with pytest.raises(TypeError, match="complete"):
        gateway.inject(Fault("slow"), delay=3)
    with pytest.raises(PlanError, match="NOSUCH"):
        gateway.inject("stale", symbol="NOSUCH")
    with pytest.raises(ValueError, match="unknown kind"):
        gateway.inject("slo")
    assert len(gateway.faults.faults()) == 2


async def test_a_fault_can_begin_to_count_at_a_time(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("swallow_request", on="place_order", at=0.2)
    client.send(*limit(1))
    await until(client, status_of(1, "Submitted"))
    await condition(lambda: gateway.faults.faults()[0]["state"] == "armed")
    assert await ask(client, limit(2)) == []
    await works(gateway)
