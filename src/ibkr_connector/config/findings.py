"""What reading the configuration brings up: refusals, raised together, and remarks."""

from __future__ import annotations

from dataclasses import dataclass, field

from ibkr_connector.config.origin import Origin
from ibkr_connector.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and what to do."""

    message: str
    remedy: str
    field: str
    origin: str
    suggestion: str | None = None


@dataclass(slots=True)
class Findings:
    """What came up while reading: refusals and remarks."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, message: str, remedy: str, where: str, origin: Origin, suggestion: str | None = None) -> None:
        """Note a problem; reading goes on, so that the user learns of all of them."""
        self.problems.append(Problem(message, remedy, where, str(origin), suggestion))

    def raise_if_any(self) -> None:
        """All problems in one error; its fields are those of the first."""
        if not self.problems:
            return
        first = self.problems[0]
        if len(self.problems) == 1:
            message, remedy = first.message, first.remedy
        else:
            lines = [f"  {problem.message} {problem.remedy}" for problem in self.problems]
            message = "\n".join([f"{len(lines)} settings are wrong:", *lines, ""])
            remedy = "`ibkr-connector config show` lists every value with its origin."
        raise ConfigurationError(
            message, remedy=remedy, field=first.field, origin=first.origin, suggestion=first.suggestion
        )
