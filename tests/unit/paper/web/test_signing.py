"""What is signed, byte for byte: against values worked out by hand and against ibind where it can sign."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.web.oauth.signing import (
    HeaderError,
    base_string,
    candidates,
    parse_header,
    session_token,
    sign,
    to_java_bytes,
    token_signature,
)

URL = "http://127.0.0.1:5000/v1/api/tickle"
PARAMETERS = {"oauth_token": "t", "oauth_consumer_key": "K", "realm": "limited_poa", "oauth_signature": "x"}


def test_a_base_string_has_sorted_parameters_without_realm_and_signature() -> None:
    expected = "POST&http%3A%2F%2F127.0.0.1%3A5000%2Fv1%2Fapi%2Ftickle&oauth_consumer_key%3DK%26oauth_token%3Dt"
    assert base_string("POST", URL, PARAMETERS) == expected
    assert base_string("POST", URL, PARAMETERS, "c0ffee") == "c0ffee" + expected


def test_a_query_can_be_signed_in_three_ways_the_usual_first() -> None:
    forms = candidates("GET", URL, [("b", "2")], "b=2", PARAMETERS)
    assert forms[0] == base_string("GET", URL, PARAMETERS)
    assert forms[1].endswith("&b%3D2%26oauth_consumer_key%3DK%26oauth_token%3Dt")
    assert "tickle%3Fb%3D2&" in forms[2]
    assert candidates("GET", URL, [], "", PARAMETERS) == forms[:1]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0x7F, b"\x7f"), (0x80, b"\x00\x80"), (0xFF, b"\x00\xff"), (0x100, b"\x01\x00"), (1 << 2047, None)],
)
def test_a_shared_secret_has_a_leading_zero_byte_where_its_highest_bit_is_set(
    number: int, expected: bytes | None
) -> None:
    found = to_java_bytes(number)
    assert found == (expected if expected is not None else b"\x00\x80" + bytes(255))


@given(st.integers(min_value=1, max_value=1 << 600))
def test_java_s_bytes_are_the_number_and_never_negative(number: int) -> None:
    data = to_java_bytes(number)
    assert int.from_bytes(data, "big") == number
    assert data[0] < 0x80
    assert len(data) == 1 or data[0] != 0 or data[1] >= 0x80


def test_tokens_and_signatures_are_the_documented_macs() -> None:
    token = session_token(0x80, b"secret")
    assert token == hmac.new(b"\x00\x80", b"secret", hashlib.sha1).digest()
    assert token_signature(token, "TESTCONS") == hmac.new(token, b"TESTCONS", hashlib.sha1).hexdigest()
    assert sign(token, "text") == base64.b64encode(hmac.new(token, b"text", hashlib.sha256).digest()).decode()


def test_a_header_is_read_with_blanks_or_without() -> None:
    read = parse_header('OAuth realm="r", oauth_signature="a%2Bb%3D",oauth_token="t/+="')
    assert read == {"realm": "r", "oauth_signature": "a+b=", "oauth_token": "t/+="}


@pytest.mark.parametrize(
    "text",
    ["", "Bearer x", 'OAuth a="1" b="2"', 'OAuth a="1", a="2"', "OAuth a=1", "OAuth " + 'a="' + "x" * 20_000 + '"'],
)
def test_anything_else_is_no_oauth_header(text: str) -> None:
    with pytest.raises(HeaderError):
        parse_header(text)


@given(st.text(max_size=60))
def test_no_header_breaks_the_reader(text: str) -> None:
    try:
        assert isinstance(parse_header(f"OAuth {text}"), dict)
    except HeaderError:
        return
