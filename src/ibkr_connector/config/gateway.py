"""`[gateway]`: what is known of the gateway's own habits, and what to do when it stays away."""

from __future__ import annotations

import shlex
from typing import Annotated

from pydantic import Field, field_validator

from ibkr_connector.config.resetwindow import ResetWindow
from ibkr_connector.config.section import Seconds, Section, Setting


class GatewaySettings(Section):
    """IBKR's resets, and a command that starts the gateway again."""

    nightly_reset: Annotated[
        str | None, Setting("IBKR's nightly reset, New York time: HH:MM-HH:MM; none: none is known")
    ] = "23:45-00:05"
    weekly_login: Annotated[
        str | None,
        Setting("when the gateway waits for its weekly login, New York time: DAY HH:MM-HH:MM; none: never"),
    ] = "sun 01:00-18:00"
    restart_command: Annotated[
        str | None,
        Setting("program and arguments that restart the gateway, run without a shell; none: never"),
    ] = None
    restart_after: Annotated[
        int, Field(ge=1, le=1_000), Setting("failed connection attempts in a row before the command is run")
    ] = 5
    restart_farms_after: Annotated[
        Seconds | None,
        Setting("a data farm broken for so long is a reason as well; none: it is not", unit="seconds"),
    ] = None
    restart_timeout: Annotated[Seconds, Setting("the command is ended after this time", unit="seconds")] = 120.0
    restart_wait: Annotated[Seconds, Setting("pause after the command, before connecting", unit="seconds")] = 15.0
    restart_period: Annotated[
        Annotated[float, Field(ge=60, le=31_536_000, allow_inf_nan=False)],
        Setting("the command is run at most once in this time, restarts of the program included", unit="seconds"),
    ] = 3_600.0

    @field_validator("restart_command", mode="before")
    @classmethod
    def _joined(cls, value: object) -> object:
        if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            return shlex.join(value)
        return value

    @field_validator("restart_command")
    @classmethod
    def _can_be_split(cls, value: str | None) -> str | None:
        try:
            if value is not None and not shlex.split(value):
                raise ValueError("there is nothing in it")
        except ValueError as error:
            raise ValueError(f"cannot be split into program and arguments: {error}") from None
        return value

    @field_validator("nightly_reset")
    @classmethod
    def _daily(cls, value: str | None) -> str | None:
        if value and ResetWindow.parse("", value).weekday is not None:
            raise ValueError("comes every day: HH:MM-HH:MM, no day of the week")
        return value

    @field_validator("weekly_login")
    @classmethod
    def _weekly(cls, value: str | None) -> str | None:
        if value and ResetWindow.parse("", value).weekday is None:
            raise ValueError("comes once a week: a day and two times, for example sun 01:00-18:00")
        return value

    @property
    def restart_argv(self) -> tuple[str, ...]:
        """The command as a list of arguments; empty: none."""
        return tuple(shlex.split(self.restart_command or ""))
