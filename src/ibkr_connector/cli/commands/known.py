"""Which account a command means, and what is known of it here: its journal, its trading state, who trades it."""

from __future__ import annotations

from typing import Any

from ibkr_connector.config import Settings
from ibkr_connector.errors import InvalidRequest, JournalError
from ibkr_connector.orders.journal import LOCK_NAME
from ibkr_connector.orders.journal_read import FILE_NAME, JournalReader
from ibkr_connector.risk.state import TradingControl
from ibkr_connector.store import FileLock, account_path
from ibkr_connector.trading import accounts_with_journal, accounts_with_state, known_accounts, shared_control

_TRADING_KEY = "trading_state"
_NO_ACCOUNT = "an account that has traded on this machine"


def accounts_of(settings: Settings) -> list[str]:
    """The accounts that a command without --account means."""
    pinned = settings.connection.account_id
    return [pinned] if pinned else accounts_with_state(settings.paths.state_dir.expanduser())


def without_journal(settings: Settings) -> str | None:
    """What to tell about an account that was named and never traded from here: most likely it is mistyped."""
    named_one = settings.connection.account_id
    known = accounts_with_journal(settings.paths.state_dir.expanduser())
    if not named_one or named_one in known:
        return None
    return f"no journal of {named_one} on this machine; known: {', '.join(known) or 'none'}"


def one_account(settings: Settings, *, missing_ok: bool = False) -> str:
    """The account that is meant; none: "" or, as with several, InvalidRequest."""
    found = accounts_of(settings)
    if len(found) == 1 or (missing_ok and not found):
        return found[0] if found else ""
    legal = ", ".join(found) or _NO_ACCOUNT
    raise InvalidRequest("name the account with --account.", field="account", legal=legal)


def require_known(settings: Settings, account: str) -> None:
    """Refuse an account that nothing is known of: most likely it is mistyped, and looking must not make a folder.

    One that was only ever stopped from here (`kill` before its first connect) is known.
    """
    known = known_accounts(settings.paths.state_dir.expanduser())
    if account not in known:
        raise InvalidRequest(
            f"nothing is known of account {account} in {settings.paths.state_dir}.",
            field="account",
            value=account,
            legal=", ".join(known) or _NO_ACCOUNT,
            remedy="Check --account, account_id and state_dir (`ibkr-connector config show`).",
        )


def control_of(settings: Settings, account: str) -> TradingControl:
    """The trading state of an account; its record is made where there is none."""
    try:
        known = kept_of(settings, account).get(_TRADING_KEY)
    except JournalError:
        known = {"file": True}  # there was one most likely: should it be gone, that counts as a kill
    return shared_control(settings.paths.state_dir.expanduser(), account, known=known)


def kept_of(settings: Settings, account: str) -> dict[str, Any]:
    """The small values of the account's journal. Raises: JournalError when it cannot be read."""
    path = account_path(settings.paths.state_dir, account) / FILE_NAME
    return JournalReader(path).meta() if path.exists() else {}


def holder_of(settings: Settings, accounts: list[str]) -> int | None:
    """The process that holds a journal of these accounts: it trades; 0 when it cannot be told which."""
    for account in accounts:
        holder = FileLock(account_path(settings.paths.state_dir, account) / LOCK_NAME).holder()
        if holder is not None:
            return holder
    return None
