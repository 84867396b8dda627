"""The paper gateway's command line: what it takes, and what it says about what it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.main import PaperOptions, main, parse


def test_the_defaults_are_a_gateway_one_can_use_at_once() -> None:
    assert parse([]) == PaperOptions()
    assert parse([]).accounts == ("DU1234567",)
    assert parse([]).tws_port == 7497


def test_every_option_arrives() -> None:
    options = parse(
        [
            "--tws-port",
            "0",
            "--host",
            "127.0.0.2",
            "--account",
            "DU1",
            "--account",
            "DU2",
            "--market",
            "lean:/data",
            "--clock",
            "session",
            "--start",
            "2013-10-07T10:00:00-04:00",
            "--speed",
            "60",
            "--seed",
            "7",
            "--truth",
            "t.jsonl",
            "--append",
            "--control-port",
            "0",
            "--initial-cash",
            "5000.50",
            "--faults",
            "plan.toml",
        ]
    )
    assert options == PaperOptions(
        tws_port=0,
        host="127.0.0.2",
        accounts=("DU1", "DU2"),
        market="lean:/data",
        clock="session",
        start=datetime(2013, 10, 7, 14, tzinfo=UTC),
        speed=60.0,
        seed=7,
        truth=Path("t.jsonl"),
        append=True,
        control_port=0,
        initial_cash=Decimal("5000.50"),
        faults=Path("plan.toml"),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tws-port", "70000"], "0 to 65535"),
        (["--tws-port", "x"], "0 to 65535"),
        (["--control-port", "-1"], "0 to 65535"),
        (["--account", "DU 1"], "no account code"),
        (["--clock", "fast"], "session"),
        (["--start", "noon"], "no ISO time"),
        (["--speed", "0"], "positive number"),
        (["--speed", "nan"], "positive number"),
        (["--speed", "quick"], "positive number"),
        (["--initial-cash", "-5"], "positive number of US dollars"),
        (["--initial-cash", "lots"], "positive number of US dollars"),
        (["--seed", "x"], "seed"),
        (["--tempo", "5"], "unrecognized arguments"),
        (["--append"], "name its --truth FILE"),
    ],
)
def test_a_bad_value_is_explained_and_exits_with_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--market", "moon"], "unknown market 'moon'"),
        (["--market", "csv:/nowhere/at/all"], "/nowhere/at/all"),
        (["--clock", "real", "--speed", "2"], "real"),
        (["--account", "DU1", "--account", "DU1"], "each may be named once"),
    ],
)
def test_values_that_do_not_go_together_exit_with_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tws-port", "0", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"accounts": ()}, "list of account codes"),
        ({"accounts": "DU1"}, "list of account codes"),
        ({"accounts": ("DU1", "DU1")}, "named once"),
        ({"accounts": ("DU,1",)}, "letters and digits"),
        ({"initial_cash": Decimal(0)}, "positive amount"),
    ],
)
def test_a_gateway_explains_arguments_that_make_no_sense(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PaperGateway(**arguments)  # type: ignore[arg-type]


def test_a_start_without_a_zone_is_new_york_s() -> None:
    assert parse(["--start", "2013-10-07T10:00:00"]).start == datetime(2013, 10, 7, 14, tzinfo=UTC)


def test_parts_of_a_gateway_that_was_not_started_say_so() -> None:
    with pytest.raises(RuntimeError, match="async with PaperGateway"):
        PaperGateway().exchange


def test_the_truth_of_an_earlier_run_is_mixed_with_another_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Path | None] = []

    async def stopped_at_once(self: PaperGateway) -> None:
        served.append(self.truth.path)

    monkeypatch.setattr(PaperGateway, "wait_closed", stopped_at_once)
    truth = tmp_path / "truth.jsonl"
    truth.touch()  # an empty file, as mktemp makes it, is as good as none
    words = ["--tws-port", "0", "--truth", str(truth)]
    assert main(words) == 0
    truth.write_text("{}\n")
    assert main(words) == 2
    assert "--append" in capsys.readouterr().err
    assert truth.read_text() == "{}\n"
    assert main([*words, "--append"]) == 0
    assert served == [truth, truth]


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--truth", "", "that is a folder"),
        ("--truth", "none/truth.jsonl", "there is no folder"),
        ("--faults", "none.toml", "there is no such file"),
    ],
)
def test_a_file_that_cannot_be_is_bad_input(
    option: str, name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([option, str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
