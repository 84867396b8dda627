"""Every check of `doctor` fails on the trouble it is about, and names the fix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends.tws import library
from ibkr_connector.cli.doctor import checks
from ibkr_connector.cli.doctor.checks import Verdict
from ibkr_connector.cli.doctor.probe import Findings, Stage
from ibkr_connector.config import Settings, load_settings
from ibkr_connector.orders.journal import LOCK_NAME
from ibkr_connector.store import FileLock, account_dir

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def settings(tmp_path: Path, **overrides: Any) -> Settings:
    return load_settings(overrides={"state_dir": tmp_path, **overrides}, environ={}, cwd=tmp_path)


def findings(**fields: Any) -> Findings:
    plain: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 7497,
        "client_id": 2,
        "stage": Stage.READY,
        "server_version": 157,
        "accounts": ("DU1234567",),
        "server_time": NOW,
        "asked_at": NOW,
        "read_only": False,
    }
    return Findings(**{**plain, **fields})


def installation(**fields: Any) -> library.Installation:
    plain: dict[str, Any] = {"ib_insync": "0.9.86", "ib_async": None, "eventkit": "intact", "aeventkit": "absent"}
    return library.Installation(**{**plain, **fields})


# --- this machine ---------------------------------------------------------------------------------------------------


def test_a_note_of_the_loader_is_passed_on(tmp_path: Path) -> None:
    noted = load_settings(environ={"IBKR_PROT": "1"}, cwd=tmp_path)
    check = checks.settings_check(noted)
    assert check.verdict is Verdict.WARN
    assert "IBKR_PROT" in check.found


async def test_no_library_is_a_failure_with_the_command_that_installs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = installation(ib_insync=None, eventkit="absent", problem="no TWS client library is installed", remedy="pip!")
    monkeypatch.setattr(checks, "describe_installation", lambda: none)
    check = await checks.library_check(settings(tmp_path))
    assert check.verdict is Verdict.FAIL
    assert check.fix == "pip!"


async def test_mixed_event_packages_are_told_with_their_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = installation(
        ib_async="2.1.0", eventkit="damaged", aeventkit="intact", problem="both are installed", remedy="pip uninstall"
    )
    monkeypatch.setattr(checks, "describe_installation", lambda: mixed)
    check = await checks.library_check(settings(tmp_path))
    assert check.verdict in (Verdict.WARN, Verdict.FAIL)
    assert "both are installed" in check.found
    assert check.fix == "pip uninstall"


def test_a_file_in_the_place_of_the_state_directory_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert checks.state_dir_check(settings(tmp_path, state_dir=tmp_path / "state")).verdict is Verdict.FAIL
    assert checks.state_dir_check(settings(tmp_path, state_dir=tmp_path / "state" / "x")).verdict is Verdict.FAIL


def test_a_state_directory_that_is_not_there_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    assert checks.state_dir_check(settings(tmp_path, state_dir=place)).verdict is Verdict.OK
    assert not place.exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which even root makes nothing")
def test_a_state_directory_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    check = checks.state_dir_check(settings(tmp_path, state_dir=Path("/proc/nope/deeper")))
    assert check.verdict is Verdict.FAIL
    assert "IBKR_STATE_DIR" in check.fix


def test_a_state_directory_that_refuses_a_file_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    check = checks.state_dir_check(settings(tmp_path))
    assert check.verdict is Verdict.FAIL
    assert "Read-only file system" in check.found


def test_the_state_directory_s_test_file_is_gone_afterwards(tmp_path: Path) -> None:
    assert checks.state_dir_check(settings(tmp_path)).verdict is Verdict.OK
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_LOW_SPACE", 1 << 62)
    assert checks.state_dir_check(settings(tmp_path)).verdict is Verdict.WARN


def test_a_journal_that_is_held_names_the_process(tmp_path: Path) -> None:
    lock = FileLock(account_dir(tmp_path, "DU1234567") / LOCK_NAME)
    lock.acquire()
    try:
        (check,) = checks.journal_checks(settings(tmp_path))
    finally:
        lock.release()
    assert check.verdict is Verdict.WARN
    assert "this very process" in check.found
    (tmp_path / "DU1234567" / "journal.sqlite3").touch()
    (free,) = checks.journal_checks(settings(tmp_path))
    assert free.verdict is Verdict.OK
    lock.acquire()  # looking at it took nothing away
    lock.release()


def test_a_folder_that_a_mistyped_account_left_is_no_journal_that_is_fine(tmp_path: Path) -> None:
    lock = FileLock(account_dir(tmp_path, "DU999") / LOCK_NAME)
    lock.acquire()
    lock.release()
    (check,) = checks.journal_checks(settings(tmp_path))
    assert check.verdict is Verdict.WARN
    assert "DU999: no journal" in check.found
    assert str(tmp_path / "DU999") in check.fix


# --- the gateway ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [Stage.REFUSED, Stage.UNREACHABLE, Stage.SILENT])
def test_a_port_without_a_gateway_is_a_failure_with_a_fix(tmp_path: Path, stage: Stage) -> None:
    check = checks.port_check(settings(tmp_path), findings(stage=stage, server_version=None), [])
    assert check.verdict is Verdict.FAIL
    assert check.fix


def test_a_gateway_on_another_usual_port_is_named(tmp_path: Path) -> None:
    other = findings(port=4002)
    check = checks.port_check(settings(tmp_path), findings(stage=Stage.REFUSED, server_version=None), [other])
    assert check.verdict is Verdict.FAIL
    assert "4002 (IB Gateway, paper)" in check.fix


def test_a_live_port_in_paper_mode_is_told(tmp_path: Path) -> None:
    assert checks.port_check(settings(tmp_path, port=7496), findings(port=7496), []).verdict is Verdict.WARN
    assert checks.port_check(settings(tmp_path), findings(), []).verdict is Verdict.OK


def test_a_client_id_in_use_is_told() -> None:
    taken = findings(stage=Stage.CLOSED, notices=[(326, "already in use")])
    assert checks.client_id_check(taken).verdict is Verdict.WARN
    assert checks.client_id_check(findings()).verdict is Verdict.OK


def test_a_connection_that_the_gateway_ends_is_a_failure() -> None:
    assert checks.client_id_check(findings(stage=Stage.CLOSED)).verdict is Verdict.FAIL


@pytest.mark.parametrize("accounts", [(), ("U7654321",), ("DU1234567", "U7654321"), ("DU1234567", "DU2222222")])
def test_an_account_that_is_not_the_paper_account_meant_is_a_failure(tmp_path: Path, accounts: tuple[str, ...]) -> None:
    check = checks.account_check(settings(tmp_path), findings(accounts=accounts))
    assert check.verdict is Verdict.FAIL
    assert "U7654321" not in check.found.replace("DU1234567", "")


def test_the_account_that_is_pinned_must_be_there(tmp_path: Path) -> None:
    several = findings(accounts=("DU1234567", "DU2222222"))
    assert checks.account_check(settings(tmp_path, account_id="DU2222222"), several).verdict is Verdict.OK
    assert checks.account_check(settings(tmp_path, account_id="DU3333333"), several).verdict is Verdict.FAIL


def test_a_read_only_api_is_a_failure_and_read_only_settings_are_told(tmp_path: Path) -> None:
    assert checks.read_only_check(settings(tmp_path), findings(read_only=True)).verdict is Verdict.FAIL
    assert checks.read_only_check(settings(tmp_path, read_only=True), findings()).verdict is Verdict.WARN
    assert checks.read_only_check(settings(tmp_path), findings(read_only=None)).verdict is Verdict.WARN
    assert checks.read_only_check(settings(tmp_path), findings()).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("seconds", "mode", "verdict"),
    [(1, "paper", "ok"), (5, "paper", "warn"), (86_400, "paper", "warn"), (5, "live", "warn"), (31, "live", "fail")],
)
def test_a_clock_that_is_wrong_is_told_and_fails_only_where_money_is_real(
    tmp_path: Path, seconds: int, mode: str, verdict: str
) -> None:
    chosen = settings(tmp_path, mode=mode, **({"account_id": "U7654321"} if mode == "live" else {}))
    check = checks.clock_check(chosen, findings(asked_at=NOW - timedelta(seconds=seconds)))
    assert check.verdict == verdict


def test_a_clock_that_was_not_told_is_no_success(tmp_path: Path) -> None:
    assert checks.clock_check(settings(tmp_path), findings(server_time=None)).verdict is Verdict.WARN


def test_a_farm_that_is_down_is_told_and_one_that_came_back_is_not() -> None:
    down, up = (
        (2103, "Market data farm connection is broken:usfarm"),
        (2104, "Market data farm connection is OK:usfarm"),
    )
    assert checks.farms_check(findings(notices=[up, down])).verdict is Verdict.WARN
    assert checks.farms_check(findings(notices=[down, up])).verdict is Verdict.OK
