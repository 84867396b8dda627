"""Secrets: the value shows nowhere but in reveal(), and no careless file is read."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
from pathlib import Path

import pytest

from ibkr_connector.errors import ConfigurationError
from ibkr_connector.logs import redact
from ibkr_connector.secrets import (
    MAX_FILE_BYTES,
    DirectorySecrets,
    EnvironmentSecrets,
    Secret,
    find_secret,
    read_secret_file,
)

VALUE = "tr0ub4dor&3"
posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A secret's file as it should be."""
    path = tmp_path / "secret"
    path.write_text(f"{VALUE}\n")
    path.chmod(0o600)
    return path


def test_no_text_made_of_a_secret_shows_it() -> None:
    secret = Secret(VALUE)
    texts = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s %r" % (secret, secret)]  # noqa: UP031
    texts += [str([secret]), str({"k": secret}), json.dumps({"k": secret}, default=str)]
    assert not any(VALUE in text for text in texts)
    assert all("****" in text for text in texts)
    assert secret.reveal() == VALUE


def test_a_secret_leaves_no_value_in_a_pickle_or_a_copy() -> None:
    for make in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled") as caught:
            make(Secret(VALUE))
        assert VALUE not in str(caught.value)
    assert not hasattr(Secret(VALUE), "__dict__")


def test_an_error_about_a_secret_does_not_show_it() -> None:
    secret = Secret(VALUE)
    error = ConfigurationError("bad password", field="connection.password", value=secret)
    assert VALUE not in f"{error} {error!r} {error.to_dict()} {error.context}"


def test_secrets_compare_by_value_and_only_with_secrets() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("é") != Secret("e")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert (bool(Secret("")), bool(Secret("a")), str(Secret(""))) == (False, True, "")


def test_a_secret_is_masked_in_logs_from_its_creation(caplog: pytest.LogCaptureFixture) -> None:
    value = "created-not-revealed"
    Secret(value)
    logging.getLogger("ibkr_connector.anything").warning("got %s", value)
    assert value not in caplog.text
    assert value not in redact(f"text {value}")


def test_the_environment_gives_a_value_or_the_file_it_names(file: Path) -> None:
    source = EnvironmentSecrets({"A": "one", "B_FILE": str(file), "EMPTY": ""})
    assert source.get("A") == Secret("one")
    assert source.get("B") == Secret(VALUE)
    assert (source.get("EMPTY"), source.get("C")) == (None, None)


def test_a_folder_of_secrets_is_read_by_name_and_never_left(file: Path) -> None:
    source = DirectorySecrets(file.parent)
    assert source.get("SECRET") == Secret(VALUE)
    assert source.get("other") is None
    assert source.get("../" + file.parent.name + "/secret") is None
    assert source.get("") is None


def test_the_first_source_that_knows_wins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = (EnvironmentSecrets({}), DirectorySecrets(file.parent), EnvironmentSecrets({"secret": "late"}))
    assert find_secret("secret", *sources) == Secret(VALUE)
    assert find_secret("nothing", *sources) is None
    monkeypatch.setenv("IBKR_TEST_SECRET", "from the environment")
    assert find_secret("IBKR_TEST_SECRET") == Secret("from the environment")


def test_one_line_break_at_the_end_is_not_part_of_it(file: Path) -> None:
    file.write_bytes(b" two words \r\n")
    assert read_secret_file(file) == Secret(" two words ")


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_open_to_others_is_refused_with_the_remedy(mode: int, file: Path) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match="open to other users") as caught:
        read_secret_file(file)
    assert "chmod 600" in caught.value.remedy
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "not UTF-8"), (b"x" * (MAX_FILE_BYTES + 1), "larger than")],
)
def test_a_file_that_holds_no_secret_is_refused(content: bytes, problem: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem):
        read_secret_file(file)


@posix
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a regular file"):
        read_secret_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        read_secret_file(tmp_path / "pipe")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_secret_file(tmp_path / "none")
