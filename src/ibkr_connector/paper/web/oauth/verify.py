"""The server's side of OAuth 1.0a: live session tokens, and a check of every request's signature.

Every reason to refuse has its own words, in the answer and in the truth log; none of them quotes a secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from .. import BASE
from ..calls import Json, WebError
from .signing import HeaderError, base_string, candidates, parse_header, session_token, sign, token_signature

if TYPE_CHECKING:
    from ..hub import WebHub
    from .keys import OAuthSecrets

CLOCK_WINDOW: Final = 300.0
"""Seconds a timestamp may be off (illustrative: IBKR documents none)."""
RETRY_WINDOW: Final = 60.0
"""Wire seconds in which the very same request may come again: clients repeat what was lost."""
TOKEN_LIFE: Final = timedelta(hours=24)
MAX_NONCES: Final = 100_000
PATH: Final = f"{BASE}/oauth/live_session_token"
_PRIVATE_BITS: Final = 256


class Verifier:
    """Knows one registered consumer, its live session token, and the nonces it has used."""

    def __init__(self, hub: WebHub, secrets: OAuthSecrets) -> None:
        self._hub = hub
        self._secrets = secrets
        self._strict = hub.options.oauth_strict
        self._bases: list[str] = []
        self._token: bytes | None = None
        self._expires = hub.clock.wall()
        self._nonces: dict[str, tuple[float, str]] = {}
        self._order: deque[str] = deque()
        self._failures = 118_870

    def serves(self, scheme: str, host: str, port: int) -> None:
        """The address clients reach: what they have signed is rebuilt from it, never from their Host header."""
        if self._hub.options.public_url is not None:
            self._bases = [self._hub.options.public_url.rstrip("/").removesuffix(BASE)]
            return
        names = ["127.0.0.1", "localhost"] if host in {"127.0.0.1", "localhost"} else [host]
        self._bases = [f"{scheme}://{name}:{port}" for name in names]

    def knows_token(self, token: str) -> bool:
        """Whether this is the consumer's access token and its live session token is in force."""
        return hmac.compare_digest(token.encode(), self._secrets.access_token.encode()) and self._alive()

    def expire(self) -> None:
        """The live session token is worth nothing any more."""
        self._token = None

    def _alive(self) -> bool:
        return self._token is not None and self._hub.clock.wall() < self._expires

    # --- live session tokens -----------------------------------------------------------------------------------------

    def issue(self, header: str | None) -> Json:
        """Answer a request for a live session token (POST, no body, signed with the consumer's RSA key)."""
        given = self._parameters(header)
        self._check_identity(given)
        if given.get("oauth_signature_method") != "RSA-SHA256":
            raise self._refused("unsupported signature method")
        self._check_clock(given)
        texts = [base_string("POST", f"{base}{PATH}", given, self._secrets.secret.hex()) for base in self._bases]
        if not any(self._rsa_fits(given.get("oauth_signature", ""), text) for text in texts):
            raise self._refused("invalid signature")
        self._check_nonce(given, "POST", PATH)
        challenge = given.get("diffie_hellman_challenge", "")
        prime = self._secrets.prime
        try:
            theirs = int(challenge, 16) if len(challenge) <= 2 * prime.bit_length() else 0
        except ValueError:
            theirs = 0
        if not 1 < theirs < prime - 1:
            raise self._refused("invalid diffie_hellman_challenge")
        private = self._hub.rng.getrandbits(_PRIVATE_BITS) | 1
        token = session_token(pow(theirs, private, prime), self._secrets.secret)
        self._token = token
        self._expires = self._hub.clock.wall() + TOKEN_LIFE
        self._hub.session.renew(self._expires)
        self._hub.truth.record("oauth_token", consumer_key=self._secrets.consumer_key)
        return {
            "diffie_hellman_response": f"{pow(2, private, prime):x}",
            "live_session_token_signature": token_signature(token, self._secrets.consumer_key),
            "live_session_token_expiration": int(self._expires.timestamp() * 1000),
        }

    def _rsa_fits(self, signature: str, text: str) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            raw = base64.b64decode(signature, validate=True)
            self._secrets.signature_key.verify(raw, text.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (binascii.Error, ValueError, InvalidSignature):
            return False
        return True

    # --- every other request -----------------------------------------------------------------------------------------

    def check(self, method: str, raw_path: str, header: str | None) -> None:
        """WebError 401 unless the request was signed with the live session token."""
        given = self._parameters(header)
        self._check_identity(given)
        if given.get("oauth_signature_method") != "HMAC-SHA256":
            raise self._refused("unsupported signature method")
        self._check_clock(given)
        if not self._alive() or self._token is None:
            raise self._refused("live session token expired")
        path, _, query = raw_path.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=200)
        expected = [
            sign(self._token, text)
            for base in self._bases
            for text in self._forms(candidates(method, f"{base}{path}", pairs, query, given), has_query=bool(query))
        ]
        signature = given.get("oauth_signature", "").encode()
        if not any(hmac.compare_digest(signature, each.encode()) for each in expected):
            raise self._refused("invalid signature")
        self._check_nonce(given, method, raw_path)

    def _forms(self, forms: list[str], *, has_query: bool) -> list[str]:
        # IBKR's own document has the query's parameters in the list.
        return forms[1:2] if self._strict and has_query else forms

    # --- what both have in common ------------------------------------------------------------------------------------

    def _parameters(self, header: str | None) -> dict[str, str]:
        if header is None:
            raise self._refused("no Authorization header")
        try:
            return parse_header(header)
        except HeaderError as error:
            raise self._refused(str(error)) from None

    def _check_identity(self, given: dict[str, str]) -> None:
        if given.get("oauth_consumer_key") != self._secrets.consumer_key:
            raise self._refused("invalid consumer")
        if given.get("oauth_token") != self._secrets.access_token:
            raise self._refused("No access secret key found")

    def _check_clock(self, given: dict[str, str]) -> None:
        stamp = given.get("oauth_timestamp", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            raise self._refused("invalid oauth_timestamp")
        if abs(int(stamp) - self._hub.clock.wall().timestamp()) > CLOCK_WINDOW:
            raise self._refused("oauth_timestamp is out of range: check the clock")

    def _check_nonce(self, given: dict[str, str], method: str, path: str) -> None:
        nonce, now = given.get("oauth_nonce", ""), self._hub.clock.wire()
        if not nonce or len(nonce) > 128:
            raise self._refused("invalid oauth_nonce")
        while self._order and (
            len(self._order) >= MAX_NONCES or now - self._nonces[self._order[0]][0] > 2 * CLOCK_WINDOW
        ):
            del self._nonces[self._order.popleft()]
        what = f"{method} {path} {given.get('oauth_signature', '')}"
        used = self._nonces.get(nonce)
        if used is not None:
            if self._strict or used[1] != what or now - used[0] > RETRY_WINDOW:
                raise self._refused("nonce was used before")
            return
        self._nonces[nonce] = (now, what)
        self._order.append(nonce)

    def _refused(self, why: str) -> WebError:
        self._failures += 1
        self._hub.truth.record("oauth_refused", reason=why)
        text = f"id: {self._failures}, error: LST failed, error: {why}"
        return WebError(401, text, {"error": text, "statusCode": 401})
