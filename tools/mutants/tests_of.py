"""Which tests see a changed line: from running them once with coverage. Test files that changed are asked again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.mutants.operators import Mutant
from tools.mutants.plan import PACKAGE, PROCESSES, UNIT
from tools.mutants.results import digest

_MOST_SECONDS = 25.0
"""Of wider tests per mutant: the fastest ones that see it, up to this."""

Survey = Callable[[Sequence[str], Path], None]


@dataclass(frozen=True, slots=True)
class Tier:
    """Tests to run together, and the seconds they take unchanged. The next tier is asked when this noticed nothing."""

    tests: tuple[str, ...]
    seconds: float


class TestMap:
    """Who runs which line."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._lines: dict[str, dict[int, set[str]]] = {}

    def add(self, file: Path) -> None:
        """Take over what a survey wrote."""
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
        self.seconds.update(report["seconds"])
        self.failed += report["failed"]
        for name, lines in report["lines"].items():
            known = self._lines.setdefault(name, {})
            for line, who in lines.items():
                known.setdefault(int(line), set()).update(who)

    def select(self, module: str, mutant: Mutant) -> list[Tier]:
        """The tests that run the changed lines.

        Of lines that run while the module is imported: all tests of the files that enter it, for a test of a constant
        runs no line of its module.
        """
        lines = self._lines.get(f"{PACKAGE}/{module}", {})
        span = range(mutant.first_line, mutant.last_line + 1)
        seen: set[str] = set().union(*(lines.get(line, set()) for line in span))
        if "" in seen:
            files = {test.partition("::")[0] for tests in lines.values() for test in tests}
            seen = {test for test in self.seconds if test.partition("::")[0] in files}
        seen &= self.seconds.keys()
        unit = sorted((test for test in seen if test.startswith(UNIT)), key=lambda test: self._order(module, test))
        tiers = [Tier(tuple(unit), sum(self.seconds[test] for test in unit))]
        tiers += [Tier(files, 10.0) for start, files in PROCESSES.items() if module.startswith(start)]
        beyond, budget = [], _MOST_SECONDS
        for test in sorted(seen.difference(unit), key=self.seconds.__getitem__):
            budget -= self.seconds[test]
            if budget < 0:
                break
            beyond.append(test)
        tiers.append(Tier(tuple(beyond), sum(self.seconds[test] for test in beyond)))
        return [tier for tier in tiers if tier.tests]

    def _order(self, module: str, test: str) -> tuple[bool, float]:
        """The module's own tests first, then the fast ones."""
        return (f"test_{Path(module).stem}" not in test, self.seconds[test])


def survey(repo: Path, state: Path, folders: Iterable[str], run: Survey) -> TestMap:
    """The map of all tests in these folders: kept parts, and one run of the files that changed since.

    Raises ValueError naming the tests that fail without any change.
    """
    helpers = [path for path in (repo / "tests").rglob("*.py") if not path.name.startswith("test_")]
    base = digest([*helpers, *(repo / "src").rglob("*.py")])
    place = state / "map"
    place.mkdir(parents=True, exist_ok=True)
    found, wanted = TestMap(), {}
    for folder in folders:
        for path in sorted((repo / folder).rglob("test_*.py")):
            name = str(path.relative_to(repo))
            wanted[name] = place / f"{name.replace('/', '.')}-{base}-{digest([path])}.json"
    kept = {part.name for part in wanted.values()}
    if not any(part.is_file() for part in wanted.values()):
        kept = set()
    for old in place.iterdir():
        if base not in old.name and old.name not in kept:
            old.unlink()
    missing = {name: part for name, part in wanted.items() if not part.is_file()}
    if missing:
        print(f"finding out which lines the tests of {len(missing)} files run", flush=True)
        target = place / "survey.tmp"
        run(tuple(missing), target)
        _split(json.loads(target.read_text("utf-8")), missing)
        target.unlink()
    for part in wanted.values():
        found.add(part)
    if found.failed:
        for name in {test.partition("::")[0] for test in found.failed}:
            wanted[name].unlink()
        raise ValueError(f"these tests fail without any change: {', '.join(found.failed)}")
    return found


def _split(report: dict[str, Any], parts: dict[str, Path]) -> None:
    """One file per test file, so that each can be asked again on its own."""
    for name, part in parts.items():

        def mine(test: str, name: str = name) -> bool:
            return not test or test.startswith(f"{name}::")

        lines = {
            module: {line: kept for line, who in found.items() if (kept := [test for test in who if mine(test)])}
            for module, found in report["lines"].items()
        }
        own = {
            "seconds": {test: seconds for test, seconds in report["seconds"].items() if mine(test)},
            "failed": [test for test in report["failed"] if mine(test)],
            "lines": lines,
        }
        part.write_text(json.dumps(own), "utf-8")
