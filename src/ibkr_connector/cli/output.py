"""What the command line writes, and where: results on stdout, everything said to a person on stderr.

With `--json` stdout holds JSON and nothing else: one document, or one per line for streams. An error is a document too
(`{"error": …, "message": …, "remedy": …, "exit_code": …}`).
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ibkr_connector.cli.exits import ExitCode, exit_code
from ibkr_connector.errors import Outcome, TradingError

_NO_EDGE = 160
_NARROWEST = 9
"""Columns of a table that may be folded stay at least this wide."""


class Output:
    """Where a command's results and remarks go."""

    def __init__(self, *, json_only: bool) -> None:
        self.json_only = json_only
        self.console = _console(stderr=False)
        self.errors = _console(stderr=True)
        self._said: set[str] = set()

    # --- results ---------------------------------------------------------------------------------------------------

    def result(self, data: Any, human: Callable[[], RenderableType]) -> None:
        """The command's result: `data` as JSON, or what `human` draws."""
        if self.json_only:
            self.document(data)
        else:
            self.console.print(human())

    def document(self, data: Any) -> None:
        """One JSON document on one line."""
        sys.stdout.write(as_json(data) + "\n")
        sys.stdout.flush()

    def text(self, text: str) -> None:
        """Plain text on stdout, as it is (CSV, file contents)."""
        sys.stdout.write(text)
        sys.stdout.flush()

    # --- remarks ---------------------------------------------------------------------------------------------------

    def note(self, text: str, style: str = "dim") -> None:
        """Something a person may want to know; stderr."""
        self.errors.print(Text(text, style=style), soft_wrap=True)

    def note_once(self, text: str, style: str = "dim") -> None:
        """The same, but for what has been said already."""
        if text not in self._said:
            self._said.add(text)
            self.note(text, style)

    @contextlib.contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show on stderr that something is being waited for, where there is somebody to see it."""
        with self.errors.status(text):
            yield

    # --- errors ----------------------------------------------------------------------------------------------------

    def failed(self, error: TradingError, outcome: Outcome | None = None) -> ExitCode:
        """Tell an error of the library; returns the exit code. `outcome`: what is known better than by its class."""
        code = exit_code(error)
        if self.json_only:
            known = error.outcome if outcome is None else outcome
            self.document({**error.to_dict(), "outcome": known.value, "exit_code": int(code)})
            return code
        number = f" [{error.code}]" if error.code is not None else ""
        body = Text(error.message.rstrip())
        if error.remedy:
            body.append(f"\n→ {error.remedy}", style="bold")
        details = _details(error)
        if details:
            body.append("\n" + details, style="dim")
        title = f"{type(error).__name__}{number}"
        self.errors.print(Panel(body, title=title, title_align="left", border_style="red", expand=False))
        return code

    def refused(
        self,
        kind: str,
        message: str,
        remedy: str,
        code: ExitCode,
        *,
        outcome: Outcome = Outcome.NOT_APPLICABLE,
        **more: Any,
    ) -> ExitCode:
        """Tell an error that has no exception of the library: one line; returns the exit code.

        The document has the keys of every other error, and `more`.
        """
        if self.json_only:
            self.document(
                {
                    "error": kind,
                    "message": message,
                    "code": None,
                    "remedy": remedy,
                    "retryable": False,
                    "outcome": outcome.value,
                    "context": {},
                    **more,
                    "exit_code": int(code),
                }
            )
        else:
            text = Text.assemble(("Error: ", "bold red"), message.rstrip(), " ", (remedy, "bold"))
            self.errors.print(text, soft_wrap=True)
        return code


def _console(*, stderr: bool) -> Console:
    found = Console(stderr=stderr, highlight=False)
    # A file or a pipe has no edge: nothing is folded or cut there.
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_NO_EDGE)


_SHOWN_CONTEXT = ("field", "value", "legal", "origin", "suggestion", "order_ref", "pid", "path", "retry_after", "gates")


def _details(error: TradingError) -> str:
    """The parts of the context that are not in the message already."""
    parts = []
    for key in _SHOWN_CONTEXT:
        value = error.context.get(key)
        if value in (None, "", [], ()) or str(value).strip("'") in error.message:
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        parts.append(f"{key}: {shown}")
    return " · ".join(parts)


# --- drawing --------------------------------------------------------------------------------------------------------


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", right: str = "", fold: str = ""
) -> Table:
    """A table; `right` names the columns of numbers, `fold` those that may take several lines, separated by commas."""
    drawn = Table(title=title or None, title_justify="left", header_style="bold", pad_edge=False)
    numbers = {name.strip() for name in right.split(",")}
    folded = {name.strip() for name in fold.split(",")}
    for name in columns:
        drawn.add_column(
            name,
            justify="right" if name in numbers else "left",
            no_wrap=name not in folded,
            overflow="fold",
            min_width=_NARROWEST if name in folded else None,
        )
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(shown(cell)) for cell in row))
    return drawn


def facts(pairs: Iterable[tuple[str, object]], *, title: str = "") -> Table:
    """Names and values, one a line."""
    drawn = Table(title=title or None, title_justify="left", show_header=False, box=None, pad_edge=False)
    drawn.add_column(style="dim")
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        drawn.add_row(name, value if isinstance(value, Text) else Text(shown(value)))
    return drawn


def shown(value: object) -> str:
    """A value for a person: no exponents, no trailing zeros beyond cents, `-` for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, float):
        return "-" if math.isnan(value) else number(Decimal(str(value)))
    return str(value)


def number(value: Decimal) -> str:
    """Grouped digits; whole numbers without decimals, others with at least two."""
    if value == value.to_integral_value():
        return f"{value:,.0f}"
    plain = value.normalize()
    exponent = plain.as_tuple().exponent
    places = max(2, -exponent if isinstance(exponent, int) else 2)
    return f"{plain:,.{min(places, 8)}f}"


def money(value: Decimal | None, currency: str = "") -> Text:
    """An amount with two decimals; losses in red."""
    if value is None:
        return Text("-")
    text = f"{value:,.2f} {currency}".rstrip()
    return Text(text, style="red" if value < 0 else "")


def as_json(data: Any) -> str:
    """JSON that every parser reads: no NaN, Decimals as numbers, other things as text."""
    return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        plain = float(value)
        return plain if math.isfinite(plain) else None
    return str(value)
