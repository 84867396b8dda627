"""How the demo is told: step by step, with what the gateway itself says happened on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from ibkr_connector.cli.demo.wire import told
from ibkr_connector.cli.output import Output
from ibkr_connector.clock import system_clock

_INDENT = (0, 0, 0, 3)
_SPARKS = "▁▂▃▄▅▆▇█"


class Story:
    """Tells the steps to a person, or keeps them for the JSON document."""

    def __init__(self, out: Output, *, pause: float, web: bool = False) -> None:
        self._out = out
        self._pause = pause
        self._web = web
        self.steps: list[dict[str, Any]] = []

    def _print(self, what: RenderableType) -> None:
        if not self._out.json_only:
            self._out.console.print(what)

    def begin(self, title: str, about: str) -> None:
        """The first words."""
        self._print(Panel(Text(about), title=title, title_align="left", border_style="blue"))

    async def step(self, name: str) -> None:
        """A new step."""
        if self.steps and self._pause:
            await system_clock.sleep(self._pause)
        self.steps.append({"name": name})
        self._print(Text(f"\n{len(self.steps)}. {name}", style="bold blue"))

    def say(self, text: str) -> None:
        """A sentence about the step."""
        self._print(Padding(Text(text), _INDENT, expand=False))

    def show(self, what: RenderableType) -> None:
        """Something drawn."""
        self._print(Padding(what, _INDENT, expand=False))

    def keep(self, **facts: Any) -> None:
        """Facts of the step, for the JSON document."""
        self.steps[-1].update(facts)

    def wire(self, entries: Sequence[dict[str, Any]]) -> None:
        """What the gateway received and did, in its own words, with milliseconds since the first message."""
        if not entries:
            return
        start = float(entries[0]["wire"])
        lines = [f"{(float(e['wire']) - start) * 1000:9.1f} ms  {told(e, web=self._web)}" for e in entries]
        self._print(Padding(Text("on the wire, by the gateway's own log:", style="dim italic"), _INDENT, expand=False))
        self._print(Padding(Text("\n".join(lines), style="dim"), _INDENT, expand=False))
        self.keep(wire=[{key: e[key] for key in ("seq", "kind")} | {"text": told(e, web=self._web)} for e in entries])


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The last `width` values as a line of blocks."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_SPARKS[int((value - low) / span * (len(_SPARKS) - 1))] for value in shown)
