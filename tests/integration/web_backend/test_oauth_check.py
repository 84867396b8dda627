"""`oauth check` and ibind's configuration against the paper gateway, which verifies every signature."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import pickle
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="needs the extra paper-web")
pytest.importorskip("cryptography", reason="needs the extra paper-web")
pytest.importorskip("ibind")
pytest.importorskip("Crypto", reason="needs the extra oauth")

from ibkr_connector.backends.web import oauth_probe
from ibkr_connector.backends.web.oauth import ibind_config, oauth_source
from ibkr_connector.cli import main
from ibkr_connector.cli.commands import oauth as oauth_command
from ibkr_connector.clock import SystemClock
from ibkr_connector.config import load_settings
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.logs import PACKAGE
from ibkr_connector.paper import PaperGateway, WebOptions
from ibkr_connector.paper.web.oauth import keys
from ibkr_connector.secrets import Secret, Secrets
from support.cli import Ran
from support.connector import ACCOUNT

# RFC 3526, group 5 of 1536 bits: a prime, and another one.
OTHER_PRIME = (
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b"
    "302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"
    "49286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d"
    "670c354e4abc9804f1746c08ca237327ffffffffffffffff"
)


@pytest.fixture(scope="module")
def registration() -> keys.Registration:
    """Keys take a while to make: one set for all tests."""
    return keys.register()


@pytest.fixture(scope="module")
def stranger() -> keys.Registration:
    """Somebody else's."""
    return keys.register()


@pytest.fixture
def web_options(registration: keys.Registration) -> WebOptions:
    return WebOptions(limits=None, oauth=registration.server)


@pytest.fixture
def folder(registration: keys.Registration, gateway: PaperGateway, tmp_path: Path) -> Path:
    """What `paper oauth-keys` writes."""
    folder = tmp_path / "keys"
    keys.write(registration, folder, gateway.web.url, ACCOUNT)
    return folder


@pytest.fixture
def environ(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment file, as a shell reads it, for this process."""
    lines = [line for line in (folder / keys.ENV_FILE).read_text().splitlines() if not line.startswith("#")]
    found = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IBKR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    return found


Set = Callable[..., None]


@pytest.fixture
def change(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Set:
    """Sets one parameter under both names; None unsets it."""

    def change(name: str, value: str | None) -> None:
        for prefix in ("IBKR_OAUTH_", "IBIND_OAUTH1A_"):
            if value is None:
                monkeypatch.delenv(prefix + name, raising=False)
            else:
                monkeypatch.setenv(prefix + name, value)

    return change


@pytest.fixture
async def check(
    environ: dict[str, str], registration: keys.Registration, folder: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Runs `oauth check` beside the gateway's loop; whatever it wrote holds no secret."""

    async def run(*words: str) -> Ran:
        capfd.readouterr()
        code = await asyncio.wait_for(asyncio.to_thread(main, ["oauth", "check", "-vv", *words]), 30)
        told = capfd.readouterr()
        nothing_shown(told.out + told.err, registration)
        return Ran(code, told.out, told.err)

    return run


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The command line gives our loggers a handler and a level: as before, afterwards."""
    logger = logging.getLogger(PACKAGE)
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def values(registration: keys.Registration) -> list[str]:
    """Everything that must not be seen, in the forms in which it could be."""
    server = registration.server
    pems = [pem.decode().splitlines()[5] for pem in (registration.signature_pem, registration.encryption_pem)]
    return [
        server.consumer_key,
        server.access_token,
        registration.access_token_secret,
        registration.access_token_secret[20:60],
        server.secret.hex(),
        registration.prime_hex[:60],
        *pems,
    ]


def nothing_shown(text: str, registration: keys.Registration) -> None:
    assert [value[:4] for value in values(registration) if value in text] == []


def found(ran: Ran) -> dict[str, tuple[str, str]]:
    """The checks of a JSON document: name -> verdict, what was found and how to mend it."""
    return {one["name"]: (one["verdict"], f"{one['found']} {one['fix']}") for one in ran.document["checks"]}


def refusals(gateway: PaperGateway) -> list[object]:
    return [entry.fields["reason"] for entry in gateway.truth.of("oauth_refused")]


ASKED = ("oauth_token", "oauth_refused", "web_session", "web_logout", "http")


def asked(gateway: PaperGateway) -> list[str]:
    """What the gateway was asked for, as its truth log has it."""
    return [kind for kind in ASKED for _ in gateway.truth.of(kind)]


# --- what is right ----------------------------------------------------------------------------------------------------


async def test_good_keys_pass_and_nothing_is_sent_without_being_asked(check: Any, gateway: PaperGateway) -> None:
    ran = await check("--json")
    assert ran.code == 0
    assert ran.document["ok"] is True
    assert ran.document["connected"] is False
    assert {verdict for verdict, _ in found(ran).values()} == {"ok"}
    assert asked(gateway) == []
    assert {line["secret"] for line in ran.document["read"]} >= {"oauth.access_token", "oauth.encryption_key_file"}


async def test_a_session_token_is_given_once_and_no_brokerage_session_begun(check: Any, gateway: PaperGateway) -> None:
    ran = await check("--connect", "--json")
    assert (ran.code, ran.document["connected"]) == (0, True)
    assert "given and verified, until" in found(ran)["session token"][1]
    assert found(ran)["clock"] == ("skip", "the server is on this machine: it has the same clock ")
    assert asked(gateway) == ["oauth_token"]


async def test_a_person_is_told_in_a_table(check: Any) -> None:
    ran = await check("--connect")
    assert ran.code == 0
    assert "Nothing stands in the way." in ran.words


async def test_secrets_in_their_places_work_as_well(
    check: Any, change: Set, environ: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DH_PRIME", "ACCESS_TOKEN_SECRET"):
        file = folder / name
        file.write_text(environ[f"IBKR_OAUTH_{name}"])
        file.chmod(0o600)
        change(name, f"file:{file}")
    monkeypatch.setenv("THE_TOKEN", environ["IBKR_OAUTH_ACCESS_TOKEN"])
    change("ACCESS_TOKEN", "env:THE_TOKEN")
    change("SIGNATURE_KEY_FP", None)
    change("SIGNATURE_KEY", f"file:{folder / keys.SIGNATURE_FILE}")
    ran = await check("--connect", "--json")
    assert (ran.code, ran.document["ok"]) == (0, True)
    sources = {line["secret"]: line["source"] for line in ran.document["read"]}
    assert sources["oauth.dh_prime"] == sources["oauth.signature_key"] == "file"
    assert sources["oauth.access_token"] == "env"
    assert sources["oauth.consumer_key"] == "environment"


# --- what is wrong here: told without asking anybody ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "step", "text"),
    [
        ("DH_PRIME", "not-hex", "oauth.dh_prime", "not hexadecimal"),
        ("DH_PRIME", "ab" * 256, "oauth.dh_prime", "not prime"),
        ("ACCESS_TOKEN", None, "oauth.access_token", "is not set"),
        ("ACCESS_TOKEN", "env:NOT_SET", "oauth.access_token", "env:NOT_SET names a variable that is not set"),
        ("ACCESS_TOKEN", "two words", "oauth.access_token", "blanks"),
        ("ACCESS_TOKEN_SECRET", "QUJD", "oauth.access_token_secret", "it has 3 bytes"),
        ("ACCESS_TOKEN_SECRET", "%%%", "oauth.access_token_secret", "not base64"),
        ("CONSUMER_KEY", "AB CD", "oauth.consumer_key", "letters and digits"),
        ("SIGNATURE_KEY_FP", "/nowhere/s.pem", "oauth.signature_key_file", "does not exist"),
        ("SIGNATURE_KEY_FP", None, "oauth.signature_key_file", "Set signature_key_file"),
        ("ENCRYPTION_KEY", "env:ALSO", "oauth.encryption_key_file", "encryption_key is set as well"),
    ],
)
async def test_what_cannot_work_is_named_and_nobody_asked(
    check: Any, change: Set, gateway: PaperGateway, name: str, value: str | None, step: str, text: str
) -> None:
    change(name, value)
    ran = await check("--connect", "--json")
    assert ran.code == 2
    verdict, told = found(ran)[step]
    assert verdict == "fail"
    assert text in told
    assert found(ran)["session token"][0] == "skip"
    assert asked(gateway) == []


async def test_a_key_file_that_others_can_read_is_refused_with_the_command(check: Any, folder: Path) -> None:
    if os.name != "posix":
        pytest.skip("permissions of POSIX systems")
    file = folder / keys.ENCRYPTION_FILE
    file.chmod(0o640)
    ran = await check("--json")
    assert ran.code == 2
    assert found(ran)["oauth.encryption_key_file"] == (
        "fail", f"file:{file} can be read by others (mode 0640) Run `chmod 600 {file}`.",
    )  # fmt: skip
    assert found(ran)["oauth.access_token_secret"][0] == "skip"


async def test_swapped_keys_are_called_swapped(check: Any, change: Set, folder: Path) -> None:
    change("SIGNATURE_KEY_FP", str(folder / keys.ENCRYPTION_FILE))
    change("ENCRYPTION_KEY_FP", str(folder / keys.SIGNATURE_FILE))
    ran = await check("--json")
    assert ran.code == 2
    assert "the two are swapped" in found(ran)["oauth.access_token_secret"][1]


async def test_one_key_for_both_purposes_is_remarked(check: Any, change: Set, folder: Path) -> None:
    change("SIGNATURE_KEY_FP", str(folder / keys.ENCRYPTION_FILE))
    ran = await check()
    assert ran.code == 0
    assert "are the same key" in ran.words


async def test_an_encryption_key_of_somebody_else_opens_nothing(
    check: Any, folder: Path, stranger: keys.Registration
) -> None:
    (folder / keys.ENCRYPTION_FILE).write_bytes(stranger.encryption_pem)
    ran = await check("--json")
    assert ran.code == 2
    assert "made for another key" in found(ran)["oauth.access_token_secret"][1]


async def test_a_consumer_key_of_another_length_is_remarked(check: Any, change: Set) -> None:
    change("CONSUMER_KEY", "ABCDEFGH")
    ran = await check("--json")
    assert ran.code == 0
    assert found(ran)["oauth.consumer_key"] == (
        "warn",
        "it has 8 characters IBKR's have 9: copy it from the portal again.",
    )


# --- what only the server can tell ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "reason", "text"),
    [
        ("CONSUMER_KEY", "ZZZZZZZZZ", "invalid consumer", "unknown, or not active yet (oauth.consumer_key)"),
        ("ACCESS_TOKEN", "f" * 20, "No access secret key found", "unknown, or was replaced in the portal"),
        ("DH_PRIME", OTHER_PRIME, None, "(oauth.dh_prime)"),
    ],
)
async def test_a_parameter_of_another_registration_is_found_by_asking(
    check: Any, change: Set, gateway: PaperGateway, name: str, value: str, reason: str | None, text: str
) -> None:
    change(name, value)
    ran = await check("--connect", "--json")
    assert ran.code == 3
    verdict, told = found(ran)["session token"]
    assert verdict == "fail"
    assert text in told
    assert refusals(gateway) == ([] if reason is None else [reason])
    assert value not in ran.out + ran.err


async def test_a_signature_key_of_somebody_else_is_found_by_asking(
    check: Any, folder: Path, stranger: keys.Registration, gateway: PaperGateway
) -> None:
    (folder / keys.SIGNATURE_FILE).write_bytes(stranger.signature_pem)
    ran = await check("--connect", "--json")
    assert ran.code == 3
    assert "(oauth.signature_key)" in found(ran)["session token"][1]
    assert refusals(gateway) == ["invalid signature"]


async def test_a_clock_that_is_wrong_is_found_by_asking(
    check: Any, gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibind.oauth import oauth1a

    class Late(SystemClock):
        def now(self) -> datetime:
            return super().now() - timedelta(seconds=900)

    late = Late()
    monkeypatch.setattr(oauth_probe, "is_loopback", lambda host: False)
    monkeypatch.setattr(oauth1a, "generate_request_timestamp", lambda: str(int(late.now().timestamp())))
    monkeypatch.setattr(oauth_command, "system_clock", late)
    ran = await check("--connect", "--json")
    assert ran.code == 3
    verdict, told = found(ran)["clock"]
    assert verdict == "fail"  # by how much: the gateway's Date is its market's time
    assert "NTP" in told
    assert "(clock)" in found(ran)["session token"][1]
    assert refusals(gateway) == ["oauth_timestamp is out of range: check the clock"]


async def test_a_server_that_is_not_there_is_told(check: Any, change: Set) -> None:
    change("REST_URL", "http://127.0.0.1:1/v1/api/")
    ran = await check("--connect", "--json", "--timeout", "5")
    assert ran.code == 3
    assert "rest_url and the network" in found(ran)["session token"][1]
    assert found(ran)["clock"][0] == "skip"


async def test_one_look_asks_once_whatever_the_answer(check: Any, gateway: PaperGateway, change: Set) -> None:
    change("CONSUMER_KEY", "ZZZZZZZZZ")
    await check("--connect")
    assert asked(gateway) == ["oauth_refused"]


# --- the configuration the backend is given ---------------------------------------------------------------------------


def _settings() -> Any:
    return load_settings()


async def test_ibind_gets_what_was_checked_and_nothing_of_its_own_environment(
    environ: dict[str, str], registration: keys.Registration, gateway: PaperGateway
) -> None:
    settings = _settings()
    config = ibind_config(settings.oauth, Secrets.of(settings))
    assert config.consumer_key == registration.server.consumer_key
    assert config.dh_prime == registration.prime_hex.lstrip("0")
    assert config.oauth_rest_url == gateway.web.url
    alone = (config.init_oauth, config.maintain_oauth, config.init_brokerage_session, config.shutdown_oauth)
    assert not any(alone)
    assert (config.signature_key_fp, config.encryption_key_fp) == (None, None)
    config.verify_config()
    assert copy.copy(config).copy(realm="other").realm == "other"


async def test_the_configuration_shows_no_secret_and_is_not_pickled(
    environ: dict[str, str], registration: keys.Registration
) -> None:
    settings = _settings()
    secrets = Secrets.of(settings)
    config = ibind_config(settings.oauth, secrets)
    with pytest.raises(TypeError, match="not pickled") as caught:
        pickle.dumps(config)
    told = [read.to_dict() for read in secrets.unwritten]
    texts = (repr(config), str(config), f"{config}", repr(settings), repr(secrets), str(told), str(caught.value))
    nothing_shown(" ".join(texts), registration)


async def test_everything_wrong_is_told_in_one_error_without_a_value(
    change: Set, registration: keys.Registration, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    change("DH_PRIME", registration.prime_hex[:-2] + "zz")
    change("ACCESS_TOKEN_SECRET", registration.access_token_secret[:-9])
    settings = _settings()
    with pytest.raises(ConfigurationError) as caught:
        ibind_config(settings.oauth, Secrets.of(settings))
    error = caught.value
    assert "oauth.access_token_secret" in error.message
    assert "oauth.dh_prime" in error.message
    assert error.retryable is False
    told = f"{error} {error!r} {error.to_dict()} {error.context} {pickle.dumps(error)!r}"
    nothing_shown(told + caplog.text, registration)


async def test_a_source_that_is_away_makes_the_error_one_to_try_again(change: Set) -> None:
    class Away:
        kind = "vault"

        def get(self, name: str) -> Secret:
            raise ConfigurationError("vault:x cannot be had: Vault cannot be reached.", retryable=True)

    change("ACCESS_TOKEN", "vault:a/b#c")
    settings = _settings()
    with pytest.raises(ConfigurationError) as caught:
        ibind_config(settings.oauth, Secrets.of(settings, sources={"vault": Away()}))
    assert caught.value.retryable is True


async def test_a_rotated_token_counts_from_the_next_login_on(
    change: Set, environ: dict[str, str], folder: Path
) -> None:
    file = folder / "token"
    file.write_text("old0old0old0old0old0")
    file.chmod(0o600)
    change("ACCESS_TOKEN", f"file:{file}")
    settings = _settings()
    source = oauth_source(settings, Secrets.of(settings))
    assert source is not None
    assert source().access_token == "old0old0old0old0old0"
    file.write_text("new1new1new1new1new1")
    assert source().access_token == "new1new1new1new1new1"
    off = replace(settings, oauth=settings.oauth.model_copy(update={"enabled": "no"}))
    assert oauth_source(off, Secrets.of(off)) is None


async def test_keys_read_once_are_not_read_again_from_the_disk(environ: dict[str, str], folder: Path) -> None:
    settings = _settings()
    config = ibind_config(settings.oauth, Secrets.of(settings))
    shutil.rmtree(folder)
    from ibind.oauth.oauth1a import prepare_oauth

    assert prepare_oauth(config)


# --- a connector over OAuth -------------------------------------------------------------------------------------------


async def test_a_connector_signs_in_and_its_audit_trail_has_every_reading(
    make_web: Any,
    environ: dict[str, str],
    gateway: PaperGateway,
    registration: keys.Registration,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    connector = make_web()
    await connector.connect()
    assert len(gateway.truth.of("oauth_token")) == 1
    assert refusals(gateway) == []
    await connector.close()
    capfd.readouterr()
    assert main(["audit", "export"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    read = [json.loads(line["data"]) for line in lines if line["kind"] == "secret_read"]
    assert {one["secret"] for one in read} == {
        "oauth.consumer_key",
        "oauth.access_token",
        "oauth.access_token_secret",
        "oauth.dh_prime",
        "oauth.signature_key_file",
        "oauth.encryption_key_file",
    }
    assert all(one["by"] == "web backend" and one["read"] for one in read)
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    kept = "".join(path.read_bytes().decode("latin-1") for path in files)
    nothing_shown(f"{caplog.text} {lines} {kept} {connector!r} {connector.settings!r}", registration)
