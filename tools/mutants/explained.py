"""The survivors somebody has looked at: changes that no test can notice, each with one line that says why."""

from __future__ import annotations

import tomllib
from pathlib import Path

FILE = "tools/mutants/explained.toml"


def load(path: Path) -> dict[tuple[str, str], str]:
    """(module, key) to the reason. Raises ValueError for an entry without one, or one that is there twice."""
    entries: dict[tuple[str, str], str] = {}
    for module, survivors in tomllib.loads(path.read_text("utf-8")).items():
        for entry in survivors:
            name = (module, f"{entry['where']}: {entry['was']} -> {entry['becomes']}{number_of(entry)}")
            if len(entry["why"].split()) < 3:
                raise ValueError(f"{FILE}: {name} has no reason")
            if name in entries:
                raise ValueError(f"{FILE}: {name} is there twice")
            entries[name] = entry["why"]
    return entries


def number_of(entry: dict[str, object]) -> str:
    """The number of a change among others that look the same, as keys show it."""
    return f" #{entry['n']}" if "n" in entry else ""


def stale(entries: dict[tuple[str, str], str], keys: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Entries whose change does not exist any more: the code they explain has gone."""
    return [(module, key) for module, key in entries if module not in keys or key not in keys[module]]
