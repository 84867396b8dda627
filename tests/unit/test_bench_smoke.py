"""The benchmark's command line, its arithmetic and its tables. What it measures is no test's business."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def bench(repo_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of the benchmark, by name."""
    folder = repo_dir / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are in the repository only")
    monkeypatch.syspath_prepend(str(folder))

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return load


def check(bench: Any, value: float, rule: str, limit: float) -> Any:
    """A target with that measured number."""
    return bench("table").Check("thing", bench("stats").Ratio(value, value / 2, value * 2), rule, limit)


def test_the_list_names_every_benchmark_and_measures_nothing(repo_dir: Path) -> None:
    command = [sys.executable, str(repo_dir / "benchmarks" / "run.py"), "--list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == ["memory", "connect", "orders", "bars", "ticks", "positions", "import"]
    assert done.stderr == ""


def test_an_unknown_benchmark_is_a_usage_error(repo_dir: Path) -> None:
    command = [sys.executable, str(repo_dir / "benchmarks" / "run.py"), "--only", "nonsense"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("value", "rule", "limit", "met"),
    [(1.2, "<=", 1.2, True), (1.21, "<=", 1.2, False), (0.9, ">=", 0.9, True), (0.89, ">=", 0.9, False)],
)
def test_a_target_is_met_up_to_its_limit_and_missed_beyond(
    bench: Any, value: float, rule: str, limit: float, met: bool
) -> None:
    found = check(bench, value, rule, limit)
    assert found.met is met
    assert found.cells()[-1] == ("met" if met else "missed")


def test_a_missed_target_shows_its_number_and_spread(bench: Any) -> None:
    assert check(bench, 1.75, "<=", 1.2).cells() == ["thing", "1.75 ×", "0.88 – 3.50", "≤ 1.2 ×", "missed"]


def test_a_ratio_is_the_middle_round_with_the_extremes_of_all(bench: Any) -> None:
    side, raw, commit = [[4.0, 9.0, 1.0], [6.0], [50.0]], [[1.0], [1.0], [1.0]], [[1.0], [1.0], [4.0]]
    found = bench("stats").ratio(side, raw, commit)
    assert (found.value, found.low, found.high) == (3.0, 2.0, 10.0)


def test_sides_with_different_rounds_are_not_compared(bench: Any) -> None:
    with pytest.raises(ValueError, match="same number of rounds"):
        bench("stats").ratio([[1.0], [1.0]], [[1.0]])


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (0, 1)])
def test_percentiles_are_samples_that_were_measured(bench: Any, percent: float, value: float) -> None:
    assert bench("stats").percentile([float(i) for i in range(1, 101)], percent) == value


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5, "1.50 s"), (0.0123, "12.3 ms"), (0.0009, "900 µs"), (3.2e-7, "0.32 µs"), (0.0, "0 µs")]
)
def test_durations_are_shown_in_the_unit_a_person_would_choose(bench: Any, seconds: float, text: str) -> None:
    assert bench("table").duration(seconds) == text


def test_text_columns_are_aligned(bench: Any) -> None:
    lines = bench("table").text_table(["side", "p50"], [["raw", "1 ms"], ["connector", "20 ms"]]).splitlines()
    assert lines == ["side       p50", "---------  -----", "raw        1 ms", "connector  20 ms"]


def test_a_bar_in_a_cell_does_not_break_the_markdown_table(bench: Any) -> None:
    assert bench("table").markdown_table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"


def test_the_report_has_the_targets_first_and_every_note(bench: Any) -> None:
    table = bench("table")
    section = table.Section("n", "Title", ["side"], [["raw"]], [check(bench, 1.0, "<=", 1.2)], ["a note"])
    text = table.as_markdown([section], {"date": "today"})
    assert text.startswith("* date: today\n\n## Targets\n")
    assert text.index("## Targets") < text.index("## Title") < text.index("* a note")
    assert "a note" in table.as_text([section], {"date": "today"})


def test_only_what_stands_between_the_markers_is_replaced(bench: Any) -> None:
    table = bench("table")
    before = f"head\n{table.BEGIN}\nold\n{table.END}\ntail\n"
    once = table.between_markers(before, "new")
    assert once == f"head\n{table.BEGIN}\n\nnew\n\n{table.END}\ntail\n"
    assert table.between_markers(once, "new") == once


def test_a_report_without_markers_is_not_overwritten(bench: Any) -> None:
    with pytest.raises(ValueError, match="no line"):
        bench("table").between_markers("my own text", "new")


def test_the_report_in_the_repository_has_its_markers(repo_dir: Path, bench: Any) -> None:
    text = (repo_dir / "docs" / "BENCHMARKS.md").read_text("utf-8")
    assert "new" in bench("table").between_markers(text, "new")
