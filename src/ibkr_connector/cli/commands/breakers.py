"""`breaker status`, `breaker open`, `breaker reset`: an operator's word on the circuit breakers. Connects to nothing.

Every connector of this machine that uses the gateway reads the word before its next try, and after a restart.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ibkr_connector.cli.common import Cx, command
from ibkr_connector.cli.output import facts
from ibkr_connector.clock import system_clock
from ibkr_connector.config import Settings
from ibkr_connector.models.arguments import sentence
from ibkr_connector.session.operator import PLANES, OperatorWord


class PlaneName(StrEnum):
    """What a breaker stands before."""

    CONNECT = "connect"
    ORDERS = "orders"
    READS = "reads"


_Plane = Annotated[PlaneName, typer.Argument(help="connect: attempts to connect; orders: new orders; reads: the rest.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Circuit breakers held open by hand.", no_args_is_help=True)
    command(group, "status")(status)
    command(group, "open")(hold_open)
    command(group, "reset")(reset)
    app.add_typer(group, name="breaker")


def status(cx: Cx) -> None:
    """Show what is held open by hand. What a running program's own breakers do, its metrics and health tell."""
    _show(cx)


def hold_open(
    cx: Cx, plane: _Plane, reason: Annotated[str, typer.Argument(help="Why, for whoever meets the refusal.")]
) -> None:
    """Refuse all calls of a plane until `breaker reset`, in every program of this gateway. Cancels still pass."""
    _word(cx).force_open(plane.value, sentence(reason, "reason"))
    _show(cx)


def reset(cx: Cx, plane: _Plane) -> None:
    """Let go what was held open by hand. A breaker that opened of itself closes of itself."""
    _word(cx).reset(plane.value)
    _show(cx)


def _settings(cx: Cx) -> Settings:
    """With host and port of the gateway in use: for the Web API those of its address."""
    from ibkr_connector.backends.factory import with_endpoint

    return with_endpoint(cx.settings())


def _word(cx: Cx) -> OperatorWord:
    settings = _settings(cx)
    connection = settings.connection
    return OperatorWord(settings.paths.state_dir, f"{connection.host}:{connection.port}", system_clock)


def _show(cx: Cx) -> None:
    connection = _settings(cx).connection
    forced = _word(cx).forced()
    where = f"{connection.host}:{connection.port}"
    data: dict[str, Any] = {"gateway": where, "held_open": forced}
    pairs = [(plane, f"held open: {forced[plane]}" if plane in forced else "automatic") for plane in PLANES]
    cx.out.result(data, lambda: facts([("gateway", where), *pairs]))
