"""`doctor`: look at settings, library, files, gateway and account, and say what to mend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ibkr_connector.cli.common import READER_IDS, READER_OFFSET, Cx, command
from ibkr_connector.cli.doctor import checks
from ibkr_connector.cli.doctor.checks import KNOWN_PORTS, Check, Verdict
from ibkr_connector.cli.doctor.probe import Findings, Stage, probe
from ibkr_connector.cli.doctor.restart import restart_check
from ibkr_connector.cli.doctor.watching import alerts_check, watch_check
from ibkr_connector.cli.exits import ExitCode
from ibkr_connector.cli.output import table
from ibkr_connector.config import Settings
from ibkr_connector.errors import ConfigurationError

_CONNECTION_CHECKS = ("gateway", "client id", "tls certificate", "session token", "login", "brokerage session")
_NEEDS_CONNECTION = ("client id", "account", "orders", "clock", "data farms")
_SIGNS = {
    Verdict.OK: Text("ok", style="green"),
    Verdict.WARN: Text("look", style="yellow"),
    Verdict.FAIL: Text("FAIL", style="bold red"),
    Verdict.SKIP: Text("-", style="dim"),
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor")(doctor)


def doctor(cx: Cx) -> None:
    """Check settings, client library, state directory, restart command, gateway, client id, account, clock.

    With backend = web: OAuth parameters, certificate, login and brokerage session. Each failure comes with its fix.

    Exit code 0 when nothing failed, 2 for wrong settings, 3 for the connection, 1 for anything else. It places nothing.
    """

    async def work() -> list[Check]:
        with cx.out.busy("looking …"):
            return [check async for check in _examine(cx)]

    found = cx.run(work)
    failed = [check.name for check in found if check.verdict is Verdict.FAIL]
    data = {"ok": not failed, "checks": [check.to_dict() for check in found]}
    cx.out.result(data, lambda: _drawn(found))
    if failed:
        raise typer.Exit(_code(failed[0]))


def _code(first: str) -> ExitCode:
    if first == "settings" or first.startswith("oauth."):
        return ExitCode.USAGE
    return ExitCode.CONNECTION if first in _CONNECTION_CHECKS else ExitCode.ERROR


async def _examine(cx: Cx) -> AsyncIterator[Check]:
    try:
        settings = cx.settings()
    except ConfigurationError as error:
        yield checks.fail("settings", error.message, error.remedy)
        return
    yield checks.settings_check(settings)
    web = settings.connection.backend == "web"
    yield await (_web_library() if web else checks.library_check(settings))
    yield checks.state_dir_check(settings)
    for check in checks.journal_checks(settings):
        yield check
    yield restart_check(settings)
    yield watch_check(settings)
    yield await asyncio.to_thread(alerts_check, settings)  # apprise takes a second to load
    if web:
        from ibkr_connector.cli.doctor.web import examine_web

        async for check in examine_web(settings, 5.0 if cx.options.timeout is None else cx.options.timeout):
            yield check
        return
    found = await _look(settings, settings.connection.client_id, cx.options.timeout)
    others = await _look_around(settings) if found.server_version is None else []
    yield checks.port_check(settings, found, others, web=await _web_instead(found))
    if found.server_version is None:
        for name in _NEEDS_CONNECTION:
            yield checks.skip(name, "needs a connection")
        return
    yield checks.client_id_check(found)
    if found.id_in_use:
        found = await _as_another(settings, cx.options.timeout)
    if found.stage is not Stage.READY:
        for name in _NEEDS_CONNECTION[1:]:
            yield checks.skip(name, "needs a connection")
        return
    yield checks.account_check(settings, found)
    yield checks.read_only_check(settings, found)
    yield checks.clock_check(settings, found)
    yield checks.farms_check(found)


async def _web_library() -> Check:
    from ibkr_connector.cli.doctor.web_checks import library_check

    return await asyncio.to_thread(library_check)


async def _look(settings: Settings, client_id: int, timeout: float | None) -> Findings:
    where = settings.connection
    return await probe(where.host, where.port, client_id, timeout=5.0 if timeout is None else timeout)


async def _web_instead(found: Findings) -> str:
    """`http` or `https` where something else than TWS answers, and it is a web server."""
    if found.stage is not Stage.SILENT:
        return ""
    from ibkr_connector.cli.doctor.web_probe import Speaker, listener

    speaker = await listener(found.host, found.port)
    return speaker.value if speaker in (Speaker.HTTP, Speaker.TLS) else ""


async def _as_another(settings: Settings, timeout: float | None) -> Findings:
    """The same look under an id beside the one that is taken."""
    first = settings.connection.client_id + READER_OFFSET
    found = await _look(settings, first, timeout)
    for client_id in range(first + 1, first + READER_IDS):
        if not found.id_in_use:
            break
        found = await _look(settings, client_id, timeout)
    return found


async def _look_around(settings: Settings) -> list[Findings]:
    """The usual ports of the same host, other than the configured one."""
    where = settings.connection
    ports = [port for port in KNOWN_PORTS if port != where.port]
    reader = where.client_id + READER_OFFSET
    return list(await asyncio.gather(*(probe(where.host, port, reader, timeout=2.0) for port in ports)))


def _drawn(found: list[Check]) -> RenderableType:
    rows = [(_SIGNS[check.verdict], check.name, check.found) for check in found]
    parts: list[RenderableType] = [table(("", "check", "found"), rows, fold="found")]
    for check in found:
        if check.fix:
            style = "bold" if check.verdict is Verdict.FAIL else "yellow"
            parts.append(Text.assemble((f"{check.name}: ", style), check.fix))
    if all(check.verdict in (Verdict.OK, Verdict.WARN) for check in found):
        parts.append(Text("Nothing stands in the way.", style="green"))
    return Group(*parts)
