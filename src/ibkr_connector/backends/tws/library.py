"""Which client library speaks the wire: found without importing, imported inside the running loop.

ib_insync's event package asks for an event loop at import, so the import waits until a loop runs. The two libraries'
event packages (eventkit, aeventkit) install the same folder: whichever came last overwrites the other, and removing one
breaks the other. `describe_installation` sees that from the installed files alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from ibkr_connector.errors import ConfigurationError

LibraryName = Literal["ib_insync", "ib_async"]
Choice = Literal["auto", "ib_insync", "ib_async"]
EventsState = Literal["absent", "intact", "damaged"]

_EVENTS_OF: dict[LibraryName, str] = {"ib_insync": "eventkit", "ib_async": "aeventkit"}
_EVENTS_FOLDER = "eventkit"
_NEEDS_AEVENTKIT = (3, 14)
"""From this Python on, the old eventkit cannot be used by ib_async (its import asks the loop policy for a loop)."""

_REPAIR = {
    "ib_insync": "pip uninstall -y ib_async aeventkit eventkit && pip install --force-reinstall ib_insync eventkit",
    "ib_async": "pip uninstall -y ib_insync eventkit aeventkit && pip install --force-reinstall ib_async aeventkit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is installed, read from the packages' metadata; nothing is imported."""

    ib_insync: str | None
    ib_async: str | None
    eventkit: EventsState
    aeventkit: EventsState
    problem: str = ""
    """Empty when one library can be used as it is; else what is wrong, for people."""
    remedy: str = ""
    """The command that repairs it."""

    @property
    def mixed(self) -> bool:
        """Whether both event packages were installed into the one folder they share."""
        return self.eventkit != "absent" and self.aeventkit != "absent"

    def usable(self, name: LibraryName) -> bool:
        """Whether `name` is installed with an event package it can run on."""
        version = self.ib_insync if name == "ib_insync" else self.ib_async
        if version is None:
            return False
        if not self.mixed:
            return True
        if name == "ib_insync" or sys.version_info < _NEEDS_AEVENTKIT:
            return "intact" in (self.eventkit, self.aeventkit)
        return self.aeventkit == "intact"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwsLibrary:
    """The parts of the client library that are used. Untyped: `Any` stops in convert.py and orders.py."""

    name: LibraryName
    version: str
    client: Callable[[Any], Any]
    """The library's `Client` class, called with the callbacks object."""
    contract: Callable[..., Any]
    order: Callable[..., Any]
    execution_filter: Callable[..., Any]

    @property
    def label(self) -> str:
        """`ib_insync 0.9.86`."""
        return f"{self.name} {self.version}"


def describe_installation() -> Installation:
    """What is installed and whether it fits together, by metadata alone: for `doctor` and for `load_library`."""
    versions = {name: _version(name) for name in _EVENTS_OF}
    found = Installation(
        ib_insync=versions["ib_insync"],
        ib_async=versions["ib_async"],
        eventkit=_events_state("eventkit"),
        aeventkit=_events_state("aeventkit"),
    )
    problem, remedy = _judge(found)
    return Installation(
        ib_insync=found.ib_insync,
        ib_async=found.ib_async,
        eventkit=found.eventkit,
        aeventkit=found.aeventkit,
        problem=problem,
        remedy=remedy,
    )


def _judge(found: Installation) -> tuple[str, str]:
    if found.ib_insync is None and found.ib_async is None:
        return "no TWS client library is installed", "pip install ib_insync (or: pip install ib_async)"
    keep: LibraryName = "ib_async" if found.ib_async is not None else "ib_insync"
    if found.mixed:
        return (
            "eventkit and aeventkit are both installed and have written the same folder `eventkit/`",
            _REPAIR[keep],
        )
    for name, events in _EVENTS_OF.items():
        installed = found.ib_insync if name == "ib_insync" else found.ib_async
        state = found.eventkit if events == "eventkit" else found.aeventkit
        if installed is not None and state == "damaged":
            return f"files of {events} are missing or changed, {name} cannot run on it", _REPAIR[name]
    return "", ""


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _events_state(distribution: str) -> EventsState:
    """Whether the distribution's own files lie in the shared folder, unchanged."""
    try:
        files = metadata.files(distribution)
    except metadata.PackageNotFoundError:
        return "absent"
    for file in files or ():
        if file.parts[0] != _EVENTS_FOLDER or file.suffix != ".py" or file.hash is None:
            continue
        path = file.locate()
        try:
            with open(path, "rb") as source:  # noqa: PTH123 - `locate` promises no Path
                digest = hashlib.new(file.hash.mode, source.read()).digest()
        except (OSError, ValueError):
            return "damaged"
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            return "damaged"
    return "intact"


def choose_library(choice: Choice, found: Installation) -> LibraryName:
    """The library to use. Pure.

    Raises:
        ConfigurationError: none is installed, the chosen one is not, or the event packages have broken each other.
    """
    wanted: tuple[LibraryName, ...] = ("ib_async", "ib_insync") if choice == "auto" else (choice,)
    for name in wanted:
        if found.usable(name):
            return name
    if choice != "auto" and (found.ib_insync if choice == "ib_insync" else found.ib_async) is None:
        other = found.ib_async if choice == "ib_insync" else found.ib_insync
        hint = " (the other one is: set tws_library = auto)" if other else ""
        raise ConfigurationError(
            f"tws_library = {choice}, and {choice} is not installed{hint}.",
            remedy=f"pip install {choice}; never beside the other: their event packages write the same folder.",
            field="tws_library",
        )
    raise ConfigurationError(f"{found.problem}.", remedy=found.remedy, field="tws_library")


def announce_loop() -> None:
    """Tell asyncio's policy of the running loop.

    The libraries ask the policy for it, and a loop made by hand may not be known there.
    """
    asyncio.set_event_loop(asyncio.get_running_loop())


def load_library(choice: Choice = "auto") -> TwsLibrary:
    """Import the client library. Call it inside the running loop.

    Raises:
        ConfigurationError: see `choose_library`; or the import itself fails (the cause is named).
    """
    announce_loop()
    name = choose_library(choice, describe_installation())
    try:
        with warnings.catch_warnings():
            # Python 3.14 deprecates the loop policies that both event packages still use.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(name)
    except Exception as error:
        raise ConfigurationError(
            f"{name} is installed and cannot be imported: {error!r}.",
            remedy=f"Repair it: {_REPAIR[name]}",
            field="tws_library",
        ) from error
    return TwsLibrary(
        name=name,
        version=metadata.version(name),
        client=module.Client,
        contract=module.Contract,
        order=module.Order,
        execution_filter=module.ExecutionFilter,
    )
