"""Exceptions on the caller's side: settings, arguments, the connector's life, and the journal it keeps."""

from __future__ import annotations

from ibkr_connector.errors.base import Outcome, TradingError


class ConfigurationError(TradingError):
    """A setting is wrong. Correct the named field at the named origin (file and line, variable, argument)."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Correct the setting; `ibkr-connector config show` lists every value with its origin."


class InvalidRequest(TradingError, ValueError):
    """An argument is wrong. Nothing was sent; `context` holds `field`, `value` and `legal`."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Correct the argument and call again; nothing was sent."


class ConnectorConflict(TradingError):
    """A connector of this profile exists with other settings. Close it first, or use another profile."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Call `await connector.close()` first, or ask for another `profile`."


class ConnectorClosed(TradingError):
    """The connector was closed. Ask `get_ibkr_connector()` for a new one."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Ask get_ibkr_connector() for a new one."


class SyncCallFromSession(TradingError):
    """A blocking call was made on the session's own thread, where it would wait for itself. Use the async API there."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Use the async methods inside callbacks, or call from another thread."


class NotSupportedByBackend(TradingError):
    """The backend in use cannot do this. `connector.capabilities` says what each can."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Choose another backend for this call, or leave the call out."


class JournalError(TradingError):
    """The order journal cannot be used. Orders that add risk are refused until it can; getting out stays possible."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Check the state directory (space, permissions, disk)."


class JournalInUse(JournalError):
    """Another process holds the journal of this account. `context['pid']` names it: stop it, or use its connector."""

    default_remedy = "Stop the process named here, or choose another state_dir for another account."


class JournalUnwritable(JournalError):
    """The journal cannot be written (full, read-only, locked). Make room or repair permissions, then try again."""

    retryable = True


class JournalCorrupt(JournalError):
    """The journal's content cannot be trusted. Keep the file; start anew only after checking the account."""

    default_remedy = "Keep the file for inspection; move it aside only after comparing open orders with the broker."


class JournalFromFuture(JournalError):
    """A newer version of this library wrote the journal. Use that version, or another state directory."""

    default_remedy = "Install the newer version of ibkr-connector that wrote it, or choose another state_dir."
