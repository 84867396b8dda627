"""`keyring:service/name`: the system's keyring (macOS Keychain, Secret Service, Windows Credential Locker).

Needs the extra `keyring`. Store a secret with `keyring set SERVICE NAME`.
"""

from __future__ import annotations

from typing import Any

from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets.secret import Secret
from ibkr_connector.secrets.source import as_secret, bounded, import_extra, missing


class KeyringSource:
    """Asks whatever keyring this system has; `timeout` seconds for one question (it may ask a person to unlock it)."""

    kind = "keyring"

    def __init__(self, timeout: float = 15.0) -> None:
        self._timeout = timeout

    def get(self, name: str) -> Secret:
        """See `SecretSource.get`."""
        where = f"keyring:{name}"
        service, _, user = name.partition("/")
        library = import_extra("keyring", "keyring", where)
        value = bounded(lambda: self._ask(library, where, service, user), self._timeout, where)
        if value is None:
            raise missing(where, "is not in the keyring", f"Store it: `keyring set {service} {user}`.")
        return as_secret(where, value)

    @staticmethod
    def _ask(library: Any, where: str, service: str, user: str) -> Any:
        try:
            return library.get_password(service, user)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - backends raise what they like, and their text may hold anything
            remedy = "Unlock the keyring, or on a machine without one keep the secret in a file: file:/path."
            why = f"cannot be asked for ({type(error).__name__})"
        raise missing(where, why, remedy, retryable=True)
