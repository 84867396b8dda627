"""`kill`, `resume`, `risk status`: which account they mean, where no gateway is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.clock import SystemClock
from ibkr_connector.orders.journal import Journal
from ibkr_connector.trading import shared_control

Run = Callable[..., Any]
ACCOUNT = "DU1234567"
STRANGER = ("--account", "DU999")
WARNING = "no journal of DU999 on this machine; known: DU1234567"


@pytest.fixture
def known(tmp_path: Path) -> None:
    """One account has traded here."""
    Journal.open(tmp_path / "state", ACCOUNT, SystemClock(), threaded=False).close()


@pytest.mark.usefixtures("known")
def test_a_kill_of_a_mistyped_account_does_not_make_later_commands_ask_for_an_account(run: Run) -> None:
    run("kill", "typo", "--keep-orders", *STRANGER)
    ran = run("resume", "looked at it", "--json")
    assert (ran.code, ran.document.get("account")) == (0, ACCOUNT)
    assert [row["account"] for row in run("risk", "status", "--json").document["accounts"]] == [ACCOUNT]
    assert run("kill", "fire", "--keep-orders", "--json").document["accounts"] == [ACCOUNT]


@pytest.mark.usefixtures("known")
def test_a_kill_of_an_account_without_a_journal_holds_and_says_loudly_that_it_is_unknown(
    run: Run, tmp_path: Path
) -> None:
    ran = run("kill", "typo", "--keep-orders", "--json", *STRANGER)
    assert (ran.code, ran.document["warning"]) == (0, WARNING)
    assert WARNING in ran.err
    assert shared_control(tmp_path / "state", "DU999").record.reason == "typo"
    again = run("kill", "typo", "--keep-orders", *STRANGER)
    assert WARNING in again.err
    right = run("kill", "fire", "--keep-orders", "--json", "--account", ACCOUNT)
    assert right.document["warning"] is None
    assert "no journal" not in right.err


@pytest.mark.usefixtures("known")
def test_the_warning_is_in_the_document_of_a_kill_that_reached_no_gateway(run: Run) -> None:
    ran = run("kill", "typo", "--json", *STRANGER)
    assert (ran.code, ran.document["context"]["warning"]) == (3, WARNING)


def test_where_nothing_was_traded_yet_no_account_is_known(run: Run) -> None:
    ran = run("kill", "fire", "--keep-orders", "--json", *STRANGER)
    assert ran.document["warning"] == "no journal of DU999 on this machine; known: none"
