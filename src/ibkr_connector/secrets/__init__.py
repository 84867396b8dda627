"""Secrets: the wrapper that keeps one out of sight, where they are kept, and who read which.

`Secrets` reads what a setting names: from the setting itself, the environment, a file, the system's keyring or
HashiCorp Vault. Every reading is a line of the audit trail; the value is in none.
"""

from __future__ import annotations

from ibkr_connector.secrets.reader import SecretRead, Secrets
from ibkr_connector.secrets.secret import MASK, Secret
from ibkr_connector.secrets.source import SecretSource

__all__ = ["MASK", "Secret", "SecretRead", "SecretSource", "Secrets"]
