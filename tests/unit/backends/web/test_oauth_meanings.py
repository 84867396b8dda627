"""What a refusal of a session token is taken to mean."""

from __future__ import annotations

import pytest

from ibkr_connector.backends.web.oauth_probe import clock_step, meaning


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


def test_the_clock_is_remarked_from_some_seconds_on_and_wrong_from_a_minute() -> None:
    skews = (None, 0.9, -1.4, 4.0, -20.0, 61.0)
    refused = [clock_step(skew, here=False, accepted=False).verdict.value for skew in skews]
    assert refused == ["skip", "ok", "ok", "ok", "warn", "fail"]
    # What the server accepted cannot be wrong for it.
    assert clock_step(61.0, here=False, accepted=True).verdict.value == "warn"
    assert "20 s behind" in clock_step(-20.0, here=False, accepted=False).found
    assert "61 s ahead of" in clock_step(61.0, here=False, accepted=False).found
