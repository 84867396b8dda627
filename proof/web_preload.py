"""What processes of runs over the Web API need, imported once by the process that they are forked from."""

from __future__ import annotations

import contextlib
import importlib

from ibkr_connector.backends.web.library import load_ibind
from ibkr_connector.errors import ConfigurationError

with contextlib.suppress(ConfigurationError):
    load_ibind()
for _name in ("aiohttp.web", "ibkr_connector.backends.web.client", "ibkr_connector.paper.web.front"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
