"""Where the trading state lies, and what a record that is missing means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.risk import TradingState
from ibkr_connector.trading import FILE_NAME, accounts_with_state, shared_control

AT = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("known", "state", "reason"),
    [
        (None, "active", ""),
        ({"version": 1, "state": "active", "reason": "fine", "at": None}, "active", ""),
        ({"version": 1, "state": "halted", "reason": "fire", "at": None}, "halted", "fire"),
        ({"version": 9}, "halted", "check the state directory"),
        ({"file": True}, "halted", "missing"),
    ],
)
def test_first_record_says_what_the_journal_remembers(
    tmp_path: Path, known: Mapping[str, Any] | None, state: str, reason: str
) -> None:
    record = shared_control(tmp_path, "DU1", known=known).record
    assert record.state.value == state
    assert reason in record.reason
    again = shared_control(tmp_path, "DU1", known={"file": True})  # made once, it is there
    assert again.record.state is record.state


def test_two_of_one_account_see_each_other_and_those_of_others_nothing(tmp_path: Path) -> None:
    one, two, other = (shared_control(tmp_path, account) for account in ("DU1", "DU1", "DU2"))
    one.kill("fire", AT)
    assert two.record.reason == "fire"
    assert other.record.state is TradingState.ACTIVE
    assert accounts_with_state(tmp_path) == ["DU1", "DU2"]
    assert (tmp_path / "DU1" / FILE_NAME).is_file()
    assert accounts_with_state(tmp_path / "none") == []


def test_a_folder_without_a_journal_is_no_account_beside_one_that_has_one(tmp_path: Path) -> None:
    shared_control(tmp_path, "DU999").kill("mistyped", AT)
    assert accounts_with_state(tmp_path) == ["DU999"]
    shared_control(tmp_path, "DU1")
    (tmp_path / "DU1" / "journal.sqlite3").touch()
    assert accounts_with_state(tmp_path) == ["DU1"]
