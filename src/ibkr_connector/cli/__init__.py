"""The command line, `ibkr-connector`: see the gateway, the account and the orders, trade, test, and be shown around.

Results go to stdout, everything said to a person to stderr; `exits` documents the exit codes.
"""

from __future__ import annotations

from ibkr_connector.cli.main import main

__all__ = ["main"]
