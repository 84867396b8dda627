"""``python -m ibkr_connector.cli``: the command line without its script."""

from __future__ import annotations

import sys

from ibkr_connector.cli import main

if __name__ == "__main__":
    sys.exit(main())
