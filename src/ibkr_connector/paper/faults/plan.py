"""Fault plans: what shall go wrong, when and for how long. Checked in full before anything runs.

    version = 1

    [[fault]]
    kind = "reset_after_write"
    on = "place_order"
    nth = 2

A number of seconds is wire time, as a client lives it; an ISO time or a TOML time is market time.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from .catalogue import (
    BOTH_FRONTS,
    ERROR_TEXTS,
    EXECUTION,
    FARMS,
    KINDS,
    LINK_BACK,
    LINK_LOST,
    REPLY,
    REQUEST,
    WEB,
    Kind,
)
from .messages import FILL, REPLIES, REQUESTS

VERSION: Final = 1
"""Of the plan file."""
MAX_SIZE: Final = 4 * 1024 * 1024
"""Bytes of the longest plan that is read."""
MAX_SECONDS: Final = 366 * 86_400.0
_TRIGGER: Final = ("kind", "name", "at", "on", "nth", "times", "probability", "client_id", "front")


class PlanError(ValueError):
    """The plan makes no sense; the text says where and what would."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that shall go wrong. Raises PlanError unless every value makes sense for its kind.

    When: `on` a message (a request or reply by its name, `fill`, `any`), from the `nth` one that fits on, `times` times
    (default once; without limit where a `probability` is given), each with `probability`; `at` a time (seconds from
    when it is armed, or an aware market time); both: counting begins at that time; neither: at once. What: `kind`
    and the options of the catalogue. Options that do not belong to the kind must be left out (None).
    """

    kind: str
    _: KW_ONLY
    name: str = ""
    """A label for the truth log."""
    at: float | datetime | str | None = None
    on: str | None = None
    nth: int = 1
    times: int | None = None
    probability: float | None = None
    client_id: int | None = None
    """Only this client of the TWS front; None = any."""
    front: str | None = None
    """Only this front: tws or web; None = both."""
    for_: float | None = None
    """Wire seconds (in plan files `for`)."""
    delay: float | None = None
    by: float | None = None
    """Market seconds."""
    count: int | None = None
    pieces: int | None = None
    rollback_ids: int | None = None
    ticks: int | None = None
    code: int | None = None
    restore: int | None = None
    text: str | None = None
    reply: str | None = None
    farm: str | None = None
    symbol: str | None = None

    def __post_init__(self) -> None:
        kind = KINDS.get(str(self.kind))
        if kind is None:
            raise PlanError(f"unknown kind {self.kind!r}{_nearest(self.kind, KINDS)}")
        for item in fields(self):
            if getattr(self, item.name) is None and item.default is not None:
                object.__setattr__(self, item.name, item.default)
            self._check_field(item.name, kind)
        self._check_trigger(kind)
        self._check_together()

    def _check_field(self, attribute: str, kind: Kind) -> None:
        key = attribute.rstrip("_")
        value = getattr(self, attribute)
        if key not in _TRIGGER and key not in kind.options:
            if value is not None:
                raise PlanError(_no_such_key(self.kind, key, kind))
            return
        if value is None:
            if key in kind.required:
                raise PlanError(f"{self.kind} needs {key!r}")
            value = kind.options.get(key)
        if value is not None:
            object.__setattr__(self, attribute, _CHECKS[key](key, value))

    def _check_trigger(self, kind: Kind) -> None:
        if self.on is None and self.at is None and kind.default_on is not None:
            object.__setattr__(self, "on", kind.default_on)
        if self.on is None:
            if not kind.timed:
                raise PlanError(f"{self.kind} needs 'on': the message that triggers it")
            if self.nth != 1 or self.times not in {None, 1}:
                raise PlanError("'nth' and 'times' count messages: say which with 'on'")
        elif kind.only_on and self.on not in kind.only_on:
            raise PlanError(f"{self.kind} happens on {_list(kind.only_on)}, not on {self.on!r}")
        elif not any(self.on in _MOMENTS[group] for group in kind.on):
            fitting = "" if kind.on == {EXECUTION} else _nearest(self.on, _moments(kind))
            raise PlanError(f"{self.kind} is not triggered by {self.on!r}, but by {_groups(kind)}{fitting}")
        if self.client_id is not None and not kind.per_client and self.on is None:
            raise PlanError(f"{self.kind} hits the whole gateway: 'client_id' only says who triggers it, with 'on'")
        self._check_front(kind)
        if self.times is None:
            object.__setattr__(self, "times", 0 if self.probability is not None and self.on is not None else 1)

    def _check_front(self, kind: Kind) -> None:
        if self.front is None:
            return
        if self.front not in kind.fronts:
            raise PlanError(f"{self.kind} does not happen on the front {self.front!r}: leave out 'front'")
        if self.on is None and not kind.per_client and kind.fronts == BOTH_FRONTS:
            raise PlanError(f"{self.kind} hits the whole gateway: 'front' only says where it is triggered, with 'on'")
        if self.front == WEB and self.client_id is not None:
            raise PlanError("clients of the Web front have no 'client_id': leave it out")

    def _check_together(self) -> None:
        if self.kind == "refuse" and self.code is None:
            if self.text is not None:
                raise PlanError("refuse: 'text' belongs to a 'code'")
            if self.client_id is not None and self.on is None:
                raise PlanError("refuse: a closed port is closed to every client; give a 'code' to refuse one of them")
        if self.kind == "error" and self.text is None and self.code not in ERROR_TEXTS:
            raise PlanError(f"error {self.code}: give its 'text' (known by code alone: {_list(map(str, ERROR_TEXTS))})")
        if self.code in LINK_LOST | LINK_BACK and self.client_id is not None and self.on is None:
            raise PlanError(
                f"error {self.code} is about the whole gateway: 'client_id' says who triggers it, with 'on'"
            )
        if self.restore is not None and self.restore not in LINK_BACK:
            raise PlanError(f"restore must be 1101 (data lost) or 1102 (data maintained), not {self.restore}")

    def to_dict(self) -> dict[str, object]:
        """What was given or follows from the kind, under the names of plan files."""
        found: dict[str, object] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and value != item.default:
                found[item.name.rstrip("_")] = value.isoformat() if isinstance(value, datetime) else value
        return found


def make_fault(values: Mapping[str, Any]) -> Fault:
    """A fault from the keys of a plan file. Raises PlanError, also for a key that does not exist."""
    if "kind" not in values:
        raise PlanError(f"a fault needs a 'kind': one of {_list(KINDS)}")
    known = {item.name.rstrip("_"): item.name for item in fields(Fault)}
    for key in values:
        if key.rstrip("_") not in known:
            kind = KINDS.get(str(values["kind"]))
            if kind is None:
                break  # the kind itself is wrong, which is the better thing to say
            raise PlanError(_no_such_key(str(values["kind"]), key, kind))
    arguments = {known[key.rstrip("_")]: value for key, value in values.items() if key.rstrip("_") in known}
    kind_name = arguments.pop("kind")
    return Fault(kind_name, **arguments)


def make_faults(entries: object, source: str) -> list[Fault]:
    """The faults of a list of tables. A PlanError names `source` and which entry is wrong."""
    if not isinstance(entries, list):
        raise PlanError(f"{source}: 'fault' must be a list of tables: begin each with [[fault]]")
    made = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise PlanError(f"{source}: fault {number} must be a table, not {entry!r}")
        label = f" ({entry['name']})" if isinstance(entry.get("name"), str) else ""
        try:
            made.append(make_fault(entry))
        except PlanError as error:
            raise PlanError(f"{source}: fault {number}{label}: {error}") from None
    return made


def parse_plan(text: str, source: str = "plan") -> list[Fault]:
    """The faults of a plan in TOML."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{source} is not TOML: {error}") from None
    version = data.pop("version", VERSION)
    if version != VERSION:
        raise PlanError(f"{source} is of version {version!r}; this gateway reads version {VERSION}")
    entries = data.pop("fault", [])
    if data:
        key = next(iter(data))
        raise PlanError(f"{source}: unknown key {key!r}{_nearest(key, ('version', 'fault'))}")
    return make_faults(entries, source)


def load_plan(path: str | os.PathLike[str]) -> list[Fault]:
    """The faults of a plan file. Raises OSError where it cannot be read and PlanError where it makes no sense."""
    with Path(path).open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise PlanError(f"{path} is longer than {MAX_SIZE} bytes: this is no fault plan")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise PlanError(f"{path} is not UTF-8 text") from None
    return parse_plan(text, str(path))


# --- values ----------------------------------------------------------------------------------------------------------


def _seconds(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PlanError(f"{key!r} must be a number of seconds, not {value!r}")
    if not 0 <= value <= MAX_SECONDS:
        raise PlanError(f"{key!r} must be 0 to {MAX_SECONDS:.0f} seconds, not {value}")
    return float(value)


def _forward(key: str, value: object) -> float:
    seconds = _seconds(key, value)
    if seconds <= 0:
        raise PlanError(f"{key!r} must be more than 0: the market clock only moves forward")
    return seconds


def _moment(key: str, value: object) -> float | datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise PlanError(f"{key!r}: {value!r} is no ISO time, such as 2026-11-20T15:00:00Z") from None
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise PlanError(f"{key!r}: {value.isoformat()} has no time zone: append one, for instance Z or -05:00")
        return value
    return _seconds(key, value)


def _integer(low: int, high: int = 2**31 - 1) -> Callable[[str, object], int]:
    def check(key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise PlanError(f"{key!r} must be a whole number, not {value!r}")
        if not low <= value <= high:
            raise PlanError(f"{key!r} must be {low} to {high}, not {value}")
        return value

    return check


def _nonzero(key: str, value: object) -> int:
    number = _integer(-100_000, 100_000)(key, value)
    if number == 0:
        raise PlanError(f"{key!r} must not be 0: a correction changes the price")
    return number


def _probability(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise PlanError(f"{key!r} must be more than 0 and at most 1, not {value!r}")
    return float(value)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 4096 or "\0" in value:
        raise PlanError(f"{key!r} must be a text, not {value!r:.80}")
    return value


def _one_of(names: Iterable[str]) -> Callable[[str, object], str]:
    known = sorted(names)

    def check(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise PlanError(f"{key!r}: unknown {value!r}{_nearest(value, known)}")
        return value

    return check


_MOMENTS: Final[dict[str, frozenset[str]]] = {REQUEST: REQUESTS, REPLY: REPLIES, EXECUTION: frozenset({FILL})}
_CHECKS: Final[dict[str, Callable[[str, object], object]]] = {
    "kind": _text,
    "name": _text,
    "at": _moment,
    "on": _one_of({*REQUESTS, *REPLIES, FILL}),
    "nth": _integer(1),
    "times": _integer(0),
    "probability": _probability,
    "client_id": _integer(0),
    "front": _one_of(BOTH_FRONTS),
    "for": _seconds,
    "delay": _seconds,
    "by": _forward,
    "count": _integer(1),
    "pieces": _integer(2, 64),
    "rollback_ids": _integer(0),
    "ticks": _nonzero,
    "code": _integer(1),
    "restore": _integer(1),
    "text": _text,
    "reply": _one_of(REPLIES),
    "farm": _one_of(FARMS),
    "symbol": _text,
}


def _moments(kind: Kind) -> list[str]:
    return sorted({name for group in kind.on for name in _MOMENTS[group]})


def _groups(kind: Kind) -> str:
    words = {REQUEST: "a request", REPLY: "a reply", EXECUTION: f"{FILL!r}"}
    return " or ".join(words[group] for group in (REQUEST, REPLY, EXECUTION) if group in kind.on)


def _no_such_key(kind_name: str, key: str, kind: Kind) -> str:
    known = [*_TRIGGER, *kind.options]
    return f"{kind_name} takes no {key!r}{_nearest(key, known)}"


def _nearest(word: object, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(str(word), names, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": use one of {_list(names)}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
