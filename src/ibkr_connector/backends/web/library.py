"""ibind, imported when it is needed, and kept from writing log files.

It reads its own environment once, when it is imported; what the user has set there holds, what he has not is set so
that it writes neither files nor to the console: requests hold account numbers.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from types import ModuleType

from ibkr_connector.errors import ConfigurationError

_QUIET = ("IBIND_LOG_TO_FILE", "IBIND_LOG_TO_CONSOLE", "IBIND_AUTO_REGISTER_SHUTDOWN")


def load_ibind() -> ModuleType:
    """The module. Raises `ConfigurationError` where it cannot be imported."""
    for name in _QUIET:
        os.environ.setdefault(name, "False")
    try:
        return importlib.import_module("ibind")
    except ImportError as error:
        raise ConfigurationError(
            f"the web backend needs ibind, which cannot be imported: {error}.",
            remedy="Install it: pip install 'ibind>=0.2.2,<0.3'.",
        ) from None


def ibind_label() -> str:
    """Name and version, for logs and `doctor`; `none` where it is not installed."""
    try:
        return f"ibind {importlib.metadata.version('ibind')}"
    except importlib.metadata.PackageNotFoundError:
        return "none"
