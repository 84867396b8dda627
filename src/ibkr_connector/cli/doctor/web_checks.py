"""The checks of `doctor` for `backend = web`: library, address, certificate, login, brokerage session, account."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from ibkr_connector.backends.web.library import load_ibind
from ibkr_connector.backends.web.oauth_checks import Examination, Step, Verdict as Judged
from ibkr_connector.backends.web.oauth_probe import clock_step, token_step
from ibkr_connector.cli.doctor.checks import Check, Verdict, fail, ok, skip, warn
from ibkr_connector.cli.doctor.web_probe import Speaker, WebFindings
from ibkr_connector.config import Settings
from ibkr_connector.config.web import is_loopback
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.identity import is_paper

OLDEST, NEWEST = (0, 2, 2), (0, 3)
"""The versions of ibind that are known to work: from, and below."""
_WANTED = "pip install 'ibind>=0.2.2,<0.3'"
_START = "Start the Client Portal Gateway or IBeam and log in."
_TRY = " To try without one: `ibkr-connector paper --web-port 5000`."
TOKEN, CERTIFICATE, LOGIN, SESSION, ACCOUNT, CLOCK = (
    "session token",
    "tls certificate",
    "login",
    "brokerage session",
    "account",
    "clock",
)


def library_check() -> Check:
    """Whether ibind can be imported, and is of a version that is known to work."""
    name = "client library"
    try:
        load_ibind()
    except ConfigurationError as error:
        return fail(name, error.message, error.remedy)
    version = importlib.metadata.version("ibind")
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if not OLDEST <= numbers < NEWEST:
        return fail(name, f"ibind {version}: another version than the tested ones (0.2.2 up to 0.3)", f"{_WANTED}.")
    return ok(name, f"ibind {version}")


def oauth_checks(found: Examination) -> Iterator[Check]:
    """What cannot be used of the OAuth parameters, each by its name; one line where all can."""
    remarks = [step for step in found.steps if step.verdict in (Judged.FAIL, Judged.WARN)]
    yield from map(_check, remarks)
    if not found.failed:
        yield ok("oauth", "every parameter can be used; `ibkr-connector oauth check` goes through them")


def gateway_check(found: WebFindings) -> Check:
    """Whether the Web API answers where the settings say; if not, what does."""
    name, endpoint, error = "gateway", found.endpoint, found.error
    where = endpoint.url
    here = is_loopback(endpoint.host)
    if error is None or found.distrust:
        return ok(name, f"{where} answers")
    match found.speaker:
        case Speaker.NOBODY:
            return fail(name, f"connection refused at {where}", _START + (_TRY if here else ""))
        case Speaker.UNREACHABLE:
            return fail(name, f"{where} cannot be reached", "Check host, network and firewall.")
        case Speaker.TWS:
            return fail(
                name,
                f"{where} is a TWS API port, not the Web API's",
                f"Set backend = tws and port = {endpoint.port}, or [web] url to the Client Portal Gateway's address "
                "(its port is 5000).",
            )
        case Speaker.HTTP | Speaker.TLS if urlsplit(where).scheme != found.speaker.value:
            right = urlunsplit(urlsplit(where)._replace(scheme=found.speaker.value))
            plain = " without TLS" if found.speaker is Speaker.HTTP else " with TLS"
            return fail(name, f"{where}: what listens there speaks{plain}", f"Set [web] url to {right}.")
        case _:
            return fail(
                name,
                f"{where} gives no usable answer: {error.message.rstrip('.')}",
                "Check [web] url: it ends in /v1/api/. If it is the Client Portal Gateway: restart it, log in again.",
            )


def certificate_check(settings: Settings, found: WebFindings) -> Check:
    """Whether the certificate is trusted."""
    endpoint = found.endpoint
    if found.distrust:
        here = is_loopback(endpoint.host)
        fix = "Name the certificate (PEM) in [web] ca_file"
        fix += ", or, for a gateway on this machine, set verify_tls = no." if here else "."
        return fail(CERTIFICATE, f"not trusted: {found.distrust}", fix)
    if not endpoint.url.startswith("https:"):
        return ok(CERTIFICATE, "no TLS: a gateway on this machine")
    if not endpoint.verify_tls:
        return ok(CERTIFICATE, "not looked at (verify_tls = no, on this machine)")
    return ok(CERTIFICATE, f"trusted{f' by {settings.web.ca_file}' if settings.web.ca_file else ''}")


def token_check(found: WebFindings) -> Check:
    """OAuth: whether the server gave a session token, and what its refusal means."""
    return _check(token_step(found.token_error, found.token_until))


def login_check(found: WebFindings) -> Check:
    """Whether somebody is logged in."""
    status = found.status
    if found.login_error is not None or status is None or not found.logged_in:
        why = "" if found.login_error is None or not found.login_error.code else f" (HTTP {found.login_error.code})"
        at = urlunsplit(urlsplit(found.endpoint.url)._replace(path="/", query=""))
        return fail(LOGIN, f"nobody is logged in at the gateway{why}", f"Log in at {at} (IBeam does it by itself).")
    return ok(LOGIN, "logged in")


def session_check(found: WebFindings) -> Check:
    """Whether there is a brokerage session, and whether it can be ours."""
    status = found.status
    if status is None:
        return skip(SESSION, "needs a login")
    if status.competing:
        text = "another program of this user name has it"
        if found.endpoint.compete:
            return warn(SESSION, text, "It will be taken away from it at the connect ([web] compete = yes).")
        return fail(
            SESSION, text, "End the other program (TWS, the mobile app, …), or set compete = yes in [web] to take it."
        )
    if not status.authenticated:
        said = f": {status.message}" if status.message else ""
        return warn(
            SESSION,
            f"there is none (no bridge){said}",
            "It is opened at the connect. If that fails: log in at the gateway again, or wait for IBKR's reset.",
        )
    if not status.connected:
        return warn(SESSION, "there, but without a link to IBKR", "Wait; if it stays so, log in at the gateway again.")
    return ok(SESSION, "there, and ours")


def account_check(settings: Settings, found: WebFindings) -> Check:
    """Whether the accounts of the login are the ones the settings allow."""
    accounts, pinned, mode = found.accounts, settings.connection.account_id, settings.mode
    if accounts is None:
        return skip(ACCOUNT, "the accounts were not told")
    if not accounts:
        return fail(ACCOUNT, "the login has no account", "Log in with another user name.")
    shown = ", ".join(one if is_paper(one) else f"{one[:2]}***{one[-2:]}" for one in accounts)
    live = found.is_paper is False or not all(map(is_paper, accounts))
    if mode == "paper" and live:
        return fail(
            ACCOUNT, f"{shown}: a live login, and mode = paper", "Log in with the user name of the paper account."
        )
    if mode == "live" and (found.is_paper or all(map(is_paper, accounts))):
        return fail(
            ACCOUNT, f"{shown}: a paper login, and mode = live", "Log in with the live user name, or set mode = paper."
        )
    if pinned and pinned not in accounts:
        return fail(ACCOUNT, f"{shown}: account_id of the settings is not among them", "Correct account_id.")
    if not pinned and len(accounts) > 1:
        return fail(ACCOUNT, f"{shown}: several, and none is chosen", "Set account_id, or give --account.")
    return ok(ACCOUNT, f"{pinned or shown}{' (paper)' if mode == 'paper' else ''}")


def orders_check(settings: Settings) -> Check:
    """Whether the settings refuse orders, and which questions are answered with yes."""
    if settings.connection.read_only:
        return warn("orders", "refused by the settings (read_only = yes)", "Remove read_only to trade.")
    confirm = ", ".join(settings.web.confirm)
    return ok("orders", f"questions answered with yes: {confirm or 'none'} ([web] confirm)")


def clock_check(found: WebFindings) -> Check:
    """Our clock against the server's: signatures carry the time, and are refused when it is off."""
    if is_loopback(found.endpoint.host):
        return ok(CLOCK, "the server is on this machine: it has the same clock")
    return _check(clock_step(found.skew, here=False, accepted=found.token_error is None))


def _check(step: Step) -> Check:
    return Check(name=step.name, verdict=Verdict(step.verdict.value), found=step.found, fix=step.fix)
