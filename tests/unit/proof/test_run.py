"""The command line of the proof refuses what would show nothing."""

from __future__ import annotations

import pytest

from proof import run


@pytest.mark.parametrize(
    "words",
    [
        ["--schedules", "0"],
        ["--schedules", "-3"],
        ["--jobs", "0"],
        ["--replay", "-1"],
        ["--replay", "3", "--raw"],
        ["--raw", "--canaries"],
        ["--canaries", "no_such_bug"],
        ["--engine", "step", "--backend", "web"],
        ["--engine", "both", "--backend", "web", "--canaries", "cancel_once"],
        ["--canaries", "second_post"],
    ],
)
def test_what_would_prove_nothing_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
