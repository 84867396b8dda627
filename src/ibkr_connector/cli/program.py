"""From the words of the command line to an exit code: nothing a user does ends in a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence

import typer

from ibkr_connector.cli.app import PROGRAM, app
from ibkr_connector.cli.exits import ExitCode
from ibkr_connector.cli.output import Output
from ibkr_connector.errors import Outcome, TradingError

# Typer keeps its exception classes in places that differ between its versions; the public one shows the way.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_NOT_WRITTEN = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG})
"""What a write to stdout fails with: no reader, no room, no device."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` without the program's name, None = the process's own. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    out = Output(json_only="--json" in words)
    try:
        return _told(words, out)
    except OSError as error:
        # Results and errors of the library are behind us: this one is about writing them, or what telling them met.
        if error.errno not in _NOT_WRITTEN:
            raise
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # that is a reader who has seen enough (`| head`)
            with contextlib.suppress(OSError):
                out.note(f"Error: the output cannot be written: {error.strerror}.", "bold red")
        return ExitCode.ERROR


def _told(words: list[str], out: Output) -> int:
    """Run the words; whatever they raise is told. Raises OSError when telling is what fails."""
    try:
        return _run(words)
    except TradingError as error:
        return out.failed(error)
    except _UsageError as error:
        return _misused(error, out)
    except (KeyboardInterrupt, typer.Abort):
        out.note("interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NOT_WRITTEN and error.filename is None:
            raise
        if {"--verbose", "-v", "-vv"} & set(words):
            traceback.print_exc()
        return out.refused(
            type(error).__name__,
            f"this should not happen: {error!r}.",
            "Please report it, with the output of the same command and --verbose.",
            ExitCode.ERROR,
        )


def _run(words: list[str]) -> int:
    result = app(args=words, prog_name=PROGRAM, standalone_mode=False)
    return result if isinstance(result, int) else ExitCode.OK


def _misused(error: Exception, out: Output) -> int:
    """What the parser refused: an option, a value, a command."""
    format_message = getattr(error, "format_message", None)
    message = format_message() if callable(format_message) else str(error)
    where = getattr(getattr(error, "ctx", None), "command_path", None) or PROGRAM
    if not message.strip() or type(error).__name__ == "NoArgsIsHelpError":
        # A group called without a command: the message is its help.
        sys.stderr.write(message if message.endswith("\n") else message + "\n")
        return ExitCode.USAGE
    number = re.search(r"No such option: (-\.?[0-9]\S*)", message)
    if number:
        message = f"{number[1].rstrip('.')} is read as an option: quantities are positive, buy or sell is the direction"
    remedy = f"`{where} --help` shows what is possible."
    return out.refused("UsageError", _sentence(message), remedy, ExitCode.USAGE, outcome=Outcome.NOT_SENT)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!")) else f"{text}."
