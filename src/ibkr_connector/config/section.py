"""What every section of the settings is made of."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


@dataclass(frozen=True, slots=True)
class Setting:
    """What a listing says about a field, and how the environment may touch it."""

    help: str
    unit: str = ""
    env: str | None = None
    """The environment variable's name where it is not IBKR_<SECTION>_<KEY>."""
    also: str = ""
    """Another environment variable that means the same: the one a library of the field reads."""
    looser: Literal["", "higher", "lower", "yes", "no", "fewer", "other"] = ""
    """The direction that loosens a risk limit: the environment may not go there. `fewer`: of a list; `other`: than it
    is, unless it is off."""
    file_only: bool = False
    """Only the settings file may say it."""
    endpoint: bool = False
    """Written in [paper_trading] or [live_trading], whichever the mode selects."""


def endpoint(text: str, env: str, *, unit: str = "") -> Setting:
    """A setting of the gateway in use: written under the mode it belongs to."""
    return Setting(text, unit=unit, env=env, endpoint=True)


def _holds_numbers(annotation: Any) -> bool:
    return annotation in {int, float, Decimal} or any(_holds_numbers(part) for part in get_args(annotation))


Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Limit = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Tiers = tuple[Seconds, Seconds, Seconds]


class Section(BaseModel):
    """Base of all sections: immutable, no unknown fields, no values in error texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_digits(cls, value: object, info: ValidationInfo) -> object:
        """Numbers written as text have ASCII digits and nothing between them: `1_000` is a typing error."""
        parts = value if isinstance(value, list | tuple) else [value]
        if _holds_numbers(cls.model_fields[str(info.field_name)].annotation) and any(
            isinstance(part, str) and (not part.isascii() or "_" in part) for part in parts
        ):
            raise ValueError("should be written with the digits 0-9 alone, without _ or other scripts' digits")
        return value


def loosens(direction: str, before: Any, after: Any) -> bool:
    """Whether a limit that goes from `before` to `after` is looser then; see `Setting.looser`."""
    match direction:
        case "higher":
            return before is not None and (after is None or after > before)
        case "lower":
            return before is not None and (after is None or after < before)
        case "fewer":
            return not set(before) <= set(after)
        case "other":
            return before not in {"off", after}
        case "yes":
            return bool(after and not before)
        case _:
            return bool(before and not after)
