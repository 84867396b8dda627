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
    Secret,
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
