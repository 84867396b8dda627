"""The check of `doctor` about the command that restarts the gateway. It is looked at, never run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ibkr_connector.cli.doctor.checks import Check, fail, ok, warn
from ibkr_connector.config import Settings

_NAME = "gateway restart"
_CORRECT = "Correct [gateway] restart_command"


def restart_check(settings: Settings) -> Check:
    """Whether the command is off, or can be run. Its arguments are not shown: they may hold a password."""
    gateway = settings.gateway
    if not gateway.restart_argv:
        return ok(_NAME, "off ([gateway] restart_command)")
    program = gateway.restart_argv[0]
    # As the system looks for it: a name without a folder in PATH, everything else as it is written.
    place = Path(program)
    named = os.sep in program or (os.altsep is not None and os.altsep in program)
    found = shutil.which(program)
    if found is None:
        if program.startswith("~"):
            return fail(_NAME, f"there is no {program}", f"{_CORRECT}: no shell runs it, so write ~ out.")
        if named and place.is_file():
            return fail(_NAME, f"{program} is not executable", f"`chmod +x {program}`, or correct the command.")
        if named:
            what = "is a folder" if place.is_dir() else "does not exist"
            return fail(_NAME, f"{program} {what}", f"{_CORRECT}, or empty it to have no restarts.")
        return fail(_NAME, f"no program {program} is in PATH", f"{_CORRECT}: write its whole path.")
    trouble = _no_program(Path(found))
    if trouble:
        return fail(_NAME, f"{found} {trouble}", f"Begin {found} with a line like #!/bin/sh: no shell runs it.")
    farms = gateway.restart_farms_after
    when = f"after {gateway.restart_after} failed attempts"
    if farms is not None:
        when += f" or a data farm broken for {farms:g} s"
    text = f"on: {found}, {when}, at most once in {gateway.restart_period:g} s"
    if named and not place.is_absolute():
        return warn(_NAME, text, f"Write the whole path: {program} depends on the folder a program is started in.")
    return ok(_NAME, text)


def _no_program(path: Path) -> str:
    """Why the system would refuse a file with the execute bit; empty: it would not, or it cannot be told."""
    if os.name != "posix":
        return ""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError:  # a program may be executable and not readable
        return ""
    if not head:
        return "is empty"
    readable = head.isascii() and head.decode("ascii").isprintable()
    return "is a text without a line #!" if readable and head != b"#!" else ""
