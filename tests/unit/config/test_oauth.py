"""`[oauth]`: both libraries' variables, references instead of values, and no value shown anywhere."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from ibkr_connector.config import load_settings
from ibkr_connector.config.oauth import OAuthSettings
from ibkr_connector.config.secretspec import Reference, SecretSpec, parse_reference
from ibkr_connector.config.settings import field_specs, show
from ibkr_connector.errors import ConfigurationError

TOKEN = "a1b2c3d4e5f6a7b8c9d0"
ALSO = {spec.key: (spec.env, spec.info.also) for spec in field_specs() if spec.section == "oauth" and spec.info.also}
VALUES = {
    "enabled": "yes",
    "dh_generator": "3",
    "realm": "test_realm",
    "rest_url": "https://1.api.ibkr.com/v1/api/",
    "ws_url": "wss://1.api.ibkr.com/v1/api/ws",
    "live_session_token_endpoint": "oauth/other",
    "signature_key_file": "/keys/s.pem",
    "encryption_key_file": "/keys/e.pem",
}


@pytest.mark.parametrize("key", sorted(ALSO))
def test_both_libraries_variables_set_a_key_alone_and_agreeing(key: str) -> None:
    ours, theirs = ALSO[key]
    value = VALUES.get(key, TOKEN)
    found = []
    for environ in ({ours: value}, {theirs: value}, {ours: value, theirs: value}):
        settings = load_settings(environ=environ)
        found.append(getattr(settings.oauth, key))
        assert settings.origin_of(f"oauth.{key}").where == next(iter(environ))
    assert found[0] == found[1] == found[2] != getattr(OAuthSettings(), key)


@pytest.mark.parametrize("key", sorted(ALSO))
def test_variables_that_differ_are_refused_without_showing_either(key: str) -> None:
    ours, theirs = ALSO[key]
    other = {"enabled": "no", "dh_generator": "5"}.get(key, "another-9f8e7d6c")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={ours: VALUES.get(key, TOKEN), theirs: other})
    text = f"{caught.value} {caught.value.context}"
    assert ours in text
    assert theirs in text
    assert "differ" in text
    assert f"oauth.{key}" in text
    assert TOKEN not in text


def test_an_argument_beats_both_variables() -> None:
    environ = {"IBKR_OAUTH_REALM": "a", "IBIND_OAUTH1A_REALM": "a"}
    assert load_settings(environ=environ, overrides={"oauth": {"realm": "b"}}).oauth.realm == "b"


def test_a_slash_at_the_end_is_no_difference() -> None:
    environ = {"IBKR_OAUTH_REST_URL": "https://x.com/v1/api", "IBIND_OAUTH1A_REST_URL": "https://x.com/v1/api/"}
    assert load_settings(environ=environ).oauth.rest_url == "https://x.com/v1/api/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:/run/secrets/a b", Reference("file", "/run/secrets/a b")),
        ("env:MY_TOKEN", Reference("env", "MY_TOKEN")),
        ("keyring:ibkr/access_token", Reference("keyring", "ibkr/access_token")),
        ("vault:secret/ibkr/paper#token", Reference("vault", "secret/ibkr/paper#token")),
        (TOKEN, None),
        ("https://somewhere", None),
        ("", None),
    ],
)
def test_what_is_a_reference_and_what_a_value(text: str, expected: Reference | None) -> None:
    assert parse_reference(text) == expected
    assert SecretSpec(text).reference == expected
    assert expected is None or str(expected) == text


@pytest.mark.parametrize(
    "text", ["file:", "env:A-B", "env:", "keyring:only", "vault:secret/a", "vault:secret#a", "vault:"]
)
def test_a_malformed_reference_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"should look like {text.partition(':')[0]}:"):
        load_settings(environ={"IBKR_OAUTH_ACCESS_TOKEN": text})


def test_values_are_masked_and_references_shown_with_their_origin(tmp_path: Path) -> None:
    file = tmp_path / "a.ini"
    file.write_text("[oauth]\naccess_token_secret = file:secret\nsignature_key_file = keys/s.pem\n")
    file.chmod(0o644)
    environ = {"IBKR_OAUTH_ACCESS_TOKEN": TOKEN, "IBIND_OAUTH1A_DH_PRIME": "vault:secret/ibkr#prime"}
    settings = load_settings(file, environ=environ)
    rows = {row.key: row for row in settings.describe() if row.section == "oauth"}
    assert (rows["access_token"].value, rows["dh_prime"].value) == ("********", "vault:secret/ibkr#prime")
    assert rows["dh_prime"].origin == "environment variable IBIND_OAUTH1A_DH_PRIME"
    assert rows["access_token_secret"].value == f"file:{tmp_path / 'secret'}"
    assert rows["access_token_secret"].origin == f"{file}:2"
    assert settings.oauth.signature_key_file == tmp_path / "keys/s.pem"
    assert settings.notes == ()  # the file holds no secret, only where one is
    assert TOKEN not in f"{settings!r} {settings.oauth} {[row.to_dict() for row in settings.describe()]}"


def test_a_value_in_a_file_that_others_can_read_is_a_remark(tmp_path: Path) -> None:
    file = tmp_path / "a.ini"
    file.write_text(f"[oauth]\naccess_token = {TOKEN}\n")
    file.chmod(0o644)
    notes = load_settings(file, environ={}).notes
    assert any("chmod 600" in note for note in notes)
    assert not any(TOKEN in note for note in notes)


def test_settings_with_secrets_are_not_pickled() -> None:
    settings = load_settings(environ={"IBKR_OAUTH_ACCESS_TOKEN": TOKEN})
    with pytest.raises(TypeError, match="not pickled") as caught:
        pickle.dumps(settings.oauth)
    assert TOKEN not in str(caught.value)
    assert copy.deepcopy(settings.oauth) == settings.oauth


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"IBKR_OAUTH_REST_URL": "http://api.ibkr.com/v1/api/"}, "should begin with https"),
        ({"IBKR_OAUTH_REST_URL": "https://me:hunter22@api.ibkr.com/v1/api/"}, "neither user, password"),
        ({"IBKR_OAUTH_REST_URL": "api.ibkr.com"}, "an address like https://api.ibkr.com"),
        ({"IBKR_OAUTH_REST_URL": "https://[::1/"}, "cannot be read"),
        ({"IBKR_OAUTH_WS_URL": "ws://api.ibkr.com/ws"}, "should begin with wss"),
        ({"IBKR_OAUTH_ENABLED": "maybe"}, "enabled"),
    ],
)
def test_what_cannot_be_right_is_refused(environ: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as caught:
        load_settings(environ=environ)
    assert "hunter22" not in f"{caught.value} {caught.value.context}"


def test_it_is_in_use_when_asked_for_or_when_there_is_a_consumer_key() -> None:
    def used(**environ: str) -> bool:
        return load_settings(environ=environ).oauth.in_use

    assert not used()
    assert used(IBKR_OAUTH_CONSUMER_KEY="ABCDEFGHI")
    assert used(IBIND_USE_OAUTH="True")
    assert not used(IBIND_USE_OAUTH="False", IBKR_OAUTH_CONSUMER_KEY="ABCDEFGHI")
    assert OAuthSettings.model_validate({"enabled": True}).in_use


def test_the_socket_s_address_follows_the_other_unless_given() -> None:
    assert OAuthSettings().socket_url == "wss://api.ibkr.com/v1/api/ws"
    assert OAuthSettings(rest_url="http://127.0.0.1:5000/v1/api").socket_url == "ws://127.0.0.1:5000/v1/api/ws"
    assert OAuthSettings(ws_url="wss://a.b/ws").socket_url == "wss://a.b/ws"
    assert show(SecretSpec("")) == ""
