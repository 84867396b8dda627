"""A live session token, asked for once: whether IBKR accepts these parameters, and what its refusal means.

A session token is no brokerage session: asking for one takes nothing away from a program that trades at IBKR. (The
paper gateway keeps one token: there such a program signs in again.)

What the words of a refusal mean comes from public reports about IBKR's answers, which have the form
`{"error": "id: 118871, error: LST failed, error: …", "statusCode": 401}`, and from what each wrong parameter must
break; IBKR documents neither. https://github.com/Voyz/ibind/issues/58, /109 and /113.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.backends.web.oauth import made_of
from ibkr_connector.backends.web.oauth_checks import Examination, Step, Verdict
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import Settings
from ibkr_connector.config.web import is_loopback
from ibkr_connector.errors import AuthenticationError, IBKRConnectionError, TradingError

CLOCK, TOKEN = "clock", "session token"
SKEW_WARN_S, SKEW_FAIL_S = 5.0, 60.0
"""Every request carries its time. IBKR documents no window; seconds are seen to be accepted, minutes to be refused."""
NOT_ACTIVE = (
    "A new consumer key, and new keys for it, count only after IBKR has activated them, within days and often over a "
    "weekend: if the portal shows this one, wait; else copy it from there."
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a refusal is about: the parameter, what was found, what to do."""

    about: str
    found: str
    fix: str


_MEANINGS: tuple[tuple[str, Meaning], ...] = (
    (
        "timestamp",
        Meaning(CLOCK, "the time of our requests is refused", "Set this machine's clock (NTP), then try again."),
    ),
    ("consumer", Meaning("oauth.consumer_key", "the consumer key is unknown, or not active yet", NOT_ACTIVE)),
    (
        "access secret key",
        Meaning(
            "oauth.access_token",
            "the access token is unknown, or was replaced in the portal",
            "Make a new access token in the portal, and set it together with its secret; that counts at once.",
        ),
    ),
    (
        "not signed with the token we computed",
        Meaning(
            "oauth.dh_prime",
            "both sides computed different session tokens: prime, generator or access token secret is another one",
            "Set dh_prime to the prime of the dhparam.pem that is in the portal, or upload this one's.",
        ),
    ),
    (
        "diffie",
        Meaning("oauth.dh_prime", "the Diffie-Hellman challenge is refused", "Use the dhparam.pem of the portal."),
    ),
    (
        "signature",
        Meaning(
            "oauth.signature_key",
            "the signature is refused: it is of another key than the one in the portal, or rest_url has another form",
            "Use the private key whose public half is the portal's signature key; new keys need activation.",
        ),
    ),
    ("nonce", Meaning(TOKEN, "the request was taken for a repetition", "Try again.")),
)


def meaning(text: str) -> Meaning:
    """What a refusal (401, 410) of a session token most likely is about."""
    low = text.lower()
    for words, found in _MEANINGS:
        if words in low:
            return found
    return Meaning("oauth.consumer_key", "the login is refused without a reason", NOT_ACTIVE)


async def probe(settings: Settings, found: Examination, *, clock: Clock, timeout: float) -> list[Step]:
    """Ask for a session token, once, and compare the clocks. `found` must have no failed step. Raises nothing.

    Sends one POST to `rest_url`'s token endpoint; no brokerage session is begun, nobody is logged out.
    """
    ca_file = settings.web.ca_file
    endpoint = WebEndpoint(url=settings.oauth.rest_url, ca_file="" if ca_file is None else str(ca_file))
    calls = WebCalls(endpoint, clock=clock, oauth=lambda: made_of(settings.oauth, found))
    error: TradingError | None = None
    expires: float | None = None
    try:
        calls.open()
        expires = await calls.authenticate(timeout=timeout)
    except TradingError as raised:
        error = raised
    finally:
        await calls.close()
    here = is_loopback(urlsplit(endpoint.url).hostname or "")
    return [clock_step(skew_of(calls, clock), here=here, accepted=error is None), token_step(error, expires)]


def skew_of(calls: WebCalls, clock: Clock) -> float | None:
    """Seconds this machine's clock is ahead of the server's, by its newest answer; None: not told, or this machine.

    A gateway on this machine has this machine's clock, and the paper gateway's Date is its market's time.
    """
    if calls.date is None or is_loopback(calls.host):
        return None
    return (clock.now() - calls.date).total_seconds() - (clock.monotonic() - calls.date_at)


def clock_step(skew: float | None, *, here: bool, accepted: bool) -> Step:
    """Our clock: IBKR takes signatures within a window that it does not document."""
    if skew is None:
        why = "the server is on this machine: it has the same clock" if here else "the server told no time"
        return Step(name=CLOCK, verdict=Verdict.SKIP, found=why)
    # The server's time has whole seconds.
    off = 0.0 if abs(skew) <= 1.5 else skew
    text = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the server's" if off else "as the server's"
    if abs(off) < SKEW_WARN_S:
        return Step(name=CLOCK, verdict=Verdict.OK, found=text)
    verdict = Verdict.FAIL if abs(off) >= SKEW_FAIL_S and not accepted else Verdict.WARN
    return Step(name=CLOCK, verdict=verdict, found=text, fix="Set this machine's clock (NTP).")


def token_step(error: TradingError | None, expires: float | None) -> Step:
    """Whether the token was given, and what a refusal most likely means."""
    if error is None:
        until = "" if expires is None else f", until {datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M} UTC"
        return Step(name=TOKEN, verdict=Verdict.OK, found=f"given and verified{until}")
    if isinstance(error, AuthenticationError):
        what = meaning(error.message)
        about = "" if what.about == TOKEN else f" ({what.about})"
        return Step(name=TOKEN, verdict=Verdict.FAIL, found=f"{what.found}{about}", fix=what.fix)
    fix = error.remedy
    if isinstance(error, IBKRConnectionError):
        fix = "Check [oauth] rest_url and the network; [web] ca_file names certificates of your own."
    return Step(name=TOKEN, verdict=Verdict.FAIL, found=error.message.rstrip("."), fix=fix, retryable=error.retryable)
