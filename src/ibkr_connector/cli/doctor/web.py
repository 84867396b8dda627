"""`doctor` for `backend = web`: from the parameters of OAuth to the account behind the login."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ibkr_connector.backends.web.oauth_checks import Examination, examine
from ibkr_connector.cli.doctor import web_checks
from ibkr_connector.cli.doctor.checks import Check, skip
from ibkr_connector.cli.doctor.web_checks import ACCOUNT, CERTIFICATE, CLOCK, LOGIN, SESSION, TOKEN
from ibkr_connector.cli.doctor.web_probe import WebFindings, look
from ibkr_connector.config import Settings
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets import Secrets

_BY = "doctor"
_NEEDS_CONNECTION = "needs a connection"


async def examine_web(settings: Settings, timeout: float) -> AsyncIterator[Check]:
    """All checks about the Web API, in order; what an earlier one makes impossible is skipped."""
    signed = settings.oauth.in_use
    parameters: Examination | None = None
    if signed:
        parameters = await asyncio.to_thread(examine, settings.oauth, Secrets.of(settings), by=_BY)
        for check in web_checks.oauth_checks(parameters):
            yield check
        if parameters.failed:
            for name in ("gateway", CERTIFICATE, TOKEN, SESSION, ACCOUNT, CLOCK):
                yield skip(name, "needs every parameter of OAuth")
            return
    found = await look(settings, parameters, timeout=timeout)
    if isinstance(found.error, ConfigurationError):  # ibind is not there: said above
        for name in ("gateway", CERTIFICATE, TOKEN if signed else LOGIN, SESSION, ACCOUNT, CLOCK):
            yield skip(name, "needs the client library")
        return
    for check in _answers(settings, found, signed=signed):
        yield check


def _answers(settings: Settings, found: WebFindings, *, signed: bool) -> list[Check]:
    checks = [web_checks.gateway_check(found)]
    later = [skip(name, _NEEDS_CONNECTION) for name in (TOKEN if signed else LOGIN, SESSION, ACCOUNT, CLOCK)]
    if found.error is not None and not found.distrust:
        return [*checks, skip(CERTIFICATE, _NEEDS_CONNECTION), *later]
    checks.append(web_checks.certificate_check(settings, found))
    if found.distrust:
        return [*checks, *later]
    checks.append(web_checks.token_check(found) if signed else web_checks.login_check(found))
    if found.token_error is not None or (not signed and not found.logged_in):
        checks += [skip(SESSION, "needs a login"), skip(ACCOUNT, "needs a login")]
    else:
        checks += [web_checks.session_check(found), web_checks.account_check(settings, found)]
    return [*checks, web_checks.orders_check(settings), web_checks.clock_check(found)]
