"""The benchmark's command line, its arithmetic and its tables. What it measures is no test's business."""

from __future__ import annotations

import asyncio
import importlib
import os
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
    assert names == [
        "memory",
        "connect",
        "orders",
        "gates",
        "crowd",
        "blocked",
        "reconnect",
        "pacing",
        "bars",
        "ticks",
        "positions",
        "import",
        "web-snapshot",
        "web-positions",
        "web-orders",
        "web-pace",
        "web-faults",
    ]
    assert done.stderr == ""


def test_an_unknown_benchmark_is_a_usage_error(repo_dir: Path) -> None:
    command = [sys.executable, str(repo_dir / "benchmarks" / "run.py"), "--only", "nonsense"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("other", [["--quick"], ["--only", "pacing"]])
def test_the_ten_minute_run_is_not_mixed_with_others(repo_dir: Path, other: list[str]) -> None:
    command = [sys.executable, str(repo_dir / "benchmarks" / "run.py"), "--long", *other]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "run of its own" in done.stderr


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


def test_each_run_replaces_its_own_section_only(repo_dir: Path, bench: Any) -> None:
    table = bench("table")
    before = (repo_dir / "docs" / "BENCHMARKS.md").read_text("utf-8")
    with_long = table.between_markers(before, "ten minutes", table.LONG)
    both = table.between_markers(with_long, "usual")
    assert f"{table.LONG[0]}\n\nten minutes\n\n{table.LONG[1]}" in both
    assert f"{table.BEGIN}\n\nusual\n\n{table.END}" in both


def test_headings_of_a_section_within_a_page_are_deeper(bench: Any) -> None:
    table = bench("table")
    section = table.Section("n", "Title", ["side"], [["raw"]], [check(bench, 1.0, "<=", 1.2)])
    text = table.as_markdown([section], {}, level=3)
    assert "### Targets" in text
    assert "### Title" in text


def test_a_tail_is_compared_over_all_rounds_with_the_extremes_of_single_ones(bench: Any) -> None:
    found = bench("stats").tail_ratio([[2.0, 4.0], [6.0, 8.0]], [[1.0, 2.0], [2.0, 16.0]])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 2.0)
    with pytest.raises(ValueError, match="same number of rounds"):
        bench("stats").tail_ratio([[1.0]], [[1.0], [1.0]])


# --- the judge of pacing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moments", "broken"),
    [([0.0, 0.0, 1.0, 1.0], 0), ([0.0, 0.5, 1.0, 1.5], 0), ([0.0, 0.0, 0.9], 1), ([0.0, 0.0, 0.0, 0.0], 2), ([], 0)],
)
def test_the_judge_counts_every_unit_above_the_rule(bench: Any, moments: list[float], broken: int) -> None:
    assert bench("pacing").violations(moments, 2, 1.0) == broken


@pytest.mark.parametrize(("turn", "share"), [(1.0, 1.0), (1.25, 0.8), (2.0, 0.5)])
def test_efficiency_is_the_share_of_the_rate_in_whole_turns(bench: Any, turn: float, share: float) -> None:
    moments = [number * turn for number in range(4) for _ in range(3)]
    assert bench("pacing").efficiency(moments, 3, 1.0) == share


def test_efficiency_of_less_than_a_turn_is_no_number(bench: Any) -> None:
    with pytest.raises(ValueError, match="no whole turn"):
        bench("pacing").efficiency([0.0, 1.0], 2, 1.0)


def test_the_pacer_uses_each_rule_to_98_percent_and_breaks_none(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pacing = bench("pacing")
    monkeypatch.setattr(pacing, "TURNS", 5)
    for case in pacing.cases():
        moments = pacing.busy(case)
        assert pacing.violations(moments, case.limit, case.window) == 0, case.label
        assert pacing.efficiency(moments, case.limit, case.window) >= pacing.TARGET, case.label


def test_a_pacer_without_its_rules_is_caught_by_the_judge(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ibkr_connector.resilience import WindowRule, rules

    pacing = bench("pacing")
    monkeypatch.setattr(pacing, "TURNS", 5)
    loose = (WindowRule("messages", 51, 1.0), *rules.default_rules()[1:])
    monkeypatch.setattr(rules, "default_rules", lambda: loose)
    case = pacing.cases()[0]
    assert pacing.violations(pacing.busy(case), case.limit, case.window) > 0


def test_what_the_gateway_noted_is_judged_rule_by_rule(bench: Any) -> None:
    history = [(float(number), 1, number) for number in range(3)] + [(5.0, 2, 9), (20.1, 2, 9), (700.0, 1, 10)]
    found = {label: moments for label, moments, _, _ in bench("pacing").judged({"messages": [0.5], "history": history})}
    assert list(found.values()) == [
        [0.5],
        [0.0, 1.0, 2.0, 5.0, 20.1, 700.0],
        [0.0, 1.0, 2.0],
        [5.0, 20.1],
    ]


# --- what else is worked out ------------------------------------------------------------------------------------------


def test_the_time_of_a_reconnect_is_told_apart_by_what_it_was_spent_on(bench: Any) -> None:
    changes = [(1.5, "reconnecting"), (2.5, "connecting"), (2.75, "reconnecting"), (4.75, "connecting")]
    changes += [(5.0, "syncing"), (5.5, "ready")]
    found = bench("reconnect").parts(1.0, changes)
    assert found == {"noticed": 0.5, "back-off": 3.0, "connect": 0.5, "sync": 0.5}
    assert sum(found.values()) == 5.5 - 1.0


def test_a_link_that_never_got_ready_has_no_time(bench: Any) -> None:
    with pytest.raises(ValueError, match="not ready"):
        bench("reconnect").parts(1.0, [(1.5, "reconnecting")])


def test_the_crowd_repeats_no_request(bench: Any) -> None:
    found = bench("crowd").ends("2026-11-20T21:00:00+00:00", 500)
    assert len(set(found)) == 500


def test_every_gate_there_is_is_armed_in_the_benchmark_of_the_chain(bench: Any) -> None:
    from ibkr_connector.config import load_settings
    from ibkr_connector.risk import RiskLimits, gates as all_gates
    from ibkr_connector.risk.gates import default_gates

    settings = load_settings(overrides={"mode": "paper", **bench("gates").EVERYTHING})
    limits = RiskLimits.from_settings(settings.risk_limits, agents=settings.agents, symbols=settings.symbols)
    known = {name for name in vars(all_gates) if name.endswith("Gate") and name != "Gate"}
    assert {type(gate).__name__ for gate in default_gates(limits)} == known


# --- over the Web API -------------------------------------------------------------------------------------------------


def test_the_pacer_of_the_web_api_uses_98_percent_of_fifty_a_second_and_breaks_no_rule(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacing, web_pace = bench("pacing"), bench("web_pace")
    monkeypatch.setattr(pacing, "TURNS", 5)
    found = [(case, pacing.busy(case, rules)) for case, rules in web_pace.cases()]
    for case, moments in found:
        assert pacing.violations(moments, case.limit, case.window) == 0, case.label
    shares = [pacing.efficiency(moments, case.limit, 1.0) for case, moments in found if case.limit > 10]
    assert len(shares) == 2
    assert min(shares) >= web_pace.TARGET


def test_every_side_meets_every_fault_at_a_gateway_of_its_own(bench: Any) -> None:
    writes = bench("web_writes")
    sides, raws = writes.wanted(writes.PATIENCE_S)
    met = [(kind, number) for kind, numbers in raws.values() for number in numbers]
    everything = [(kind, number) for kind in (writes.RAW, writes.NAMELESS) for number in range(len(writes.FAULTS))]
    assert sorted(met) == sorted(everything)
    ours = [writes.gateway_of(writes.CONNECTOR, number) for number in range(len(writes.FAULTS))]
    used = sorted([writes.gateway_of(*one) for one in met] + ours)
    assert used == list(range(3 * len(writes.FAULTS)))
    assert all(side.at == tuple(used) for side in sides)


def test_ibind_keeps_its_default_timeout_unless_the_run_is_quick(bench: Any) -> None:
    writes = bench("web_writes")
    raws = [side for side in writes.wanted(writes.PATIENCE_S)[0] if side.kind == "raw"]
    assert raws
    assert all(side.options == {} for side in raws)
    assert all(side.options == {"timeout": 2.0} for side in writes.wanted(2.0)[0] if side.kind == "raw")


def test_a_fault_of_the_benchmark_is_a_plan_that_the_gateway_takes(bench: Any) -> None:
    from ibkr_connector.paper.faults.plan import make_fault

    writes = bench("web_writes")
    faults = [make_fault({"kind": fault.kind, **fault.plan(2.0)}) for fault in writes.FAULTS]
    assert {fault.front for fault in faults} == {"web"}
    assert faults[0].delay is not None
    assert faults[0].delay > 2.0, "an answer has to be slower than the patience of who waits for it"


def test_keys_reach_a_side_as_a_shell_would_set_them(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "oauth.env"
    file.write_text("# a remark, NAME=no\nIBIND_BENCH_A='two words'\nIBIND_BENCH_B=one\n\n")
    for name in ("IBIND_BENCH_A", "IBIND_BENCH_B"):
        monkeypatch.setenv(name, "old")
    bench("webside").take_environment(str(file))
    assert (os.environ["IBIND_BENCH_A"], os.environ["IBIND_BENCH_B"]) == ("two words", "one")


def test_settings_of_the_machine_reach_no_side(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBIND_USE_OAUTH", "True")
    monkeypatch.setenv("IBKR_MODE", "live")
    assert not [name for name in bench("processes").clean_environment() if name.startswith(("IBIND_", "IBKR_"))]


def test_without_its_libraries_the_web_api_is_said_not_to_be_measured(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhouse, harness = bench("webhouse"), bench("harness")
    monkeypatch.setattr(webhouse, "NEEDED", {"no_such_module_here": "the extra paper-web"})
    run = harness.Bench(None, {}, {}, True)
    for name in ("web_quotes", "web_orders", "web_pace", "web_writes"):
        section = bench(name).run(run)
        assert section.rows == []
        assert "the extra paper-web not installed" in section.notes[0]
    assert run.problems == ["the Web API was not measured: the extra paper-web not installed"]


async def test_the_judge_of_requests_notes_what_it_let_through_and_counts_what_it_refused(bench: Any) -> None:
    pytest.importorskip("aiohttp")
    from ibkr_connector.paper.web.calls import WebError
    from ibkr_connector.paper.web.options import Limits

    judge = bench("webgateway").NotedLimiter(Limits(), asyncio.get_running_loop(), oauth=True)
    refused = 0
    for _ in range(60):
        try:
            with judge.admit("secdef_search", "127.0.0.1"):
                pass
        except WebError:
            refused += 1
    assert (len(judge.moments), judge.refused, refused) == (50, 10, 10)
