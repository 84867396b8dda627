"""What a benchmark reports, and how it is shown: on the terminal, as Markdown, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .stats import Ratio

BEGIN = "<!-- bench: begin -->"
END = "<!-- bench: end -->"
LONG = ("<!-- bench long: begin -->", "<!-- bench long: end -->")
"""Around the result of `--long`, which the usual run leaves alone."""


@dataclass(frozen=True, slots=True)
class Check:
    """One measured number beside its target."""

    what: str
    ratio: Ratio
    rule: Literal["<=", ">="]
    limit: float
    unit: str = "×"

    @property
    def met(self) -> bool:
        """Whether the number keeps to the target."""
        return self.ratio.value <= self.limit if self.rule == "<=" else self.ratio.value >= self.limit

    def cells(self) -> list[str]:
        """The row of the table of targets."""
        spread = f"{plain(self.ratio.low)} – {plain(self.ratio.high)}"
        sign = "≤" if self.rule == "<=" else "≥"
        verdict = "met" if self.met else "missed"
        return [
            self.what,
            f"{plain(self.ratio.value)} {self.unit}".rstrip(),
            spread,
            f"{sign} {self.limit:g} {self.unit}".rstrip(),
            verdict,
        ]


CHECK_HEADER = ["what", "measured", "min – max of the rounds", "target", "verdict"]


@dataclass(slots=True)
class Section:
    """The result of one benchmark."""

    name: str
    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "rows": [dict(zip(self.header, row, strict=True)) for row in self.rows],
            "checks": [{**asdict(check), "met": check.met} for check in self.checks],
            "notes": self.notes,
        }


# --- numbers ----------------------------------------------------------------------------------------------------------


def plain(value: float) -> str:
    """Three significant digits, no exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    if abs(value) >= 0.1:
        return f"{value:.2f}"
    return f"{value:.2g}" if abs(value) >= 0.001 else f"{value:.6f}".rstrip("0")


def duration(seconds: float) -> str:
    """Seconds in the unit a person would choose."""
    if seconds >= 1:
        return f"{plain(seconds)} s"
    if seconds >= 0.001:
        return f"{plain(seconds * 1e3)} ms"
    return f"{plain(seconds * 1e6)} µs"


def times(ratio: Ratio) -> str:
    """A ratio and its spread in one cell."""
    return f"{plain(ratio.value)} ({plain(ratio.low)} – {plain(ratio.high)})"


# --- tables -----------------------------------------------------------------------------------------------------------


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned for a terminal."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table; a bar inside a cell is escaped."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *(line(row) for row in rows)])


def all_checks(sections: Sequence[Section]) -> list[Check]:
    """Every target of the run."""
    return [check for section in sections for check in section.checks]


def as_text(sections: Sequence[Section], machine: dict[str, str]) -> str:
    """The whole run for a terminal."""
    parts = ["\n".join(f"{key}: {value}" for key, value in machine.items())]
    for section in sections:
        part = f"== {section.title}\n{text_table(section.header, section.rows)}"
        parts.append("\n".join([part, *(f"   {note}" for note in section.notes)]))
    checks = all_checks(sections)
    if checks:
        parts.append(f"== Targets\n{text_table(CHECK_HEADER, [check.cells() for check in checks])}")
    return "\n\n".join(parts)


def as_markdown(sections: Sequence[Section], machine: dict[str, str], level: int = 2) -> str:
    """The whole run for `docs/BENCHMARKS.md`; `level` is that of its headings."""
    sign = "#" * level
    parts = ["\n".join(f"* {key}: {value}" for key, value in machine.items())]
    checks = all_checks(sections)
    if checks:
        parts += [f"{sign} Targets", markdown_table(CHECK_HEADER, [check.cells() for check in checks])]
    for section in sections:
        parts += [f"{sign} {section.title}", markdown_table(section.header, section.rows)]
        if section.notes:
            parts.append("\n".join(f"* {note}" for note in section.notes))
    return "\n\n".join(parts)


def between_markers(document: str, body: str, markers: tuple[str, str] = (BEGIN, END)) -> str:
    """`document` with what stands between the markers replaced; ValueError when it has no pair of markers."""
    first, last = markers
    head, begin, rest = document.partition(first)
    _, end, tail = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the document has no line {first} followed by a line {last}")
    return f"{head}{first}\n\n{body}\n\n{last}{tail}"
