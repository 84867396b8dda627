"""`[web]`: what is refused before a byte of it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_connector.config.load import load_settings
from ibkr_connector.errors import ConfigurationError


def load(tmp_path: Path, **web: object) -> object:
    return load_settings(overrides={"web": web}, environ={}, cwd=tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1/api/",
        "http://10.0.0.1:5000/v1/api/",
        "ftp://127.0.0.1/",
        "https://user:pass@127.0.0.1/v1/api/",
        "https://127.0.0.1:99999/v1/api/",
        "https://127.0.0.1/v1/api/?x=1",
        "127.0.0.1:5000",
    ],
)
def test_an_address_that_would_leak_or_reach_nobody_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="url"):
        load(tmp_path, url=url)


def test_certificates_go_unchecked_on_this_machine_only(tmp_path: Path) -> None:
    load(tmp_path, verify_tls=False)
    with pytest.raises(ConfigurationError, match="this machine only"):
        load(tmp_path, url="https://example.org/v1/api/", verify_tls=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:5000/v1/api/", "http://localhost/v1/api/", "http://[::1]:1/"])
def test_plain_http_is_possible_on_this_machine(tmp_path: Path, url: str) -> None:
    load(tmp_path, url=url)


def test_a_question_that_is_to_be_confirmed_is_named_by_its_id(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no message id"):
        load(tmp_path, confirm="o163, price exceeds")
