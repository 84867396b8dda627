"""HashiCorp Vault with the real hvac client, against a small server of our own."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets.vault import VaultSource

pytest.importorskip("hvac", reason="needs the extra vault")

VALUE, TOKEN = "tr0ub4dor-and-3", "hvs.CAESIJ0token0of0vault"


@dataclass
class FakeVault:
    """What the server holds, and what it was asked."""

    kv2: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By path without `data/`: the mount `secret` is of version 2."""
    kv1: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By path: the mount `kv` is of version 1."""
    status: int = 0
    """Answer everything with this status."""
    location: str = ""
    hang: threading.Event | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, token, namespace."""
    url: str = ""

    def answer(self, path: str, token: str) -> tuple[int, Any]:
        """As Vault does."""
        if self.status:
            return self.status, {"errors": [f"something about {VALUE}"]}
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        mount, _, rest = path.partition("/")
        if mount == "secret" and rest.startswith("data/"):
            found = self.kv2.get(f"secret/{rest.removeprefix('data/')}")
            return (
                (404, {"errors": []}) if found is None else (200, {"data": {"data": found, "metadata": {"version": 1}}})
            )
        if mount == "kv":
            found = self.kv1.get(path)
            return (404, {"errors": []}) if found is None else (200, {"data": found})
        return 404, {"errors": [], "warnings": ["Invalid path for a versioned K/V secrets engine"]}


@pytest.fixture
def certificate() -> tuple[bytes, bytes] | None:
    """Certificate and key of the server, PEM; None: it speaks without TLS."""
    return None


@pytest.fixture
def vault(certificate: tuple[bytes, bytes] | None, tmp_path: Path) -> Iterator[FakeVault]:
    """A running server."""
    fake = FakeVault()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, token = self.path.removeprefix("/v1/"), self.headers.get("X-Vault-Token", "")
            fake.asked.append((path, token, self.headers.get("X-Vault-Namespace", "")))
            if fake.hang is not None:
                fake.hang.wait(20)
            status, body = fake.answer(path, token)
            data = json.dumps(body).encode()
            self.send_response(status)
            if fake.location:
                self.send_header("Location", fake.location)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    scheme = "http"
    if certificate is not None:
        both, scheme = tmp_path / "server.pem", "https"
        both.write_bytes(certificate[1] + certificate[0])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    server.server_close()
    thread.join(5)


def source(vault: FakeVault, **environ: str) -> VaultSource:
    """The source, with an environment of its own."""
    return VaultSource({"VAULT_ADDR": vault.url, "VAULT_TOKEN": TOKEN, **environ})


def refused(asked: VaultSource, name: str, text: str) -> ConfigurationError:
    """The error; it shows neither the value nor the token."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        asked.get(name)
    error = caught.value
    shown = f"{error!r} {error} {error.context} {error.__cause__!r}"
    shown += "" if error.__suppress_context__ else repr(error.__context__)
    assert VALUE not in shown
    assert TOKEN not in shown
    return error


@pytest.mark.parametrize("path", ["secret/ibkr/paper", "secret/data/ibkr/paper"])
def test_version_2_is_read_by_either_form_of_the_path(vault: FakeVault, path: str) -> None:
    vault.kv2["secret/ibkr/paper"] = {"token": VALUE}
    assert source(vault, VAULT_NAMESPACE="team").get(f"{path}#token").reveal() == VALUE
    assert vault.asked == [("secret/data/ibkr/paper", TOKEN, "team")]


def test_version_1_is_read(vault: FakeVault) -> None:
    vault.kv1["kv/ibkr"] = {"token": VALUE, "data": "x"}
    assert source(vault).get("kv/ibkr#token").reveal() == VALUE


def test_a_key_that_is_not_there_names_those_that_are(vault: FakeVault) -> None:
    vault.kv2["secret/a"] = {"token": VALUE, "other": "x", "number": 7}
    refused(source(vault), "secret/a#tokn", "the path holds: number, other, token")
    refused(source(vault), "secret/a#number", "holds no text")


def test_what_vault_refuses_is_told_in_our_words(vault: FakeVault) -> None:
    assert "vault kv put" in refused(source(vault), "secret/none#a", "is not there").remedy
    error = refused(source(vault, VAULT_TOKEN="hvs.other"), "secret/none#a", "may not be read with this token")
    assert not error.retryable
    vault.status = 503
    assert refused(source(vault), "secret/a#b", "sealed").retryable
    vault.status = 500
    assert refused(source(vault), "secret/a#b", "InternalServerError").retryable


def test_a_redirect_does_not_carry_the_token_away(vault: FakeVault) -> None:
    vault.status, vault.location = 307, f"{vault.url}/v1/elsewhere"
    refused(source(vault), "secret/a#b", "cannot be had|is not there")
    assert all(path != "elsewhere" for path, _, _ in vault.asked)


def test_a_vault_that_does_not_answer_is_given_up(vault: FakeVault) -> None:
    vault.hang = threading.Event()
    assert refused(
        VaultSource({"VAULT_ADDR": vault.url, "VAULT_TOKEN": TOKEN}, 0.2), "secret/a#b", "does not answer|not answered"
    ).retryable
    vault.hang.set()
    for thread in threading.enumerate():
        if thread.name == "ibkr-secret":
            thread.join(5)


def test_a_vault_that_is_not_there_is_told(vault: FakeVault) -> None:
    assert refused(source(vault, VAULT_ADDR="http://127.0.0.1:1"), "secret/a#b", "cannot be reached").retryable


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"VAULT_ADDR": ""}, "needs the variable VAULT_ADDR"),
        ({"VAULT_TOKEN": " "}, "needs the variable VAULT_TOKEN"),
        ({"VAULT_ADDR": "vault:8200"}, "no address"),
        ({"VAULT_ADDR": "http://vault.example.com:8200"}, "without TLS"),
        ({"VAULT_SKIP_VERIFY": "true"}, "VAULT_SKIP_VERIFY"),
        ({"VAULT_CACERT": "/nowhere/ca.pem"}, "VAULT_CACERT names no file"),
    ],
)
def test_nothing_is_asked_where_the_token_would_not_be_safe(
    vault: FakeVault, environ: dict[str, str], text: str
) -> None:
    refused(source(vault, **environ), "secret/a#b", text)
    assert vault.asked == []


class TestTls:
    """A server with a certificate of its own."""

    @pytest.fixture
    def certificate(self) -> tuple[bytes, bytes]:
        pytest.importorskip("cryptography", reason="makes the certificate")
        from ibkr_connector.paper.web.tls import make_certificate

        return make_certificate("127.0.0.1")

    def test_a_certificate_nobody_vouches_for_is_refused_before_the_token_is_sent(self, vault: FakeVault) -> None:
        vault.kv2["secret/a"] = {"b": VALUE}
        assert "VAULT_CACERT" in refused(source(vault), "secret/a#b", "not one that is trusted").remedy
        assert vault.asked == []

    def test_a_certificate_that_is_named_is_trusted_whatever_else_the_environment_says(
        self, vault: FakeVault, certificate: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authority = tmp_path / "ca.pem"
        authority.write_bytes(certificate[0])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", __file__)
        vault.kv2["secret/a"] = {"b": VALUE}
        assert source(vault, VAULT_CACERT=str(authority)).get("secret/a#b").reveal() == VALUE
