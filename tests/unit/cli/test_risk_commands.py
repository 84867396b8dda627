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


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("words", [("resume", "all is well"), ("risk", "status")], ids=" ".join)
def test_a_mistyped_account_is_refused_with_the_known_ones_and_leaves_no_folder(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    ran = run(*words, "--json", *STRANGER)
    assert (ran.code, ran.document["error"]) == (2, "InvalidRequest")
    assert "DU999" in ran.document["message"]
    assert ran.document["context"]["legal"] == ACCOUNT
    assert [folder.name for folder in (tmp_path / "state").iterdir()] == [ACCOUNT]


@pytest.mark.parametrize("words", [("resume", "all is well"), ("risk", "status")], ids=" ".join)
def test_an_account_that_was_named_where_none_is_known_makes_no_state_directory(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    ran = run(*words, "--json", *STRANGER)
    assert (ran.code, ran.document["context"]["legal"]) == (2, "an account that has traded on this machine")
    assert not (tmp_path / "state").exists()


def test_a_pinned_account_that_never_traded_has_limits_to_show_and_nothing_else(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_ACCOUNT_ID", ACCOUNT)
    ran = run("risk", "status", "--json")
    assert (ran.code, ran.document["accounts"]) == (0, [])
    assert "daily_loss_limit" in ran.document["limits"]
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("known")
def test_a_stop_of_an_account_without_a_journal_can_be_looked_at_and_ended(run: Run) -> None:
    run("kill", "before the first connect", "--keep-orders", *STRANGER)
    (row,) = run("risk", "status", "--json", *STRANGER).document["accounts"]
    assert (row["account"], row["trading_state"]) == ("DU999", "halted")
    assert run("resume", "looked at it", "--json", *STRANGER).document["trading_state"] == "active"


@pytest.mark.usefixtures("known")
def test_a_flatten_that_reached_no_gateway_leaves_no_folder_of_a_mistyped_account(run: Run, tmp_path: Path) -> None:
    assert run("flatten", "out of everything", *STRANGER).code == 3
    assert [folder.name for folder in (tmp_path / "state").iterdir()] == [ACCOUNT]


@pytest.mark.parametrize("words", [("resume", "all is well"), ("risk", "status"), ("kill", "fire"), ("flatten", "out")])
def test_a_name_that_is_no_account_reaches_no_file(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(*words, "--json", "--account", "../elsewhere")
    assert ran.code == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.usefixtures("known")
def test_a_flatten_that_reached_no_gateway_claims_nothing(run: Run, tmp_path: Path) -> None:
    """It said that trading was reducing and that the next connector would close everything. Neither was so."""
    ran = run("flatten", "fire", "--json")
    assert ran.code == 3
    assert "trading of DU1234567 is active, and what works at the broker was not ended: this command again." in ran.err
    assert shared_control(tmp_path / "state", ACCOUNT).record.state.value == "active"


@pytest.mark.usefixtures("known")
def test_a_kill_that_reached_no_gateway_is_carried_out_by_the_next_connector_and_says_so(
    run: Run, tmp_path: Path
) -> None:
    ran = run("kill", "fire", "--json")
    assert ran.code == 3
    assert "trading of DU1234567 is halted" in ran.err
    assert "the next connector of the account does it" in ran.err
    assert shared_control(tmp_path / "state", ACCOUNT).record.action.value == "cancel"
