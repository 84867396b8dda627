"""`[agent.NAME]` and `[symbol.NAME]`: sections of which there are as many as somebody writes.

They can only tighten what `[risk_limits]` says, and come from the settings file or from arguments
(`agents={"momentum-1": {"max_order_size": 100}}`); there are no variables for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from ibkr_connector.config.findings import Findings
from ibkr_connector.config.ini import Entry
from ibkr_connector.config.origin import Origin, OriginKind
from ibkr_connector.config.risk import AgentLimits, RiskSettings, SymbolLimits

_S = TypeVar("_S", bound=SymbolLimits)
ARGUMENTS = ("agents", "symbols")


@dataclass(slots=True)
class Kind(Generic[_S]):
    """All sections of one kind."""

    prefix: str
    model: type[_S]
    values: dict[str, dict[str, object]] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def put(self, name: str, key: str, value: object, origin: Origin, findings: Findings) -> None:
        """Take in one key."""
        where = f"{self.prefix}.{name}.{key}"
        if key not in self.model.model_fields:
            near = get_close_matches(key, list(self.model.model_fields), n=1, cutoff=0.6)
            legal = f"Did you mean {near[0]}?" if near else f"There are {', '.join(self.model.model_fields)}."
            if key in RiskSettings.model_fields:
                near, legal = [], f"It is a limit of the account alone: set {key} in [risk_limits]. {legal}"
            findings.refuse(
                f"{origin}: there is no key {key} in [{self.prefix}.{name}].", legal, where, origin, *near[:1]
            )
            return
        self.values.setdefault(name, {})[key] = None if isinstance(value, str) and value.lower() == "none" else value
        self.origins[where] = origin

    def sections(self, findings: Findings) -> dict[str, _S]:
        """Every section, validated."""
        found: dict[str, _S] = {}
        for name, values in self.values.items():
            try:
                found[name] = self.model.model_validate(values)
            except ValidationError as error:
                for detail in error.errors(include_url=False, include_input=False, include_context=False):
                    key = str(detail["loc"][0]) if detail["loc"] else ""
                    where = f"{self.prefix}.{name}.{key}"
                    origin = self.origins.get(where, Origin(OriginKind.DEFAULT))
                    problem = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
                    findings.refuse(f"{where} ({origin}) {problem}.", "Correct the limit.", where, origin)
        return found


@dataclass(slots=True)
class SubSections:
    """The sections of agents and of symbols, as they are found."""

    agents: Kind[AgentLimits] = field(default_factory=lambda: Kind("agent", AgentLimits))
    symbols: Kind[SymbolLimits] = field(default_factory=lambda: Kind("symbol", SymbolLimits))

    def from_file(self, entries: list[Entry], path: Path | None, findings: Findings) -> list[Entry]:
        """Take in the entries of such sections; returns the others."""
        rest = []
        for entry in entries:
            prefix, dot, name = entry.section.partition(".")
            kinds: dict[str, Kind[Any]] = {"agent": self.agents, "symbol": self.symbols}
            kind = kinds.get(prefix)
            if kind is None or not dot or not name.strip():
                rest.append(entry)
            elif entry.value:
                origin = Origin(OriginKind.FILE, f"{path}:{entry.line}")
                kind.put(name.strip(), entry.key, entry.value, origin, findings)
        return rest

    def from_arguments(self, overrides: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
        """Take in `agents=` and `symbols=`; returns the other arguments."""
        kinds: tuple[Kind[Any], ...] = (self.agents, self.symbols)
        for argument, kind in zip(ARGUMENTS, kinds, strict=True):
            given = overrides.get(argument) or {}
            if not isinstance(given, Mapping) or not all(isinstance(keys, Mapping) for keys in given.values()):
                findings.refuse(
                    f"argument {argument} should be a mapping of names to limits.",
                    f'For example {argument}={{"momentum-1": {{"max_order_size": 100}}}}.',
                    argument,
                    Origin(OriginKind.ARGUMENT, argument),
                )
                continue
            for name, keys in given.items():
                for key, value in keys.items():
                    origin = Origin(OriginKind.ARGUMENT, f"{argument}[{name!r}][{key!r}]")
                    kind.put(str(name).lower(), key, value, origin, findings)
        return {name: value for name, value in overrides.items() if name not in ARGUMENTS}
