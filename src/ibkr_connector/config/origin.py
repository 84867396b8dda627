"""Where a setting came from, so that an error or a listing can name the place to correct."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OriginKind(StrEnum):
    """The four sources, strongest first."""

    ARGUMENT = "argument"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """One value's source. `where` is an argument's name, a variable's name, or `file:line`; empty for a default."""

    kind: OriginKind
    where: str = ""
    name: str = ""
    """What a file calls the setting: `section.key` as it stands there (old files have names of their own)."""

    def of(self, name: str) -> str:
        """The source, with the name there where it is another one than `name`."""
        return f"{self} ({self.name})" if self.name not in ("", name) else str(self)

    def __str__(self) -> str:
        match self.kind:
            case OriginKind.ARGUMENT:
                return f"argument {self.where}"
            case OriginKind.ENVIRONMENT:
                return f"environment variable {self.where}"
            case OriginKind.FILE:
                return self.where
            case OriginKind.DEFAULT:
                return "default"


DEFAULT = Origin(OriginKind.DEFAULT)
