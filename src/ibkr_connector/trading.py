"""Where the trading state of an account lies, for all processes: `<state_dir>/<account>/trading.json`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibkr_connector.risk.state import TradingControl, TradingRecord, TradingState
from ibkr_connector.statefile import StateFile
from ibkr_connector.store import account_dir

FILE_NAME = "trading.json"
_JOURNAL = "journal.sqlite3"
_MISSING = "the record of the trading state is missing; check the state directory, then resume"


def shared_control(
    state_dir: str | os.PathLike[str], account: str, *, known: Mapping[str, Any] | None = None
) -> TradingControl:
    """The trading state of an account, read anew at every look; the record is made if need be.

    `known` is what the journal remembers: nothing; a record that an earlier version kept there, which moves here; or
    that there was a file. A file that is gone although it was there is made again as a kill: it may have said so.
    Raises: JournalUnwritable, InvalidRequest.
    """
    file = StateFile(account_dir(state_dir, account) / FILE_NAME)
    if not file.path.exists():
        with file.exclusive():
            if not file.path.exists():
                file.write(_first(known).to_dict())
    return TradingControl(file.read, file.write, file.exclusive)


def _first(known: Mapping[str, Any] | None) -> TradingRecord:
    if known is None:
        return TradingRecord()
    if "file" in known:
        return TradingRecord(TradingState.HALTED, _MISSING)
    try:
        return TradingRecord.from_dict(known)
    except ValueError as error:
        return TradingRecord(TradingState.HALTED, f"{error}; check the state directory, then resume")


def accounts_with_state(state_dir: Path) -> list[str]:
    """The accounts that have a journal in the state directory; while none has one, those with a trading state.

    A stop of a mistyped account leaves a folder with a trading state alone: it is no account to choose from.
    """
    return accounts_with_journal(state_dir) or _folders_with(state_dir, FILE_NAME)


def accounts_with_journal(state_dir: Path) -> list[str]:
    """The accounts that have a journal in the state directory: those that a program has connected to from here."""
    return _folders_with(state_dir, _JOURNAL)


def known_accounts(state_dir: Path) -> list[str]:
    """The accounts with a journal or a trading state: one may be stopped before its first connect."""
    return sorted({*accounts_with_journal(state_dir), *_folders_with(state_dir, FILE_NAME)})


def _folders_with(state_dir: Path, name: str) -> list[str]:
    if not state_dir.is_dir():
        return []
    return sorted(folder.name for folder in state_dir.iterdir() if (folder / name).exists())
