"""`doctor` against real sockets: every trouble on the way to an account is named with its fix; nothing is placed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.cli.doctor import command as doctor
from ibkr_connector.cli.doctor.probe import Stage, probe
from ibkr_connector.paper import TwsOptions
from ibkr_connector.testing import HostedGateway, sync_paper_connector
from support.cli import Run

Environment = Callable[[int], None]


@pytest.fixture
def use_port(monkeypatch: pytest.MonkeyPatch) -> Environment:
    return lambda port: monkeypatch.setenv("IBKR_PORT", str(port))


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in document["checks"]}


def check(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(row) for row in document["checks"] if row["name"] == name)


@contextlib.contextmanager
def server(answer: bytes | None) -> Iterator[int]:
    """Something that accepts connections and, when it was spoken to, says `answer` (None: closes at once)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    if answer is None:
                        continue
                    peer.settimeout(5)
                    with contextlib.suppress(OSError):
                        peer.recv(100)
                        peer.sendall(answer)
                        while peer.recv(100):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stopping.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_healthy_gateway_passes_every_check(run: Run, gateway: HostedGateway) -> None:
    ran = run("doctor", "--json")
    assert ran.code == 0
    assert ran.document["ok"]
    assert set(verdicts(ran.document).values()) <= {"ok", "warn"}
    assert verdicts(ran.document)["clock"] == "warn"  # market time of a paper gateway
    assert not gateway.truth.of("recv_place")
    assert "Nothing stands in the way" in run("doctor").words


def test_a_client_library_that_cannot_be_imported_stands_in_the_way(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ib_insync", "ib_async"):
        monkeypatch.setitem(sys.modules, name, None)
    ran = run("doctor", "--json")
    assert ran.code == 1
    assert check(ran.document, "client library")["verdict"] == "fail"
    assert "cannot be imported" in check(ran.document, "client library")["found"]
    assert "Nothing stands in the way" not in run("doctor").words


def test_a_state_directory_that_cannot_be_made_stands_in_the_way(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a folder in which even root makes nothing")
    monkeypatch.setenv("IBKR_STATE_DIR", "/proc/nope")
    ran = run("doctor", "--json")
    assert ran.code == 1
    assert check(ran.document, "state directory")["verdict"] == "fail"


def test_nobody_there_is_code_3_and_the_usual_port_that_answers_is_named(
    run: Run, gateway: HostedGateway, use_port: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "KNOWN_PORTS", {gateway.tws_port: "TWS, paper"})
    use_port(free_port())
    ran = run("doctor", "--json")
    assert ran.code == 3
    assert check(ran.document, "gateway")["verdict"] == "fail"
    assert str(gateway.tws_port) in check(ran.document, "gateway")["fix"]
    assert check(ran.document, "account")["verdict"] == "skip"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xff\xff\xffxx", None])
def test_something_else_on_the_port_is_told_from_a_gateway(
    run: Run, use_port: Environment, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    monkeypatch.setattr(doctor, "KNOWN_PORTS", {})
    with server(answer) as port:
        use_port(port)
        ran = run("doctor", "--json", "--timeout", "0.3")
    assert ran.code == 3
    found = check(ran.document, "gateway")
    assert found["verdict"] == "fail"
    assert "no TWS API port" in found["found"]


def test_a_name_that_cannot_be_found_is_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "KNOWN_PORTS", {})
    ran = run("doctor", "--json", "--host", "no-such-host.invalid")
    assert ran.code == 3
    assert "cannot be reached" in check(ran.document, "gateway")["found"]


def test_a_client_id_in_use_is_told_and_the_rest_is_looked_at_under_another(run: Run, gateway: HostedGateway) -> None:
    with sync_paper_connector(gateway):
        ran = run("doctor", "--json")
    assert ran.code == 0
    assert "in use" in check(ran.document, "client id")["found"]
    assert check(ran.document, "account")["verdict"] == "ok"


def test_a_journal_that_a_program_holds_is_told(run: Run, gateway: HostedGateway, tmp_path: Any) -> None:
    with sync_paper_connector(gateway, state_dir=tmp_path / "state"):
        found = check(run("doctor", "--json").document, "order journal")
    assert found["verdict"] == "warn"
    assert "DU1234567" in found["found"]


def test_a_read_only_api_is_found_out_without_an_order(run: Run, use_port: Environment) -> None:
    with HostedGateway(options=TwsOptions(read_only=True)) as refusing:
        use_port(refusing.tws_port)
        ran = run("doctor", "--json")
    assert ran.code == 1
    assert check(ran.document, "orders")["verdict"] == "fail"
    assert "Read-Only" in check(ran.document, "orders")["fix"]


def test_a_live_account_is_a_failure(run: Run, use_port: Environment) -> None:
    with HostedGateway(accounts=("U7654321",)) as live:
        use_port(live.tws_port)
        ran = run("doctor", "--json")
    assert ran.code == 1
    assert check(ran.document, "account")["verdict"] == "fail"


def test_the_probe_reads_accounts_time_farms_and_permissions(gateway: HostedGateway) -> None:
    async def look() -> None:
        looking = asyncio.create_task(probe("127.0.0.1", gateway.tws_port, 77))
        found = await looking
        assert found.stage is Stage.READY
        assert {code for code, _ in found.notices} >= {2104, 2106, 2158}
        assert found.accounts == ("DU1234567",)
        assert found.server_time is not None
        assert found.read_only is False

    asyncio.run(look())


def test_wrong_settings_are_the_first_failure_with_code_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_CLIENT_ID", "two")
    ran = run("doctor", "--json")
    assert ran.code == 2
    assert list(verdicts(ran.document)) == ["settings"]
    assert "IBKR_CLIENT_ID" in check(ran.document, "settings")["found"]
