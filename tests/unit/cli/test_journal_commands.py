"""`journal`, `orders doubt` and `audit` read what the journals hold: also beside the program that writes them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends.facts import Operation as ChangeOperation
from ibkr_connector.clock import SystemClock
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.changes import EnteredDoubt, Identified
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.journal import Journal
from ibkr_connector.risk.decision import GateResult, RiskDecision

Run = Callable[..., Any]
ACCOUNT = "DU1234567"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Any]:
    opened = Journal.open(tmp_path / "state", ACCOUNT, SystemClock(), threaded=False)
    yield opened
    opened.close()


async def send(journal: Any, ref: str, order_id: int, decision: dict[str, Any] | None = None) -> None:
    request = OrderRequest.make(
        contract=Contract.stock("AAPL"), quantity=Decimal(100), action="BUY", order_ref=ref, account=ACCOUNT
    )
    entry = SendingEntry(
        request=request,
        decision=decision or {},
        account=ACCOUNT,
        order_id=order_id,
        client_id=2,
        endpoint="x:1",
        epoch=1,
        sent_at=SystemClock().now(),
    )
    await journal.commit_sending([entry])


async def test_an_order_in_doubt_is_listed_while_its_program_holds_the_journal(run: Run, journal: Any) -> None:
    await send(journal, "clear.1", 11)
    await send(journal, "doubt.1", 12)
    journal.record(
        "doubt.1", EnteredDoubt(at=SystemClock().now(), operation=ChangeOperation.NEW, why="no answer in 5 s")
    )
    ran = run("orders", "doubt", "--json")
    assert ran.code == 0
    assert [order["order_ref"] for order in ran.document] == ["doubt.1"]
    assert "doubt.1" in run("orders", "doubt", "--account", ACCOUNT).out


async def test_an_audit_trail_that_was_changed_is_code_1(run: Run, journal: Any, tmp_path: Path) -> None:
    await send(journal, "first.1", 11)
    good = run("audit", "verify", "--json")
    assert good.code == 0
    assert good.document[0]["ok"]
    assert good.document[0]["entries"] >= 1
    with sqlite3.connect(tmp_path / "state" / ACCOUNT / "journal.sqlite3") as database:
        database.execute("UPDATE audit SET ref = 'other.1'")
    database.close()
    bad = run("audit", "verify")
    assert bad.code == 1
    assert "BROKEN" in bad.out


# --- one order's story ------------------------------------------------------------------------------------------------


async def test_the_latest_orders_come_first_and_one_order_is_told_whole_by_any_of_its_names(
    run: Run, journal: Any
) -> None:
    await send(journal, "first.1", 11)
    await send(journal, "second.1", 12)
    now = SystemClock().now()
    journal.record("second.1", Identified(at=now, perm_id=98765, order_id=12, client_id=2))
    journal.record("second.1", EnteredDoubt(at=now, operation=ChangeOperation.CANCEL, why="no answer"))
    listed = run("journal", "--json").document
    assert [order["order_ref"] for order in listed] == ["second.1", "first.1"]
    assert [order["order_ref"] for order in run("journal", "-n", "1", "--json").document] == ["second.1"]
    for name in ("second.1", "12", "98765"):
        (told,) = run("journal", name, "--json").document
        assert told["order"]["order_ref"] == "second.1"
        assert [step["what"] for step in told["history"]] == ["committed", "identified", "entered_doubt"]
        assert [line["kind"] for line in told["audit"]] == ["decision", "sending", "entered_doubt"]
        assert (told["perm_ids"], told["in_doubt"]) == ([98765], ["cancel"])
    shown = run("journal", "second.1", "first.1")
    assert shown.code == 0
    for word in ("98765", "entered_doubt", "no answer", "cancel", "x:1, client 2, order id 11"):
        assert word in shown.words


async def test_the_gates_an_order_passed_are_named_once_and_those_it_did_not_pass_are_left_out(
    run: Run, journal: Any
) -> None:
    results = (
        GateResult("size", passed=True, order_ref="first.1"),
        GateResult("hours", passed=False, order_ref="first.1"),
        GateResult("pace", passed=True, order_ref="first.1"),
        GateResult("size", passed=True, order_ref="first.1.stop"),
    )
    decision = RiskDecision("first.1", allowed=True, results=results, at=SystemClock().now())
    await send(journal, "first.1", 11, decision.to_dict())
    shown = run("journal", "first.1")
    line = next(line for line in shown.out.splitlines() if "gates passed" in line)
    assert line.replace("│", " ").split() == ["gates", "passed", "size,", "pace"]


@pytest.mark.parametrize("name", ["nobody", "77", "", "\u0663"])
async def test_an_order_that_no_journal_knows_is_bad_input(run: Run, journal: Any, name: str) -> None:
    await send(journal, "known.1", 11)
    ran = run("journal", name, "--json")
    assert ran.code == 2
    assert ran.document["context"]["value"] == name
    assert ACCOUNT in ran.document["message"]


def test_without_a_journal_there_is_nothing_to_show_and_nothing_is_made(run: Run, tmp_path: Path) -> None:
    for words in (("journal",), ("audit", "tail"), ("audit", "export"), ("orders", "doubt"), ("audit", "verify")):
        assert run(*words).code == 0
    assert run("journal", "x").code == 2
    assert run("journal", "--account", "DU999").code == 1
    assert not (tmp_path / "state").exists()


# --- resolving: what is wrong is said before anything connects --------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("resolve",), "order"),
        (("resolve", "r.1"), "as"),
        (("resolve", "r.1", "--as", "dead"), "as"),
        (("resolve", "r.1", "--as", "working", "--evidence", "seen"), "as"),
        (("resolve", "r.1", "--as", "cancelled"), "evidence"),
        (("resolve", "r.1", "--as", "cancelled", "--evidence", " "), "evidence"),
        (("doubt", "r.1"), "order"),
        (("open", "--as", "filled"), "as"),
        (("completed", "--evidence", "none"), "evidence"),
    ],
)
def test_a_resolution_that_says_too_little_is_bad_input(run: Run, words: tuple[str, ...], field: str) -> None:
    ran = run("orders", *words, "--json")
    assert (ran.code, ran.document["context"]["field"]) == (2, field)


# --- the audit trail --------------------------------------------------------------------------------------------------


async def test_the_trail_is_shown_and_written_as_json_lines(run: Run, journal: Any) -> None:
    await send(journal, "first.1", 11)
    await send(journal, "second.1", 12)
    exported = [json.loads(line) for line in run("audit", "export").out.splitlines()]
    assert [(line["seq"], line["account"], line["kind"], line["order_ref"]) for line in exported] == [
        (1, ACCOUNT, "decision", "first.1"),
        (2, ACCOUNT, "sending", "first.1"),
        (3, ACCOUNT, "decision", "second.1"),
        (4, ACCOUNT, "sending", "second.1"),
    ]
    assert [json.loads(line) for line in run("audit", "export", "--after", "3").out.splitlines()] == exported[3:]
    assert run("audit", "tail", "-n", "2", "--json").document == exported[2:]
    assert "second.1" in run("audit", "tail").out


async def test_a_trail_cut_at_its_end_and_made_to_fit_shows_against_a_head_noted_before(
    run: Run, journal: Any, tmp_path: Path
) -> None:
    await send(journal, "first.1", 11)
    await send(journal, "second.1", 12)
    noted = run("audit", "verify", "--json").document[0]["head"]
    await send(journal, "third.1", 13)
    export = tmp_path / "trail.jsonl"
    export.write_text(run("audit", "export").out)
    assert run("audit", "verify", "--head", noted.upper()).code == 0  # the trail went on from there
    assert run("audit", "verify", "--export", str(export)).code == 0
    with sqlite3.connect(tmp_path / "state" / ACCOUNT / "journal.sqlite3") as database:
        seq, digest = database.execute("SELECT seq, hash FROM audit WHERE seq = 2").fetchone()
        database.execute("DELETE FROM audit WHERE seq > 2")
        database.execute("DELETE FROM orders WHERE ref <> 'first.1'")
        database.execute("UPDATE meta SET value = ? WHERE key = 'audit.head'", (json.dumps([seq, digest]),))
    database.close()
    assert run("audit", "verify").code == 0  # by itself it is whole
    for words in (("--head", noted), ("--export", str(export))):
        ran = run("audit", "verify", *words)
        assert ran.code == 1
        assert "known head" in ran.words


@pytest.mark.parametrize(
    "text", ["", "garbage\n", '{"account":"DU2","seq":1,"hash":"' + "0" * 64 + '"}\n', '{"account":"DU1234567"}\n']
)
async def test_a_file_that_proves_nothing_about_the_account_is_no_clean_verification(
    run: Run, journal: Any, tmp_path: Path, text: str
) -> None:
    await send(journal, "first.1", 11)
    export = tmp_path / "trail.jsonl"
    export.write_text(text)
    ran = run("audit", "verify", "--export", str(export), "--json")
    assert ran.code == 2
    assert ran.document["message"] == f"{export} holds no line of account {ACCOUNT}: nothing was compared."


async def test_an_export_whose_last_whole_line_is_damaged_is_code_1_and_a_cut_one_is_not(
    run: Run, journal: Any, tmp_path: Path
) -> None:
    await send(journal, "first.1", 11)
    export = tmp_path / "trail.jsonl"
    text = run("audit", "export").out
    export.write_text(text + text[:50])
    assert run("audit", "verify", "--export", str(export)).code == 0
    export.write_text(text + text[:50] + "\n")
    ran = run("audit", "verify", "--export", str(export), "--json")
    assert (ran.code, ran.document[0]["ok"]) == (1, False)
    assert "the last line of" in ran.document[0]["problems"][0]
    assert "BROKEN" in run("audit", "verify", "--export", str(export)).out


@pytest.mark.parametrize(
    "words",
    [
        ("--head", "abc"),
        ("--head", "x" * 64),
        ("--head", "0" * 64, "--export", "trail.jsonl"),
        ("--export", "nowhere.jsonl"),
        ("--head", "1" * 64),  # and no journal
    ],
)
def test_a_head_that_is_none_is_bad_input(run: Run, words: tuple[str, ...]) -> None:
    assert run("audit", "verify", *words).code == 2


@pytest.mark.parametrize(
    ("old", "new"), [('"kind":"sending"', '"kind":"fill"'), ('"seq":1,', '"seq":7,'), ("AAPL", "MSFT")]
)
async def test_a_line_changed_in_the_middle_of_an_export_is_code_1(
    run: Run, journal: Any, tmp_path: Path, old: str, new: str
) -> None:
    """The file is what an auditor is given: that the trail itself is whole says nothing about it."""
    await send(journal, "first.1", 11)
    await send(journal, "second.1", 12)
    export = tmp_path / "trail.jsonl"
    for line in run("audit", "export").out.splitlines():
        with export.open("a") as file:
            file.write(json.dumps(json.loads(line), separators=(",", ":")) + "\n")
    assert run("audit", "verify", "--export", str(export)).code == 0
    text = export.read_text("utf-8")
    assert old in text
    export.write_text(text.replace(old, new, 1), "utf-8")
    ran = run("audit", "verify", "--export", str(export), "--json")
    assert (ran.code, ran.document[0]["ok"]) == (1, False)
    assert "was changed in" in ran.document[0]["problems"][0]
