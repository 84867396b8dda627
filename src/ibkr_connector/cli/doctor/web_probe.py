"""A look at the Web API: does it answer, is its certificate trusted, who is logged in, what does its clock say.

It asks through the backend's own requests, so what works here works there; when they get no answer, a socket of its own
finds out what else listens. It opens no brokerage session and takes none away: with OAuth a session token is asked for,
then the status of the session and the accounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ibkr_connector.backends.factory import web_endpoint
from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.backends.web.login import AuthStatus
from ibkr_connector.backends.web.oauth import made_of
from ibkr_connector.backends.web.oauth_checks import Examination
from ibkr_connector.backends.web.oauth_probe import skew_of
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.cli.doctor.probe import probe
from ibkr_connector.clock import Clock, system_clock
from ibkr_connector.config import Settings
from ibkr_connector.errors import AuthenticationError, TradingError

_LOOK_S = 2.0
_ANSWER = 64


class Speaker(StrEnum):
    """What listens at an address."""

    NOBODY = "nobody"
    UNREACHABLE = "unreachable"
    HTTP = "http"
    TLS = "https"
    TWS = "tws"
    OTHER = "other"


@dataclass(slots=True, kw_only=True)
class WebFindings:
    """What one look at the Web API saw."""

    endpoint: WebEndpoint
    error: TradingError | None = None
    """Why there was no answer at all."""
    speaker: Speaker | None = None
    """What is there instead; looked at only after an error."""
    distrust: str = ""
    """Why its certificate is not trusted."""
    token_error: TradingError | None = None
    """OAuth: why there is no session token."""
    token_until: float | None = None
    login_error: TradingError | None = None
    """Why the session's status was not told: nobody is logged in."""
    status: AuthStatus | None = None
    accounts: tuple[str, ...] | None = None
    """None: not told."""
    is_paper: bool | None = None
    """What the login says of itself; None: nothing."""
    skew: float | None = None
    """Seconds this machine's clock is ahead of the server's; None: it told no time, or is this machine."""

    @property
    def logged_in(self) -> bool:
        """Whether more can be asked."""
        return self.status is not None and (self.status.connected or self.status.authenticated)


async def look(
    settings: Settings, oauth: Examination | None, *, timeout: float, clock: Clock = system_clock
) -> WebFindings:
    """Look at the Web API of the settings; each request may take `timeout` seconds. Never raises for what it meets.

    `oauth`: the parameters, none of which failed; None where a gateway holds the login.
    """
    endpoint = web_endpoint(settings)
    found = WebFindings(endpoint=endpoint)
    source = None if oauth is None else lambda: made_of(settings.oauth, oauth)
    calls = WebCalls(endpoint, clock=clock, oauth=source)
    try:
        calls.open()
        if source is not None:
            try:
                found.token_until = await calls.authenticate(timeout=timeout)
            except AuthenticationError as error:
                found.token_error = error
                return found
        await _session(calls, found, timeout)
    except TradingError as error:
        found.error = error
        await _instead(endpoint, found, clock)
    finally:
        found.skew = skew_of(calls, clock)
        await calls.close()
    return found


async def _session(calls: WebCalls, found: WebFindings, timeout: float) -> None:
    """Status and accounts. Raises only where nothing answers."""
    try:
        found.status = AuthStatus.of(await calls.post("iserver/auth/status", timeout=timeout))
    except AuthenticationError as error:
        found.login_error = error
        return
    if not found.logged_in:
        return
    try:
        told = await calls.get("iserver/accounts", timeout=timeout)
        found.accounts = _names(told.get("accounts") if isinstance(told, dict) else None)
        paper = told.get("isPaper") if isinstance(told, dict) else None
        found.is_paper = paper if isinstance(paper, bool) else None
    except TradingError:  # without a brokerage session; the portfolio can be read without one
        with contextlib.suppress(TradingError):
            rows = await calls.get("portfolio/accounts", timeout=timeout)
            ids = [row.get("accountId") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None
            found.accounts = _names(ids)


def _names(told: Any) -> tuple[str, ...] | None:
    return tuple(str(one)[:20] for one in told[:50] if isinstance(one, str)) if isinstance(told, list) else None


# --- what else listens there ----------------------------------------------------------------------------------------


async def _instead(endpoint: WebEndpoint, found: WebFindings, clock: Clock) -> None:
    """Find out what is at the address, with a socket."""
    host, port = endpoint.host, endpoint.port
    if endpoint.url.startswith("https:") and endpoint.verify_tls:
        found.distrust = await _distrust(endpoint, clock)
        if found.distrust:
            found.speaker = Speaker.TLS
            return
    found.speaker = await listener(host, port, clock=clock)


async def listener(host: str, port: int, *, clock: Clock = system_clock) -> Speaker:
    """What listens at an address: a web server, with or without TLS, a TWS API port, or something else."""
    try:
        if (await _said(host, port, b"GET / HTTP/1.0\r\n\r\n", clock)).startswith(b"HTTP/"):
            return Speaker.HTTP
    except ConnectionRefusedError:
        return Speaker.NOBODY
    except ConnectionError:
        pass  # it wants another protocol
    except OSError:
        return Speaker.UNREACHABLE
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        await _handshake(host, port, anything, clock)
        return Speaker.TLS
    if (await probe(host, port, 0, timeout=_LOOK_S, clock=clock)).server_version is not None:
        return Speaker.TWS
    return Speaker.OTHER


async def _said(host: str, port: int, question: bytes, clock: Clock) -> bytes:
    """The beginning of an answer; empty when none comes."""
    reader, writer = await clock.wait_for(asyncio.open_connection(host, port), _LOOK_S)
    try:
        writer.write(question)
        with contextlib.suppress(TimeoutError):
            return await clock.wait_for(reader.read(_ANSWER), _LOOK_S)
        return b""
    finally:
        await _close(writer)


async def _distrust(endpoint: WebEndpoint, clock: Clock) -> str:
    """Why the certificate is not trusted; empty when it is, or when there is no handshake at all."""
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file or None)
    except OSError as error:
        return f"ca_file cannot be read: {error.strerror or error}"
    try:
        await _handshake(endpoint.host, endpoint.port, context, clock)
    except ssl.SSLCertVerificationError as error:
        return str(error.verify_message or error.reason)[:200]
    except (OSError, TimeoutError):
        pass  # not about the certificate
    return ""


async def _handshake(host: str, port: int, context: ssl.SSLContext, clock: Clock) -> None:
    _, writer = await clock.wait_for(asyncio.open_connection(host, port, ssl=context), _LOOK_S)
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
