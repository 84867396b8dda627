"""``python -m ibkr_connector.paper``: the gateway as a program."""

from __future__ import annotations

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
