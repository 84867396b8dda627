"""`oauth check`: every parameter of OAuth, what is wrong with it and how to mend it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ibkr_connector.backends.web.oauth_checks import Examination, Step, Verdict, examine
from ibkr_connector.cli.common import Cx, command
from ibkr_connector.cli.exits import ExitCode
from ibkr_connector.cli.output import table
from ibkr_connector.clock import system_clock
from ibkr_connector.config import Settings
from ibkr_connector.secrets import Secrets

_BY = "oauth check"
_PATIENCE_S = 15.0
_SIGNS = {
    Verdict.OK: Text("ok", style="green"),
    Verdict.WARN: Text("look", style="yellow"),
    Verdict.FAIL: Text("FAIL", style="bold red"),
    Verdict.SKIP: Text("-", style="dim"),
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="OAuth 1.0a for the Web API: check the keys and tokens.", no_args_is_help=True)

    @group.callback()
    def oauth() -> None:
        """Keep `check` a command of its own: a group of one would be that one."""

    command(group, "check")(check)
    app.add_typer(group, name="oauth")


def check(
    cx: Cx,
    connect: Annotated[
        bool, typer.Option("--connect", help="Then ask the server for a session token (no brokerage session).")
    ] = False,
) -> None:
    """Look at every OAuth parameter, say what is wrong and how to mend it; no value is shown.

    Exit code 0 when nothing failed, 2 for a parameter that cannot be used, 3 when the server does not give a token.
    """
    settings = cx.settings()
    secrets = Secrets.of(settings)

    async def work() -> tuple[list[Step], list[Step]]:
        with cx.out.busy("reading keys and tokens …"):
            found = await asyncio.to_thread(examine, settings.oauth, secrets, by=_BY)
        return found.steps, await _asked(cx, settings, found) if connect else []

    local, remote = cx.run(work)
    steps = [*local, *remote]
    data = {
        "ok": not _failed(steps),
        "connected": bool(remote) and not _failed(remote),
        "checks": [step.to_dict() for step in steps],
        "read": [read.to_dict() for read in secrets.unwritten],
    }
    cx.out.result(data, lambda: _drawn(steps, secrets))
    if _failed(local):
        raise typer.Exit(ExitCode.USAGE)
    if _failed(remote):
        raise typer.Exit(ExitCode.CONNECTION)
    if not connect and not cx.options.json:
        cx.out.note("Whether the server accepts them: `ibkr-connector oauth check --connect`.")


async def _asked(cx: Cx, settings: Settings, found: Examination) -> list[Step]:
    """What the server says; nothing is asked while a parameter cannot work."""
    from ibkr_connector.backends.web.oauth_probe import CLOCK, TOKEN, probe

    if found.failed:
        why = "needs every parameter"
        return [Step(name=name, verdict=Verdict.SKIP, found=why) for name in (CLOCK, TOKEN)]
    timeout = _PATIENCE_S if cx.options.timeout is None else cx.options.timeout
    with cx.out.busy(f"asking {settings.oauth.rest_url} …"):
        return await probe(settings, found, clock=system_clock, timeout=timeout)


def _failed(steps: list[Step]) -> bool:
    return any(step.verdict is Verdict.FAIL for step in steps)


def _drawn(steps: list[Step], secrets: Secrets) -> RenderableType:
    places = {read.secret: read.source for read in secrets.unwritten}
    rows = [(_SIGNS[step.verdict], step.name, places.get(step.name, ""), step.found) for step in steps]
    parts: list[RenderableType] = [table(("", "check", "from", "found"), rows, fold="found")]
    for step in steps:
        if step.fix:
            style = "bold" if step.verdict is Verdict.FAIL else "yellow"
            parts.append(Text.assemble((f"{step.name}: ", style), step.fix))
    if not _failed(steps):
        parts.append(Text("Nothing stands in the way.", style="green"))
    return Group(*parts)
