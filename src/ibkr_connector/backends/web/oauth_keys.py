"""Keys and numbers of OAuth 1.0a, judged before anything is sent: pure functions on text.

Every complaint is an `UnusableKey`, whose words quote nothing of what was looked at.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import re
from dataclasses import dataclass
from typing import Any

from ibkr_connector.errors import ConfigurationError

USUAL_BITS = 2048
"""Size of the RSA keys and of the Diffie-Hellman prime that IBKR asks for."""
_LEAST_BITS, _MOST_BITS = 1024, 8192
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,64})-----(.*?)-----END \1-----", re.DOTALL)


class UnusableKey(ValueError):
    """A key or a number cannot be used: what is wrong, and how to mend it."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(found)
        self.found = found
        self.fix = fix


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An RSA private key that can be used. Its repr shows its size alone."""

    pem: str
    bits: int
    key: Any

    def __repr__(self) -> str:
        return f"<PrivateKey, {self.bits} bits>"

    def same_as(self, other: PrivateKey) -> bool:
        """Whether both are one key."""
        return bool(self.key.n == other.key.n)


def crypto(module: str) -> Any:
    """A module of pycryptodome, which ibind signs with. Raises ConfigurationError naming the extra."""
    try:
        return importlib.import_module(f"Crypto.{module}")
    except ImportError:
        raise ConfigurationError(
            "OAuth needs the pycryptodome library, which is not installed.",
            remedy="Install the extra: pip install 'ibkr-connector[oauth]'.",
            field="oauth.enabled",
        ) from None


def private_key(text: str) -> PrivateKey:
    """The RSA private key in a PEM text. Raises UnusableKey."""
    match = _PEM.search(text)
    if match is None:
        raise UnusableKey("there is no key in PEM form", "Name the file that begins with -----BEGIN PRIVATE KEY-----.")
    label = match[1]
    if "PRIVATE KEY" not in label:
        what = "the public half of a key" if "PUBLIC" in label else f"something else ({label.lower()})"
        raise UnusableKey(f"it is {what}", "Name the private key: the portal got the public half, you keep this one.")
    if "ENCRYPTED" in label or "ENCRYPTED" in match[2]:
        raise UnusableKey(
            "the key is locked with a passphrase",
            "Store it without one (openssl pkey -in KEY.pem -out PLAIN.pem), readable by its owner alone.",
        )
    rsa = crypto("PublicKey.RSA")
    try:
        key = rsa.import_key(match[0])
    except (ValueError, IndexError, TypeError):
        remedy = "Make the pair anew (openssl genrsa -out private.pem 2048) and register its public half."
        raise UnusableKey("the key is damaged, or no RSA key", remedy) from None
    if not key.has_private() or key.size_in_bits() < _LEAST_BITS:
        raise UnusableKey(
            f"an RSA key of {key.size_in_bits()} bits is too weak",
            "Make one of 2048: openssl genrsa -out private.pem 2048",
        )
    return PrivateKey(match[0], int(key.size_in_bits()), key)


def prime_number(text: str) -> str:
    """The Diffie-Hellman prime as bare hexadecimal digits, from digits, from openssl's listing or a PEM file.

    Raises UnusableKey.
    """
    match = _PEM.search(text)
    number = _of_parameters(match) if match is not None else _of_digits(text)
    if not _LEAST_BITS <= number.bit_length() <= _MOST_BITS:
        raise UnusableKey(
            f"a number of {number.bit_length()} bits is no prime of {USUAL_BITS}",
            "Take all digits of the prime: openssl asn1parse < dhparam.pem",
        )
    if not crypto("Util.number").isPrime(number):
        raise UnusableKey("the number is not prime", "Take all digits of the prime: openssl asn1parse < dhparam.pem")
    return f"{number:x}"


def _of_digits(text: str) -> int:
    digits = re.sub(r"[\s:]", "", text).lower().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-f]+", digits) or len(digits) > _MOST_BITS:
        raise UnusableKey(
            "it is not hexadecimal: digits 0-9 and a-f",
            "Copy the prime of `openssl asn1parse < dhparam.pem`, or name the file: dh_prime = file:/path/dhparam.pem",
        )
    return int(digits, 16)


def _of_parameters(match: re.Match[str]) -> int:
    """The prime in `dhparam.pem`: a sequence of the prime and the generator."""
    fix = "Name the file that `openssl dhparam -out dhparam.pem 2048` wrote."
    if match[1] != "DH PARAMETERS":
        raise UnusableKey("the file holds no Diffie-Hellman parameters", fix)
    try:
        numbers = list(crypto("Util.asn1").DerSequence().decode(base64.b64decode("".join(match[2].split()))))
    except (ValueError, binascii.Error, IndexError):
        raise UnusableKey("the Diffie-Hellman parameters are damaged", fix) from None
    if not numbers or not isinstance(numbers[0], int) or numbers[0] <= 0:
        raise UnusableKey("the Diffie-Hellman parameters are damaged", fix)
    return numbers[0]


def encrypted_secret(text: str) -> bytes:
    """The bytes of the access token's secret, as the portal shows it. Raises UnusableKey."""
    fix = "Copy it anew from the portal, whole and in one line; it is shown only once, else make a new access token."
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise UnusableKey("it is not base64, or not whole", fix) from None
    if not data:
        raise UnusableKey("it is empty", fix)
    return data


def decrypt(secret: bytes, key: PrivateKey) -> bytes | None:
    """The access token's secret (RSA, PKCS#1 v1.5); None: it was not encrypted for this key."""
    if len(secret) != (key.bits + 7) // 8:
        return None
    try:
        plain = crypto("Cipher.PKCS1_v1_5").new(key.key).decrypt(secret, None)
    except ValueError:  # a number beyond the key's modulus
        return None
    return bytes(plain) if plain else None
