"""Keys and numbers of OAuth: every form they come in, and every way to get them wrong."""

from __future__ import annotations

import base64
from typing import Any

import pytest

pytest.importorskip("Crypto", reason="needs the extra oauth")

from Crypto.Cipher import PKCS1_v1_5
from Crypto.PublicKey import ECC, RSA
from Crypto.Util.asn1 import DerSequence

from ibkr_connector.backends.web.oauth_keys import (
    PrivateKey,
    UnusableKey,
    decrypt,
    encrypted_secret,
    prime_number,
    private_key,
)
from ibkr_connector.paper.web.oauth.keys import PRIME_HEX

PRIME = PRIME_HEX.lower()
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def rsa() -> RSA.RsaKey:
    return RSA.generate(2048)


def pem(key: RSA.RsaKey, **options: Any) -> str:
    made: bytes = key.export_key(**options)
    return made.decode()


def complaint(what: object, *arguments: object) -> UnusableKey:
    with pytest.raises(UnusableKey) as caught:
        what(*arguments)  # type: ignore[operator]
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize("options", [{}, {"pkcs": 8}])
def test_both_forms_of_a_private_key_are_read(rsa: RSA.RsaKey, options: dict[str, Any]) -> None:
    made = private_key(f"some words before it\n{pem(rsa, **options)}\n")
    assert made.bits == 2048
    assert made.same_as(private_key(pem(rsa)))
    assert "BEGIN" not in repr(made)
    assert str(rsa.d) not in repr(made)


def test_what_is_no_usable_private_key_is_told_apart(rsa: RSA.RsaKey) -> None:
    assert "public half" in complaint(private_key, pem(rsa.public_key())).found
    assert "passphrase" in complaint(private_key, pem(rsa, passphrase="x", pkcs=8)).found
    assert "passphrase" in complaint(private_key, pem(rsa, passphrase="x", pkcs=1)).found
    assert "PEM form" in complaint(private_key, "MIIEvQIBADANBg").found
    whole = pem(rsa)
    assert "damaged" in complaint(private_key, whole[:400] + whole[-200:]).found
    ec = ECC.generate(curve="P-256").export_key(format="PEM")
    assert "no RSA key" in complaint(private_key, ec).found
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    assert "certificate" in complaint(private_key, certificate).found


def test_a_prime_is_read_in_every_form_openssl_prints() -> None:
    pairs = ":".join(PRIME[at : at + 2] for at in range(0, len(PRIME), 2))
    lines = "\n".join(f"    {pairs[at : at + 45]}" for at in range(0, len(pairs), 45))
    der = base64.encodebytes(DerSequence([int(PRIME, 16), 2]).encode()).decode()
    parameters = f"-----BEGIN DH PARAMETERS-----\n{der}-----END DH PARAMETERS-----\n"
    for text in (PRIME, PRIME.upper(), f"0x{PRIME}", f"00:{lines}", f" {PRIME}\n", parameters):
        assert prime_number(text) == PRIME


def test_what_is_no_prime_is_refused() -> None:
    assert "not hexadecimal" in complaint(prime_number, f"{PRIME[:-1]}g").found
    assert "not hexadecimal" in complaint(prime_number, "").found
    assert "not prime" in complaint(prime_number, f"{PRIME[:-1]}d").found
    assert "bits is no prime" in complaint(prime_number, PRIME[:100]).found
    assert "not hexadecimal" in complaint(prime_number, "f" * 100_000).found
    assert "no Diffie-Hellman" in complaint(prime_number, "-----BEGIN X-----\nMIIB\n-----END X-----").found
    for damaged in ("MIIB", "!!", "MAA="):
        text = f"-----BEGIN DH PARAMETERS-----\n{damaged}\n-----END DH PARAMETERS-----"
        assert "damaged" in complaint(prime_number, text).found


def test_a_secret_opens_with_the_key_it_was_made_for_alone(rsa: RSA.RsaKey) -> None:
    mine, other = private_key(pem(rsa)), private_key(pem(RSA.generate(1024)))
    sealed = PKCS1_v1_5.new(rsa.public_key()).encrypt(SECRET)
    assert decrypt(encrypted_secret(base64.encodebytes(sealed).decode()), mine) == SECRET
    assert decrypt(sealed, other) is None
    assert decrypt(bytes([255]) * 256, mine) is None
    assert decrypt(sealed[:-1], mine) is None
    assert isinstance(mine, PrivateKey)


def test_a_secret_that_was_not_copied_whole_is_told() -> None:
    for text in ("abc", "ab=c", "äöü", "", " \n"):
        assert "portal" in complaint(encrypted_secret, text).fix
