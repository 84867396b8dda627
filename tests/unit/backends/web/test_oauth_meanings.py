"""What a refusal of a session token is taken to mean."""

from __future__ import annotations

import pytest

from ibkr_connector.backends.web.oauth_probe import meaning


@pytest.mark.parametrize(
    ("why", "about"),
    [
        ("invalid consumer", "oauth.consumer_key"),
        ("No access secret key found", "oauth.access_token"),
        ("invalid signature", "oauth.signature_key"),
        ("oauth_timestamp is out of range: check the clock", "clock"),
        ("nonce was used before", "session token"),
        ("invalid diffie_hellman_challenge", "oauth.dh_prime"),
        ("", "oauth.consumer_key"),
    ],
)
def test_a_refusal_names_the_parameter_it_is_about(why: str, about: str) -> None:
    found = meaning(f"a live session token: id: 118871, error: LST failed, error: {why}.")
    assert found.about == about
    assert found.fix


def test_a_token_that_does_not_match_is_about_the_prime() -> None:
    assert meaning("the answer was not signed with the token we computed.").about == "oauth.dh_prime"
