"""The command line, `ibkr-connector`: see the gateway, the account and the orders, trade, test, and be shown around.

Results go to stdout, everything said to a person to stderr; `exits` documents the exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` without the program's name, None = the process's own. Returns the exit code."""
    try:
        # Loaded here: it takes a part of a second, in which Ctrl-C shall be no traceback either.
        from ibkr_connector.cli.program import run

        return run(argv)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED
