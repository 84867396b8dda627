"""What became of each mutant: kept in a file line by line, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.mutants.plan import core_of

MARK = ("<!-- mutants: begin -->", "<!-- mutants: end -->")


@dataclass(frozen=True, slots=True)
class Result:
    """One mutant's fate: killed, timeout (noticed, too: it hung), survived, unseen (no test runs the line)."""

    module: str
    key: str
    verdict: str
    seconds: float
    source: str
    """Digest of the module it was tried on."""
    tests: str
    """Digest of the tests that tried it."""

    @property
    def alive(self) -> bool:
        """Whether no test noticed."""
        return self.verdict in ("survived", "unseen")


def digest(paths: Iterable[Path]) -> str:
    """A short name for the content of files."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:16]


class Store:
    """The results file: JSON lines, the last one about a mutant counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[tuple[str, str], Result] = {}
        if path.is_file():
            for line in path.read_text("utf-8").splitlines():
                result = Result(**json.loads(line))
                self.known[result.module, result.key] = result

    def clear(self) -> None:
        """Begin anew."""
        self.known.clear()
        self._path.unlink(missing_ok=True)

    def add(self, result: Result) -> None:
        """Keep one result."""
        self.known[result.module, result.key] = result
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")

    def still_true(self, module: str, key: str, source: str, tests: str, *, explained: bool = False) -> Result | None:
        """An earlier result that holds for this text; a survivor's only while the tests are the same, or explained."""
        found = self.of_source(module, key, source)
        return None if found is None or (found.alive and not explained and found.tests != tests) else found

    def of_source(self, module: str, key: str, source: str) -> Result | None:
        """The newest result for this text of the module, whatever tests there were; others are not counted."""
        found = self.known.get((module, key))
        return None if found is None or found.source != source else found


def table(results: Iterable[Result], explained: Mapping[tuple[str, str], str], whole: Mapping[str, int]) -> list[str]:
    """One Markdown row per module and their sum. `whole`: how many mutants each module has, tried or not."""
    rows: dict[str, Counter[str]] = {module: Counter() for module in whole}
    for result in results:
        rows[result.module][fate(result, explained)] += 1
    for module, counts in rows.items():
        counts["untried"] = whole[module] - counts.total()
    names = {
        "killed": "killed",
        "timeout": "hung",
        "explained": "explained",
        "survived": "not explained",
        "unseen": "run by no test",
        "untried": "not tried",
    }
    lines = [
        f"| module | part of the core | mutants | {' | '.join(names.values())} |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for module, counts in rows.items():
        numbers = " | ".join(f"{counts[name]:,}" for name in names)
        lines.append(f"| `{module}` | {core_of(module)} | {counts.total():,} | {numbers} |")
    everything: Counter[str] = Counter()
    for counts in rows.values():
        everything.update(counts)
    numbers = " | ".join(f"**{everything[name]:,}**" for name in names)
    lines.append(f"| **all** | | **{everything.total():,}** | {numbers} |")
    return lines


def fate(result: Result, explained: Mapping[tuple[str, str], str]) -> str:
    """The column a result is counted in."""
    return "explained" if result.alive and (result.module, result.key) in explained else result.verdict


def write_between(page: Path, lines: Iterable[str]) -> None:
    """Put lines between the marks of a page. Raises ValueError when the marks are not there."""
    text = page.read_text("utf-8")
    begin, end = (text.find(mark) for mark in MARK)
    if not 0 <= begin < end:
        raise ValueError(f"{page.name} needs the lines {MARK[0]} and {MARK[1]}: the record goes between them")
    page.write_text(text[: begin + len(MARK[0])] + "\n" + "\n".join(lines) + "\n" + text[end:], "utf-8")
