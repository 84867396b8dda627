"""Every parameter of OAuth 1.0a, looked at one by one: what is wrong with it, and how to mend it.

The same look serves the backend, which refuses to begin with anything that cannot work, and `oauth check`, which tells
all of it. Nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from ibkr_connector.backends.web.oauth_keys import (
    USUAL_BITS,
    PrivateKey,
    UnusableKey,
    decrypt,
    encrypted_secret,
    prime_number,
    private_key,
)
from ibkr_connector.config.oauth import OAuthSettings
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets import Secret, Secrets

TEST_CONSUMER, TEST_REALM = "TESTCONS", "test_realm"
KEY_LENGTH = 9
_CONSUMER = re.compile(r"[A-Za-z0-9]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")


class Verdict(StrEnum):
    """How one look ended."""

    OK = "ok"
    WARN = "warn"
    """Can work, and somebody should know."""
    FAIL = "fail"
    SKIP = "skip"
    """Could not be looked at, because of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One parameter: what was found (never its value), and what to do."""

    name: str
    """The setting, `oauth.dh_prime`, or what the connection was asked."""
    verdict: Verdict
    found: str
    fix: str = ""
    retryable: bool = False
    """A source of secrets did not answer: the same may go well later."""

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return {"name": self.name, "verdict": self.verdict.value, "found": self.found, "fix": self.fix}


@dataclass(slots=True, repr=False)
class Examination:
    """All steps, and what was read on the way. Its repr shows neither values nor keys."""

    steps: list[Step] = field(default_factory=list)
    consumer_key: str = ""
    access_token: str = ""
    access_token_secret: str = ""
    prime: str = ""
    signature: PrivateKey | None = None
    encryption: PrivateKey | None = None
    secret: bytes = b""
    """The access token's secret, decrypted."""

    def __repr__(self) -> str:
        return f"<Examination: {', '.join(f'{step.name} {step.verdict.value}' for step in self.steps)}>"

    @property
    def failed(self) -> list[Step]:
        """What stands in the way."""
        return [step for step in self.steps if step.verdict is Verdict.FAIL]

    def raise_if_failed(self) -> None:
        """One ConfigurationError with everything that is wrong."""
        failed = self.failed
        if not failed:
            return
        first = failed[0]
        if len(failed) == 1:
            message, remedy = f"{first.name}: {first.found}.", first.fix
        else:
            lines = [f"  {step.name}: {step.found}. {step.fix}" for step in failed]
            message = "\n".join([f"{len(failed)} parameters of OAuth cannot be used:", *lines, ""])
            remedy = "`ibkr-connector oauth check` goes through them one by one."
        raise ConfigurationError(
            message, remedy=remedy, field=first.name, retryable=all(step.retryable for step in failed)
        )


def examine(oauth: OAuthSettings, secrets: Secrets, *, by: str) -> Examination:
    """Read and judge every parameter; nothing is raised, nothing sent. Blocks for as long as the secrets' places do."""
    found = Examination()
    looks = (_address, _consumer, _token, _signature, _encryption, _token_secret, _prime)
    for look in looks:
        found.steps += look(found, oauth, _Reading(oauth, secrets, by))
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    oauth: OAuthSettings
    secrets: Secrets
    by: str

    def __call__(self, key: str, value: SecretStr | Path | None = None) -> str:
        """A secret's text. Raises UnusableKey."""
        given = getattr(self.oauth, key) if value is None else value
        try:
            secret = self.secrets.read(f"oauth.{key}", given, by=self.by)
        except ConfigurationError as error:
            raise _Unread(_bare(error, key), error.remedy, error.retryable) from None
        return secret.reveal()


def _bare(error: ConfigurationError, key: str) -> str:
    return error.message.removeprefix(f"oauth.{key} ").rstrip(".")


class _Unread(UnusableKey):
    def __init__(self, found: str, fix: str, retryable: bool) -> None:
        super().__init__(found, fix)
        self.retryable = retryable


_Look = Callable[[Examination, OAuthSettings, _Reading], Iterator[Step]]


def _ok(key: str, found: str) -> Step:
    return Step(name=f"oauth.{key}", verdict=Verdict.OK, found=found)


def _warn(key: str, found: str, fix: str) -> Step:
    return Step(name=f"oauth.{key}", verdict=Verdict.WARN, found=found, fix=fix)


def _fail(key: str, error: UnusableKey) -> Step:
    return Step(
        name=f"oauth.{key}",
        verdict=Verdict.FAIL,
        found=error.found,
        fix=error.fix,
        retryable=isinstance(error, _Unread) and error.retryable,
    )


def _skip(key: str, why: str) -> Step:
    return Step(name=f"oauth.{key}", verdict=Verdict.SKIP, found=why)


# --- one parameter each ---------------------------------------------------------------------------------------------


def _address(found: Examination, oauth: OAuthSettings, read: _Reading) -> Iterator[Step]:
    if oauth.enabled == "no":
        yield _warn("enabled", "OAuth is switched off", "Set it to yes or auto to sign in with it.")
    path = urlsplit(oauth.rest_url).path
    if not path.endswith("/v1/api/"):
        fix = "IBKR's is https://api.ibkr.com/v1/api/"
        yield _warn("rest_url", f"{oauth.rest_url} does not end in /v1/api/", fix)
    else:
        yield _ok("rest_url", oauth.rest_url)


def _consumer(found: Examination, oauth: OAuthSettings, read: _Reading) -> Iterator[Step]:
    key = "consumer_key"
    try:
        value = read(key)
    except UnusableKey as error:
        yield _fail(key, error)
        return
    if _CONSUMER.fullmatch(value) is None:
        unusable = UnusableKey(
            "it holds something else than letters and digits", "Copy the nine letters of the self-service portal."
        )
        yield _fail(key, unusable)
        return
    found.consumer_key = value
    test = value == TEST_CONSUMER
    if test is not (oauth.realm == TEST_REALM):
        right = TEST_REALM if test else "limited_poa"
        yield _warn("realm", f"{oauth.realm} does not go with this consumer key", f"Set it to {right}.")
    if len(value) != KEY_LENGTH and not test:
        yield _warn(key, f"it has {len(value)} characters", f"IBKR's have {KEY_LENGTH}: copy it from the portal again.")
    else:
        yield _ok(key, f"{len(value)} characters")


def _token(found: Examination, oauth: OAuthSettings, read: _Reading) -> Iterator[Step]:
    key = "access_token"
    try:
        value = read(key)
        if _TOKEN.fullmatch(value) is None:
            raise UnusableKey("it holds blanks or signs that no token has", "Copy it from the portal again.")
    except UnusableKey as error:
        yield _fail(key, error)
        return
    found.access_token = value
    yield _ok(key, f"{len(value)} characters")


def _rsa(key: str, oauth: OAuthSettings, read: _Reading) -> tuple[PrivateKey | None, Step]:
    """One of the two keys, from its file or from where else it is."""
    file: Path | None = getattr(oauth, f"{key}_file")
    name = key if file is None else f"{key}_file"
    if file is None and not getattr(oauth, key).get_secret_value():
        fix = f"Set {key}_file to the private key's file, or {key} to where it is kept."
        return None, _fail(f"{key}_file", UnusableKey("it is not set", fix))
    if file is not None and getattr(oauth, key).get_secret_value():
        fix = f"Keep one of {key} and {key}_file: which key is meant is not guessed."
        return None, _fail(name, UnusableKey(f"{key} is set as well", fix))
    try:
        made = private_key(read(name, file))
    except UnusableKey as error:
        return None, _fail(name, error)
    except ConfigurationError as error:  # the library is missing
        return None, _fail(name, UnusableKey(error.message.rstrip("."), error.remedy))
    if made.bits != USUAL_BITS:
        return made, _warn(name, f"RSA, {made.bits} bits", f"IBKR asks for {USUAL_BITS}: openssl genrsa 2048")
    return made, _ok(name, f"RSA, {made.bits} bits, private")


def _signature(found: Examination, oauth: OAuthSettings, read: _Reading) -> Iterator[Step]:
    found.signature, step = _rsa("signature_key", oauth, read)
    yield step


def _encryption(found: Examination, oauth: OAuthSettings, read: _Reading) -> Iterator[Step]:
    found.encryption, step = _rsa("encryption_key", oauth, read)
    yield step
    if found.encryption is not None and found.signature is not None and found.encryption.same_as(found.signature):
        fix = "Name the other file for one of them, or register a key pair for each purpose."
        yield _warn("encryption_key", "signature key and encryption key are the same key", fix)


def _token_secret(found: Examination, oauth: OAuthSettings, read: _Reading) -> Iterator[Step]:
    key = "access_token_secret"
    try:
        text = read(key)
        data = encrypted_secret(text)
    except UnusableKey as error:
        yield _fail(key, error)
        return
    found.access_token_secret = "".join(text.split())
    if found.encryption is None:
        yield _skip(key, "needs the encryption key")
        return
    plain = decrypt(data, found.encryption)
    if plain is not None:
        found.secret = plain
        # It is what session tokens are made of: masked in every log from now on.
        Secret(plain.hex())
        yield _ok(key, "the encryption key opens it")
        return
    yield _fail(key, _unopened(data, found))


def _unopened(data: bytes, found: Examination) -> UnusableKey:
    """Why the encryption key does not open the secret."""
    encryption = found.encryption
    if found.signature is not None and decrypt(data, found.signature) is not None:
        return UnusableKey(
            "the signature key opens it, not the encryption key: the two are swapped",
            "Exchange encryption_key_file and signature_key_file.",
        )
    if encryption is not None and len(data) != (encryption.bits + 7) // 8:
        return UnusableKey(
            f"it has {len(data)} bytes, which does not go with an encryption key of {encryption.bits} bits",
            "Copy it anew from the portal, whole; else make a new access token.",
        )
    return UnusableKey(
        "the encryption key does not open it: it was made for another key",
        "Use the private key whose public half is in the portal; or upload that one's, and make a new access token.",
    )


def _prime(found: Examination, oauth: OAuthSettings, read: _Reading) -> Iterator[Step]:
    key = "dh_prime"
    try:
        found.prime = prime_number(read(key))
    except UnusableKey as error:
        yield _fail(key, error)
        return
    except ConfigurationError as error:
        yield _fail(key, UnusableKey(error.message.rstrip("."), error.remedy))
        return
    Secret(found.prime)
    bits = int(found.prime, 16).bit_length()
    if bits != USUAL_BITS:
        yield _warn(key, f"prime, {bits} bits", f"IBKR asks for {USUAL_BITS}: openssl dhparam -out dhparam.pem 2048")
    else:
        yield _ok(key, f"prime, {bits} bits")
