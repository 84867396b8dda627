"""Without the extra `oauth` the settings still load, and whoever asks is told what to install."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from ibkr_connector.backends.web.oauth import ibind_config, oauth_source
from ibkr_connector.backends.web.oauth_checks import examine
from ibkr_connector.config import load_settings
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets import Secrets

PEM = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"
ENVIRON = {
    "IBKR_OAUTH_CONSUMER_KEY": "ABCDEFGHI",
    "IBKR_OAUTH_ACCESS_TOKEN": "a1b2c3d4e5f6",
    "IBKR_OAUTH_ACCESS_TOKEN_SECRET": "QUJD",
    "IBKR_OAUTH_DH_PRIME": "f" * 512,
    "IBKR_OAUTH_SIGNATURE_KEY": PEM,
    "IBKR_OAUTH_ENCRYPTION_KEY": PEM,
}


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pycryptodome."""
    real = importlib.import_module

    def gone(name: str, package: str | None = None) -> Any:
        if name.startswith("Crypto"):
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", gone)


def test_a_missing_extra_is_named() -> None:
    settings = load_settings(environ=ENVIRON)
    secrets = Secrets.of(settings, environ={})
    assert oauth_source(settings, secrets) is not None  # nothing is loaded before it is needed
    with pytest.raises(ConfigurationError) as caught:
        ibind_config(settings.oauth, secrets)
    assert "pip install 'ibkr-connector[oauth]'" in caught.value.remedy


def test_the_check_names_it_too() -> None:
    settings = load_settings(environ=ENVIRON)
    failed = examine(settings.oauth, Secrets.of(settings, environ={}), by="test").failed
    assert {step.name for step in failed} == {"oauth.signature_key", "oauth.encryption_key", "oauth.dh_prime"}
    assert all("ibkr-connector[oauth]" in step.fix for step in failed)


def test_without_oauth_there_is_no_source() -> None:
    settings = load_settings(environ={})
    assert oauth_source(settings, Secrets.of(settings)) is None
