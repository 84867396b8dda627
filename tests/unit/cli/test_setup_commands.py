"""`init`, `config`, `version`, `orders doubt`, `audit verify`: the commands that connect to nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.config import template_text

Run = Callable[..., Any]


def test_init_writes_the_template_for_its_owner_alone(run: Run) -> None:
    ran = run("init")
    written = Path("ibkr_config.ini")
    assert ran.code == 0
    assert written.read_text("utf-8") == template_text()
    if os.name == "posix":
        assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_init_prefers_a_config_folder_that_is_there(run: Run) -> None:
    Path("config").mkdir()
    assert run("init", "--json").document == {"written": str(Path("config/ibkr_config.ini"))}


def test_init_does_not_overwrite_without_being_told(run: Run) -> None:
    Path("ibkr_config.ini").write_text("mine", "utf-8")
    ran = run("init")
    assert ran.code == 2
    assert "--force" in ran.err
    assert Path("ibkr_config.ini").read_text("utf-8") == "mine"
    assert run("init", "--force").code == 0
    assert Path("ibkr_config.ini").read_text("utf-8") == template_text()


def test_init_to_stdout_writes_the_text_and_no_file(run: Run) -> None:
    assert run("init", "--stdout").out == template_text()
    assert not Path("ibkr_config.ini").exists()


def test_init_to_stdout_in_json_is_the_text_as_a_document_and_no_file(run: Run) -> None:
    assert run("init", "--stdout", "--json").document == {"text": template_text()}
    assert not Path("ibkr_config.ini").exists()


def test_config_show_tells_value_and_origin_and_masks_the_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_PASSWORD", "hunter2hunter2")
    for words in (("config", "show"), ("config", "show", "--all"), ("config", "show", "--json")):
        ran = run(*words)
        assert ran.code == 0
        assert "hunter2" not in ran.out + ran.err
    rows = {(row["section"], row["key"]): row for row in run("config", "show", "--json").document["settings"]}
    assert rows["connection", "password"]["value"] == "********"
    assert "IBKR_PORT" in rows["paper_trading", "port"]["origin"]
    assert rows["paper_trading", "host"]["origin"] == "default"


def test_options_win_over_the_environment_in_config_show(run: Run) -> None:
    rows = run("config", "show", "--port", "4002", "--json").document["settings"]
    port = next(row for row in rows if row["key"] == "port")
    assert port["value"] == "4002"


def test_config_path_is_code_1_where_there_is_none(run: Run) -> None:
    assert run("config", "path").code == 1
    assert run("config", "path", "--json").document == {"path": None}
    run("init")
    ran = run("config", "path")
    assert ran.code == 0
    assert ran.out.strip().endswith("ibkr_config.ini")


def test_version_names_what_a_bug_report_needs(run: Run) -> None:
    from ibkr_connector import __version__

    document = run("version", "--json").document
    assert document["ibkr_connector"] == __version__
    assert {"python", "platform", "ib_insync", "ib_async", "eventkit", "aeventkit"} <= set(document)


def test_the_version_is_an_option_of_the_program_too(run: Run) -> None:
    from ibkr_connector import __version__

    ran = run("--version")
    assert ran.code == 0
    assert ran.out == f"ibkr-connector {__version__}\n"


def test_nothing_is_in_doubt_where_there_is_no_journal_and_none_is_made(run: Run, tmp_path: Path) -> None:
    assert run("orders", "doubt", "--json").document == []
    assert run("audit", "verify", "--json").document == []
    assert not (tmp_path / "state").exists()


def test_a_journal_that_is_asked_for_and_not_there_is_an_error(run: Run) -> None:
    ran = run("orders", "doubt", "--account", "DU1234567", "--json")
    assert ran.code == 1
    assert "DU1234567" in ran.document["message"]
