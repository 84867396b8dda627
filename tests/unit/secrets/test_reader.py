"""Every reading of a secret is a line of the audit trail, before there is one too; no line holds a value."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.config import load_settings
from ibkr_connector.config.secretspec import SecretSpec
from ibkr_connector.errors import ConfigurationError, JournalError
from ibkr_connector.secrets import Secret, Secrets
from ibkr_connector.secrets.reader import _KEPT

VALUE = "tr0ub4dor-and-3"
Line = tuple[str, Mapping[str, object]]


class Own:
    """A place of our own."""

    kind = "vault"

    def get(self, name: str) -> Secret:
        """See `SecretSource.get`."""
        return Secret(f"{VALUE}-{name}")


def reader(**environ: str) -> Secrets:
    settings = load_settings(environ={"IBKR_OAUTH_ACCESS_TOKEN": VALUE})
    return Secrets.of(settings, environ=environ, clock=ManualClock(), sources={"vault": Own()})


def test_a_reading_says_what_by_whom_and_from_where_but_not_the_value(tmp_path: Path) -> None:
    secrets = reader(A=VALUE)
    file = tmp_path / "s"
    file.write_text(VALUE)
    file.chmod(0o600)
    assert secrets.read("oauth.access_token", SecretSpec(VALUE), by="test").reveal() == VALUE
    assert secrets.read("oauth.dh_prime", SecretSpec("env:A"), by="test").reveal() == VALUE
    assert secrets.read("oauth.consumer_key", SecretSpec("vault:x/y#z"), by="test").reveal() == f"{VALUE}-x/y#z"
    assert secrets.read("oauth.signature_key_file", file, by="test").reveal() == VALUE
    told = [read.to_dict() for read in secrets.unwritten]
    assert [(line["secret"], line["source"], line["where"]) for line in told] == [
        ("oauth.access_token", "environment", "IBKR_OAUTH_ACCESS_TOKEN"),
        ("oauth.dh_prime", "env", "A"),
        ("oauth.consumer_key", "vault", "x/y#z"),
        ("oauth.signature_key_file", "file", str(file)),
    ]
    assert all(line["by"] == "test" and line["read"] and line["at"] == "2026-01-05T15:00:00+00:00" for line in told)
    assert VALUE not in json.dumps(told) + repr(secrets.unwritten) + repr(secrets)


def test_a_reading_that_failed_is_a_line_too() -> None:
    secrets = reader()
    for name, spec in (("oauth.access_token", "env:NOT_SET"), ("oauth.realm", "")):
        with pytest.raises(ConfigurationError) as caught:
            secrets.read(name, SecretSpec(spec), by="test")
        assert caught.value.context["field"] == name
    assert [line.read for line in secrets.unwritten] == [False, False]


def test_what_was_read_before_there_was_a_journal_is_written_once_there_is_one() -> None:
    secrets, lines = reader(), list[Line]()
    secrets.read("oauth.access_token", SecretSpec(VALUE), by="first")
    secrets.attach(lambda kind, data: lines.append((kind, data)))
    secrets.read("oauth.access_token", SecretSpec(VALUE), by="second")
    assert [(kind, data["by"]) for kind, data in lines] == [("secret_read", "first"), ("secret_read", "second")]
    assert secrets.unwritten == ()


def test_a_journal_that_cannot_be_written_keeps_no_secret_from_being_read() -> None:
    secrets, lines = reader(), list[Line]()

    def full(kind: str, data: Mapping[str, object]) -> None:
        raise JournalError("the disk is full.")

    secrets.attach(full)
    assert secrets.read("oauth.access_token", SecretSpec(VALUE), by="x").reveal() == VALUE
    assert len(secrets.unwritten) == 1
    secrets.attach(lambda kind, data: lines.append((kind, data)))
    assert len(lines) == 1


def test_readings_without_end_are_counted_not_kept_without_end() -> None:
    secrets, lines = reader(), list[Line]()
    for _ in range(_KEPT + 3):
        secrets.read("oauth.access_token", SecretSpec(VALUE), by="x")
    secrets.attach(lambda kind, data: lines.append((kind, data)))
    assert len(lines) == _KEPT + 1
    assert lines[0][1] == {"forgotten": 3}


def test_a_reading_is_logged_without_the_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reader(A=VALUE).read("oauth.access_token", SecretSpec("env:A"), by="test")
    assert "oauth.access_token" in caplog.text
    assert VALUE not in caplog.text
