"""Reading the secrets that settings name, and keeping account of who read which.

The audit trail belongs to an account's journal, which is opened after the login that needs the secrets: what was read
before is kept, and written once there is one.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ibkr_connector.clock import Clock, system_clock
from ibkr_connector.config.origin import DEFAULT, Origin, OriginKind
from ibkr_connector.config.secretspec import Reference, SecretSpec
from ibkr_connector.config.settings import Settings
from ibkr_connector.errors import TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.secrets.files import FileSource
from ibkr_connector.secrets.keyring import KeyringSource
from ibkr_connector.secrets.secret import Secret
from ibkr_connector.secrets.source import EnvironmentSource, SecretSource, missing
from ibkr_connector.secrets.vault import VaultSource

_log = get_logger(__name__)
AUDIT_KIND = "secret_read"
_KEPT = 1_000
"""Readings kept while there is no journal: a program that can never log in reads them again and again."""

Audit = Callable[[str, Mapping[str, object]], None]
"""Adds a line to the audit trail: kind, data. See `AccountFiles.audit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRead:
    """One reading of one secret. It holds where the value came from, never the value."""

    secret: str
    """The setting it is for: `oauth.access_token`."""
    by: str
    """What wanted it: `web backend`, `oauth check`."""
    source: str
    """file, env, keyring, vault; or where the setting itself holds the value: settings file, environment, argument."""
    where: str
    """The name it was asked for by, or the setting's place. No value."""
    read: bool
    """Whether it was there."""
    at: str
    """ISO time, UTC."""

    def to_dict(self) -> dict[str, object]:
        """The line of the audit trail."""
        return {
            "secret": self.secret,
            "by": self.by,
            "source": self.source,
            "where": self.where,
            "read": self.read,
            "at": self.at,
        }


class Secrets:
    """Reads secrets, blocking; from any thread.

    Args:
        origins: `section.key` -> where the setting came from, for values that stand in the settings themselves.
        environ: the environment that `env:` and `vault:` are answered from.
        timeout: seconds for one question to a keyring or to Vault.
        sources: other places, or the same ones otherwise, by kind.
        clock: stamps the readings.
    """

    def __init__(
        self,
        *,
        origins: Mapping[str, Origin] | None = None,
        environ: Mapping[str, str] | None = None,
        timeout: float = 15.0,
        sources: Mapping[str, SecretSource] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._origins = dict(origins or {})
        self._clock = clock
        self._sources: dict[str, SecretSource] = {
            "env": EnvironmentSource(environ),
            "file": FileSource(),
            "keyring": KeyringSource(timeout),
            "vault": VaultSource(environ, timeout),
            **(sources or {}),
        }
        self._lock = threading.Lock()
        self._kept: deque[SecretRead] = deque(maxlen=_KEPT)
        self._forgotten = 0
        self._audit: Audit | None = None

    @classmethod
    def of(cls, settings: Settings, *, clock: Clock = system_clock, **more: Any) -> Secrets:
        """The reader for a configuration."""
        return cls(origins=settings.origins, timeout=settings.oauth.secret_timeout, clock=clock, **more)

    def read(self, name: str, value: SecretStr | Path, *, by: str) -> Secret:
        """The secret of the setting `name` (`oauth.access_token`), whose value or place is `value`; a path is a file.

        May block for the time a source has. Raises ConfigurationError naming the setting.
        """
        reference = self._reference(value)
        source, where = self._place(name) if reference is None else (str(reference.kind), reference.name)
        try:
            found = self._find(name, value, reference)
        except TradingError as error:
            self._note(name, by, source, where, read=False)
            error.context["field"] = name
            raise
        self._note(name, by, source, where, read=True)
        return found

    def attach(self, audit: Audit) -> None:
        """From now on there is an audit trail: what was read before is written, then every reading at once."""
        with self._lock:
            kept, self._kept, forgotten = list(self._kept), deque(maxlen=_KEPT), self._forgotten
            self._audit, self._forgotten = audit, 0
        if forgotten:
            audit(AUDIT_KIND, {"forgotten": forgotten})
        for one in kept:
            self._write(audit, one)

    @property
    def unwritten(self) -> tuple[SecretRead, ...]:
        """The readings that no audit trail has yet."""
        with self._lock:
            return tuple(self._kept)

    # --- inside -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _reference(value: SecretStr | Path) -> Reference | None:
        if isinstance(value, Path):
            return Reference("file", str(value))
        return value.reference if isinstance(value, SecretSpec) else None

    def _place(self, name: str) -> tuple[str, str]:
        origin = self._origins.get(name, DEFAULT)
        kind = "settings file" if origin.kind is OriginKind.FILE else origin.kind.value
        return kind, origin.where

    def _find(self, name: str, value: SecretStr | Path, reference: Reference | None) -> Secret:
        if reference is not None:
            return self._sources[reference.kind].get(reference.name)
        text = "" if isinstance(value, Path) else value.get_secret_value()
        if not text.strip():
            raise missing(name, "is not set", "Set it, or name where it is kept: file:, env:, keyring: or vault:.")
        return Secret(text)

    def _note(self, name: str, by: str, source: str, where: str, *, read: bool) -> None:
        line = SecretRead(secret=name, by=by, source=source, where=where, read=read, at=self._clock.now().isoformat())
        # Not as fields of their own: one called `secret` would be masked, and it is only a name.
        _log.info("a secret was read" if read else "a secret could not be read", setting=name, by=by, source=source)
        with self._lock:
            audit = self._audit
            if audit is None:
                self._keep(line)
        if audit is not None:
            self._write(audit, line)

    def _keep(self, line: SecretRead) -> None:
        if len(self._kept) == _KEPT:
            self._forgotten += 1
        self._kept.append(line)

    def _write(self, audit: Audit, line: SecretRead) -> None:
        try:
            audit(AUDIT_KIND, line.to_dict())
        except TradingError as error:
            _log.warning("a reading of a secret is not in the audit trail yet", why=error.message)
            with self._lock:
                self._keep(line)
