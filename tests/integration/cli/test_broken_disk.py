"""Getting out from a shell while the state directory is damaged or cannot be written (INV-12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_connector import statefile
from ibkr_connector.errors import JournalUnwritable
from ibkr_connector.store import FileLock
from ibkr_connector.testing import HostedGateway
from support.cli import Run

WAY_OUT = "cancel --all --scope account"


@pytest.fixture
def ref(run: Run) -> str:
    """A limit order that works at the broker and is in the journal."""
    ran = run("buy", "AAPL", "1", "--limit", "50", "--json")
    assert ran.code == 0
    return str(ran.document["order_ref"])


@pytest.fixture
def damaged(ref: str, tmp_path: Path) -> str:
    journal = tmp_path / "state" / "DU1234567" / "journal.sqlite3"
    journal.write_bytes(journal.read_bytes()[:4096] + b"x" * 20_000)
    return ref


@pytest.fixture
def read_only(ref: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a disk that was mounted anew for reading only answers."""

    def refuse(path: object, *_: object) -> None:
        raise JournalUnwritable(f"{path} cannot be used: Read-only file system.")

    monkeypatch.setattr(statefile, "write_atomic", refuse)
    monkeypatch.setattr(FileLock, "acquire", lambda self: refuse(self.path))
    return ref


@pytest.mark.usefixtures("damaged")
def test_orders_are_shown_and_cancelled_without_their_names(run: Run, gateway: HostedGateway) -> None:
    shown = run("orders", "--json")
    assert (shown.code, [row["state"] for row in shown.document]) == (0, ["working"])
    assert shown.err.count("is damaged") == 1
    gone = run("cancel", "--all", "--scope", "account", "--json")
    assert (gone.code, [row["state"] for row in gone.document]) == (0, ["cancelled"])
    assert len(gateway.truth.of("cancelled")) == 1
    assert run("orders", "--json").document == []


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("words", [("cancel", "--all"), ("flatten", "out")], ids=" ".join)
def test_what_needs_a_damaged_journal_names_what_does_not(run: Run, words: tuple[str, ...]) -> None:
    ran = run(*words, "--json")
    assert (ran.code, ran.document["error"]) == (1, "JournalCorrupt")
    assert WAY_OUT in ran.document["remedy"]


@pytest.mark.usefixtures("damaged")
def test_a_kill_of_the_whole_account_ends_its_orders_over_a_damaged_journal(run: Run) -> None:
    ran = run("kill", "fire", "--scope", "account", "--json")
    assert (ran.code, ran.document["error"]) == (1, "JournalCorrupt")  # our own cancel of the rest needs it
    assert run("orders", "--json").document == []
    status = run("risk", "status", "--json")
    assert (status.document["accounts"][0]["trading_state"], status.document["accounts"][0]["reason"]) == (
        "halted",
        "fire",
    )
    assert "is damaged" in status.err


@pytest.mark.usefixtures("read_only")
def test_a_kill_that_cannot_be_stored_says_so_and_what_gets_out(run: Run) -> None:
    ran = run("kill", "fire", "--json")
    assert (ran.code, ran.document["error"]) == (1, "JournalUnwritable")
    assert WAY_OUT in ran.document["remedy"]
    assert "trading of DU1234567 could NOT be stopped" in ran.err
    assert len(run("orders", "--json").document) == 1


@pytest.mark.usefixtures("read_only")
def test_a_kill_of_the_whole_account_cancels_although_it_cannot_be_stored(run: Run) -> None:
    ran = run("kill", "fire", "--scope", "account", "--json")
    assert (ran.code, ran.document["trading_state"]) == (1, "NOT stopped")
    assert "Read-only file system" in ran.document["warning"]
    assert len(ran.document["cancelled"]) == 1
    assert run("orders", "--json").document == []


@pytest.mark.usefixtures("read_only")
def test_the_risk_status_is_only_read(run: Run) -> None:
    ran = run("risk", "status", "--json")
    assert (ran.code, ran.document["accounts"][0]["trading_state"]) == (0, "active")
