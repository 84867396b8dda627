"""What is signed, and how: pure functions, alike for whoever signs and whoever verifies.

Base strings: `METHOD&url&parameters`, the last two percent-encoded (as in forms: a blank becomes `+`), parameters
sorted by name; the request for a live session token has the secret's hex digits in front.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote_plus, unquote

UNSIGNED: Final = frozenset({"realm", "oauth_signature"})
HEADER_LIMIT: Final = 16 * 1024
_PAIR: Final = re.compile(r'\s*([A-Za-z_]{1,64})="([^"]{0,4096})"\s*(?:,|$)')


class HeaderError(ValueError):
    """The Authorization header is none of OAuth."""


def parse_header(text: str) -> dict[str, str]:
    """The parameters of `OAuth realm="…", oauth_token="…", …`. The signature is percent-decoded, the rest is not."""
    scheme, _, rest = text.partition(" ")
    if scheme != "OAuth" or len(text) > HEADER_LIMIT:
        raise HeaderError("no OAuth header")
    found: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = _PAIR.match(rest, at)
        if match is None or match[1] in found:
            raise HeaderError("malformed OAuth header")
        found[match[1]] = match[2]
        at = match.end()
    if "oauth_signature" in found:
        found["oauth_signature"] = unquote(found["oauth_signature"])
    return found


def base_string(method: str, url: str, parameters: Mapping[str, str], prepend: str = "") -> str:
    """What a signature is made of. `parameters` without realm and signature."""
    listed = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if name not in UNSIGNED)
    return f"{prepend}{method}&{quote_plus(url)}&{quote_plus(listed)}"


def candidates(
    method: str, url: str, query: Iterable[tuple[str, str]], raw_query: str, parameters: Mapping[str, str]
) -> list[str]:
    """The base strings under which a request may have been signed, the usual one first.

    1. without the query at all (ibind), 2. the query's parameters among the others (IBKR's document of 2020),
    3. the URL with its query (other clients). Without a query they are one.
    """
    plain = base_string(method, url, parameters)
    if not raw_query:
        return [plain]
    merged = {**dict(query), **parameters}
    return [plain, base_string(method, url, merged), base_string(method, f"{url}?{raw_query}", parameters)]


def sign(token: bytes, text: str) -> str:
    """The HMAC-SHA256 of a base string under a live session token, base64."""
    return base64.b64encode(hmac.new(token, text.encode(), hashlib.sha256).digest()).decode()


def to_java_bytes(number: int) -> bytes:
    """Java's BigInteger.toByteArray: big endian, a leading zero byte where the highest bit is set."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def session_token(shared: int, secret: bytes) -> bytes:
    """The live session token (20 bytes) from the Diffie-Hellman secret and the access token's secret."""
    return hmac.new(to_java_bytes(shared), secret, hashlib.sha1).digest()


def token_signature(token: bytes, consumer_key: str) -> str:
    """What proves to a client that the server has the same token, hex."""
    return hmac.new(token, consumer_key.encode(), hashlib.sha1).hexdigest()
