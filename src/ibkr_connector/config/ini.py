"""A reader for INI files that keeps each value's line number.

The standard library's configparser forgets lines, treats `%` in a password as syntax and accepts a value spread over
several lines, where a mis-indented key silently becomes part of the value above it. This reader does none of that: a
line is empty, a comment (`#` or `;` first), a `[section]`, or `key = value` (`:` works too). What follows the first
separator belongs to the value, as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibkr_connector.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1_000_000
"""A settings file is a page of text; anything larger is some other file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key = value` line. `section` is empty above the first header; names are lower case."""

    section: str
    key: str
    value: str
    line: int


def read_ini(path: Path) -> list[Entry]:
    """Read the entries of a file in their order.

    Raises ConfigurationError naming file and line: unreadable, not UTF-8, a line that is none of the four kinds, a
    key given twice in a section.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise ConfigurationError(
            f"The settings file {path} cannot be read: {reason}.",
            remedy="Check the path and its permissions, or write a new file with `ibkr-connector init`.",
            field=None,
            origin=str(path),
        ) from error
    if len(raw) > MAX_BYTES:
        raise _refuse(path, 0, f"the file is larger than {MAX_BYTES} bytes", "Is this the right file?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _refuse(path, line, "the file is not UTF-8 text", "Save it as UTF-8.") from None
    return parse_ini(text, path)


def parse_ini(text: str, path: Path) -> list[Entry]:
    """Parse INI text; `path` is only named in errors. Values never appear in them: one may be a password."""
    entries: list[Entry] = []
    seen: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.strip()
        if not content or content[0] in "#;":
            continue
        if content[0] == "[":
            if content[-1] != "]" or not content[1:-1].strip():
                raise _refuse(path, number, "a section header needs the form [name]", "Close the bracket.")
            section = content[1:-1].strip().lower()
            continue
        positions = [at for at in (content.find("="), content.find(":")) if at >= 0]
        key = content[: min(positions)].strip().lower() if positions else ""
        if not key:
            raise _refuse(
                path,
                number,
                "the line is neither a comment, nor a [section], nor key = value",
                "Put # in front of a comment; a value does not continue on the next line.",
            )
        first = seen.setdefault((section, key), number)
        if first != number:
            raise _refuse(
                path,
                number,
                f"{key} was already given in this section on line {first}",
                "Keep one of the two lines.",
                field=f"{section}.{key}",
            )
        entries.append(Entry(section, key, content[min(positions) + 1 :].strip(), number))
    return entries


def _refuse(path: Path, line: int, problem: str, remedy: str, *, field: str | None = None) -> ConfigurationError:
    origin = f"{path}:{line}" if line else str(path)
    return ConfigurationError(f"{origin}: {problem}.", remedy=remedy, field=field, origin=origin)
