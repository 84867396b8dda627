"""`[pacing]` and `[breaker]`: how fast to ask, and when to stop asking."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ibkr_connector.config.section import Seconds, Section, Setting


class PacingSettings(Section):
    """How fast messages may go out, and how many quotes may come in."""

    messages_per_second: Annotated[
        int,
        Field(ge=1, le=500),
        Setting("IBKR's limit: market data lines / 2, so 50 with the usual 100 lines", unit="messages per second"),
    ] = 50
    cancel_reserve: Annotated[
        int, Field(ge=1, le=100), Setting("kept free of them for cancels and the kill", unit="messages per second")
    ] = 10
    market_data_lines: Annotated[
        int,
        Field(ge=1, le=10_000),
        Setting("contracts quoted at a time: 100 unless the account has more (error 101 beyond)"),
    ] = 100

    @model_validator(mode="after")
    def _reserve_fits(self) -> PacingSettings:
        if self.cancel_reserve >= self.messages_per_second:
            raise ValueError("cancel_reserve should be smaller than messages_per_second")
        return self


class BreakerSettings(Section):
    """When to stop trying, and for how long."""

    failures: Annotated[int, Field(ge=1, le=1_000), Setting("failures in a row that open the breaker")] = 3
    cooldown: Annotated[Seconds, Setting("how long it stays open the first time", unit="seconds")] = 30.0
    max_cooldown: Annotated[Seconds, Setting("what the growing cool-down never exceeds", unit="seconds")] = 300.0
    half_open_trials: Annotated[int, Field(ge=1, le=100), Setting("trial calls let through afterwards")] = 1
    failure_rate: Annotated[
        float, Field(gt=0, le=1, allow_inf_nan=False), Setting("share of failures that opens it as well")
    ] = 0.5
    minimum_sample: Annotated[int, Field(ge=1, le=100_000), Setting("calls needed before that share counts")] = 20
    slow_after: Annotated[
        Seconds | None, Setting("an answer that takes longer is slow; none: none is", unit="seconds")
    ] = None
    slow_rate: Annotated[
        float, Field(gt=0, le=1, allow_inf_nan=False), Setting("share of slow answers that opens it as well")
    ] = 0.8
    action: Annotated[
        Literal["protect", "watch", "off"],
        Setting("protect; watch: count and refuse nothing; off: neither. An operator can open it in any case"),
    ] = "protect"

    @model_validator(mode="after")
    def _cooldowns_ordered(self) -> BreakerSettings:
        if self.max_cooldown < self.cooldown:
            raise ValueError("max_cooldown should not be smaller than cooldown")
        return self
