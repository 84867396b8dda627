"""`doctor` for `backend = web` against a real Web front: every trouble is named with its fix; nothing is placed."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="needs the extra paper-web")
pytest.importorskip("cryptography", reason="needs the extra paper-web")
pytest.importorskip("ibind")

from ibkr_connector.clock import SystemClock
from ibkr_connector.paper import WebOptions
from ibkr_connector.paper.web.oauth import keys
from ibkr_connector.testing import HostedGateway
from support.cli import Ran, Run, runner
from support.connector import ACCOUNT

Start = Callable[..., HostedGateway]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IBKR_BACKEND", "web")
    monkeypatch.setenv("IBKR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    return runner(capsys)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a gateway with a Web front that the settings name; `web` are its options."""
    with ExitStack() as stack:

        def start(web: WebOptions | None = None, **options: Any) -> HostedGateway:
            web = web or WebOptions()
            gateway = stack.enter_context(HostedGateway(seed=7, web_port=0, web=replace(web, limits=None), **options))
            monkeypatch.setenv("IBKR_WEB_URL", gateway.web_url)
            return gateway

        yield start


def check(ran: Ran, name: str) -> dict[str, Any]:
    return next(dict(row) for row in ran.document["checks"] if row["name"] == name)


def verdicts(ran: Ran) -> dict[str, str]:
    return {row["name"]: row["verdict"] for row in ran.document["checks"]}


def failed(ran: Ran) -> list[str]:
    return [name for name, verdict in verdicts(ran).items() if verdict == "fail"]


def test_a_healthy_web_gateway_passes_and_no_session_is_taken(run: Run, start: Start) -> None:
    gateway = start()
    ran = run("doctor", "--json")
    assert ran.code == 0, ran.out
    assert set(verdicts(ran).values()) == {"ok"}
    assert check(ran, "account")["found"] == f"{ACCOUNT} (paper)"
    assert "ibind" in check(ran, "client library")["found"]
    assert "Nothing stands in the way" in run("doctor").words
    for kind in ("http", "recv_place", "web_session", "web_logout"):
        assert not gateway.truth.of(kind)


def test_a_gateway_that_is_down_is_code_3(run: Run, start: Start) -> None:
    start().close()
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["gateway"])
    assert "connection refused" in check(ran, "gateway")["found"]
    assert "Start the Client Portal Gateway" in check(ran, "gateway")["fix"]
    assert verdicts(ran)["account"] == "skip"


def test_tws_s_port_in_the_web_url_is_told(run: Run, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = start()
    monkeypatch.setenv("IBKR_WEB_URL", f"http://127.0.0.1:{gateway.tws_port}/v1/api/")
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["gateway"])
    assert "is a TWS API port" in check(ran, "gateway")["found"]
    assert f"backend = tws and port = {gateway.tws_port}" in check(ran, "gateway")["fix"]


@pytest.mark.parametrize(("tls", "scheme"), [(False, "http"), (True, "https")])
def test_the_web_api_s_port_in_tws_s_settings_is_told(
    run: Run, start: Start, monkeypatch: pytest.MonkeyPatch, tls: bool, scheme: str
) -> None:
    gateway = start(WebOptions(tls=tls))
    port = gateway.gateway.web_port
    monkeypatch.setenv("IBKR_BACKEND", "tws")
    monkeypatch.setenv("IBKR_PORT", str(port))
    monkeypatch.setattr("ibkr_connector.cli.doctor.command.KNOWN_PORTS", {})
    ran = run("doctor", "--json", "--timeout", "1")
    assert (ran.code, failed(ran)) == (3, ["gateway"])
    assert "is a web server" in check(ran, "gateway")["found"]
    assert f"backend = web, and [web] url = {scheme}://127.0.0.1:{port}/v1/api/" in check(ran, "gateway")["fix"]


@pytest.mark.parametrize(("tls", "wrong"), [(False, "https"), (True, "http")])
def test_an_address_of_the_other_scheme_is_told(
    run: Run, start: Start, monkeypatch: pytest.MonkeyPatch, tls: bool, wrong: str
) -> None:
    gateway = start(WebOptions(tls=tls))
    right = gateway.web_url
    monkeypatch.setenv("IBKR_WEB_URL", right.replace("https" if tls else "http", wrong, 1))
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["gateway"])
    assert check(ran, "gateway")["fix"] == f"Set [web] url to {right}."


def test_nobody_logged_in_is_told_with_the_place_to_do_it(run: Run, start: Start) -> None:
    gateway = start(WebOptions(logged_in=False))
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["login"])
    assert gateway.web_url.removesuffix("v1/api/") in check(ran, "login")["fix"]
    assert verdicts(ran)["account"] == "skip"


def test_a_competing_session_is_told_and_what_compete_would_do(
    run: Run, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start()
    gateway.call(lambda paper: paper.inject("competing_login"))
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["brokerage session"])
    assert "compete = yes" in check(ran, "brokerage session")["fix"]
    (tmp_path / "ibkr_config.ini").write_text("[web]\ncompete = yes\n")
    ran = run("doctor", "--json")
    assert (ran.code, verdicts(ran)["brokerage session"]) == (0, "warn")
    assert not gateway.truth.of("web_session")


def test_a_missing_bridge_is_told_and_the_account_still_read(run: Run, start: Start) -> None:
    start(WebOptions(brokerage=False))
    ran = run("doctor", "--json")
    assert (ran.code, verdicts(ran)["brokerage session"]) == (0, "warn")
    assert "no bridge" in check(ran, "brokerage session")["found"]
    assert "log in at the gateway again" in check(ran, "brokerage session")["fix"]
    assert check(ran, "account")["found"] == f"{ACCOUNT} (paper)"


def test_a_certificate_that_is_not_trusted_is_told_with_both_ways_out(
    run: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(WebOptions(tls=True))
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["tls certificate"])
    assert "self" in check(ran, "tls certificate")["found"]
    assert "[web] ca_file" in check(ran, "tls certificate")["fix"]
    assert "verify_tls = no" in check(ran, "tls certificate")["fix"]
    monkeypatch.setenv("IBKR_WEB_VERIFY_TLS", "no")
    ran = run("doctor", "--json")
    assert ran.code == 0, ran.out
    assert "verify_tls = no" in check(ran, "tls certificate")["found"]


def test_a_live_login_in_paper_mode_is_told(run: Run, start: Start) -> None:
    start(accounts=("U7654321",))
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (1, ["account"])
    assert "a live login, and mode = paper" in check(ran, "account")["found"]
    assert "U7654321" not in ran.out


def test_several_accounts_and_a_wrong_one_are_told(run: Run, start: Start) -> None:
    start(accounts=(ACCOUNT, "DU7654321"))
    assert "none is chosen" in check(run("doctor", "--json"), "account")["found"]
    assert "not among them" in check(run("doctor", "--json", "--account", "DU1"), "account")["found"]
    assert run("doctor", "--json", "--account", "DU7654321").code == 0


def test_a_missing_ibind_is_told_and_nothing_else_is_made_up(
    run: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    monkeypatch.setitem(sys.modules, "ibind", None)
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (1, ["client library"])
    assert "pip install 'ibind" in check(ran, "client library")["fix"]
    assert verdicts(ran)["gateway"] == "skip"


def test_another_version_of_ibind_is_told(run: Run, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start()
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.3.1" if name == "ibind" else real(name))
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (1, ["client library"])
    assert "0.3.1" in check(ran, "client library")["found"]


# --- OAuth ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registration() -> keys.Registration:
    pytest.importorskip("Crypto", reason="needs the extra oauth")
    return keys.register()


@pytest.fixture
def signed(
    registration: keys.Registration, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> HostedGateway:
    """A gateway that verifies signatures, and settings that make them."""
    gateway = start(WebOptions(oauth=registration.server))
    keys.write(registration, tmp_path / "keys", gateway.web_url, ACCOUNT)
    values = {
        "CONSUMER_KEY": registration.server.consumer_key,
        "ACCESS_TOKEN": registration.server.access_token,
        "ACCESS_TOKEN_SECRET": registration.access_token_secret,
        "DH_PRIME": registration.prime_hex,
        "SIGNATURE_KEY_FP": str(tmp_path / "keys" / keys.SIGNATURE_FILE),
        "ENCRYPTION_KEY_FP": str(tmp_path / "keys" / keys.ENCRYPTION_FILE),
        "REST_URL": gateway.web_url,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"IBKR_OAUTH_{name}", value)
    return gateway


def test_signed_requests_pass_and_no_secret_is_shown(
    run: Run, signed: HostedGateway, registration: keys.Registration
) -> None:
    ran = run("doctor", "--json", "-vv")
    assert ran.code == 0, ran.out
    assert verdicts(ran)["session token"] == "ok"
    assert not signed.truth.of("oauth_refused")
    assert not signed.truth.of("web_session")
    for secret in (registration.access_token_secret, registration.server.access_token, registration.prime_hex):
        assert secret not in ran.out + ran.err


def test_a_parameter_that_cannot_be_used_is_code_2_and_nothing_is_sent(
    run: Run, signed: HostedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_OAUTH_DH_PRIME", "fff1")
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (2, ["oauth.dh_prime"])
    assert verdicts(ran)["gateway"] == "skip"
    assert not signed.truth.of("oauth_token")


def test_another_signature_key_than_the_registered_one_is_told(run: Run, signed: HostedGateway, tmp_path: Path) -> None:
    file = tmp_path / "keys" / keys.SIGNATURE_FILE
    file.write_bytes(keys.register().signature_pem)
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["session token"])
    assert "oauth.signature_key" in check(ran, "session token")["found"]
    assert verdicts(ran)["account"] == "skip"


def test_a_clock_outside_the_window_of_signatures_is_told(
    run: Run, signed: HostedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibind.oauth import oauth1a

    class Late(SystemClock):
        def now(self) -> datetime:
            return super().now() - timedelta(hours=1)

    monkeypatch.setattr(oauth1a, "generate_request_timestamp", lambda: str(int(Late().now().timestamp())))
    ran = run("doctor", "--json")
    assert (ran.code, failed(ran)) == (3, ["session token"])
    assert "time of our requests is refused" in check(ran, "session token")["found"]
    assert "NTP" in check(ran, "session token")["fix"]
