"""Plans are read as they are meant, and what makes no sense is explained before anything runs."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.faults.catalogue import BOTH_FRONTS, KINDS
from ibkr_connector.paper.faults.effects import Effects
from ibkr_connector.paper.faults.messages import REPLIES, REQUESTS
from ibkr_connector.paper.faults.plan import MAX_SIZE, Fault, PlanError, load_plan, make_fault, make_faults, parse_plan
from ibkr_connector.paper.faults.web_effects import WebEffects

REQUIRED: dict[str, dict[str, Any]] = {"error": {"code": 1100}, "clock_jump": {"by": 60}, "halt": {"symbol": "AAPL"}}


def plain(kind: str) -> Fault:
    """A fault of a kind with what it needs and nothing else."""
    needs_on = not KINDS[kind].timed and KINDS[kind].default_on is None
    return make_fault({"kind": kind, **REQUIRED.get(kind, {}), **({"on": "place_order"} if needs_on else {})})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_effect_and_its_defaults(kind: str) -> None:
    fault = plain(kind)
    fronts = {"tws": Effects, "web": WebEffects}
    assert any(callable(getattr(fronts[front], kind, None)) for front in KINDS[kind].fronts)
    if KINDS[kind].fronts != BOTH_FRONTS:
        [front] = KINDS[kind].fronts
        assert callable(getattr(fronts[front], kind))
    for key, value in KINDS[kind].options.items():
        got = getattr(fault, "for_" if key == "for" else key)
        assert got == REQUIRED.get(kind, {}).get(key, value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_guide_explains_every_kind_and_key(kind: str, repo_dir: Path) -> None:
    rows = (repo_dir / "docs" / "IMPLEMENTATION" / "faults.md").read_text("utf-8").splitlines()
    [row] = [row for row in rows if row.startswith(f"| `{kind}` |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert all(cells)
    assert len(cells) == 4
    assert {
        word.strip("`").split("=")[0] for word in cells[2].replace(",", " ").split() if word.startswith("`")
    } == set(KINDS[kind].options)


def test_the_guide_names_every_request_and_reply(repo_dir: Path) -> None:
    text = (repo_dir / "docs" / "IMPLEMENTATION" / "faults.md").read_text("utf-8")
    assert [name for name in sorted(REQUESTS | REPLIES) if f"`{name}`" not in text] == []


def test_a_key_without_a_value_has_its_default() -> None:
    made = make_fault({"kind": "slow", "name": None, "nth": None, "on": "place_order"})
    assert (made.name, made.nth) == ("", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_s_own_words_make_the_same_fault(kind: str) -> None:
    fault = plain(kind)
    assert make_fault(fault.to_dict()) == fault


def test_a_whole_plan_is_read() -> None:
    made = parse_plan(
        """
        version = 1
        [[fault]]
        kind = "slow"
        at = 2026-11-20T15:00:00Z
        for = 2
        delay = 0.5
        client_id = 7
        [[fault]]
        kind = "drop_connection"
        name = "cut"
        at = "2026-11-20T10:00:00-05:00"
        on = "order_status"
        nth = 3
        times = 2
        probability = 0.25
        """
    )
    moment = datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert made == [
        Fault("slow", at=moment, for_=2.0, delay=0.5, client_id=7),
        Fault("drop_connection", name="cut", at=moment, on="order_status", nth=3, times=2, probability=0.25),
    ]
    assert parse_plan("") == []


def test_times_are_one_and_without_limit_where_chance_decides() -> None:
    assert Fault("reject").times == 1
    assert Fault("reject", probability=0.5).times == 0
    assert Fault("slow", probability=0.5).times == 1


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "needs a 'kind'"),
        ({"kind": "half_opened"}, "unknown kind 'half_opened': did you mean 'half_open'?"),
        ({"kind": "xyzzy"}, "use one of brokerage_lost, "),
        ({"kind": 5, "bogus": 1}, "unknown kind 5"),
        ({"kind": "slow", "dely": 1}, "slow takes no 'dely': did you mean 'delay'?"),
        ({"kind": "slow", "symbol": "AAPL"}, "slow takes no 'symbol'"),
        ({"kind": "slow", "delay": "1"}, "'delay' must be a number of seconds, not '1'"),
        ({"kind": "slow", "delay": True}, "number of seconds"),
        ({"kind": "slow", "delay": float("nan")}, "number of seconds"),
        ({"kind": "slow", "for": -1}, "'for' must be 0 to"),
        ({"kind": "slow", "for": 1e12}, "'for' must be 0 to"),
        ({"kind": "slow", "at": "noon"}, "'noon' is no ISO time"),
        ({"kind": "slow", "at": "2026-11-20T15:00:00"}, "no time zone"),
        ({"kind": "slow", "at": -5}, "'at' must be 0 to"),
        ({"kind": "slow", "nth": 2}, "say which with 'on'"),
        ({"kind": "slow", "times": 2}, "say which with 'on'"),
        ({"kind": "slow", "on": "plce_order"}, "unknown 'plce_order': did you mean 'place_order'?"),
        ({"kind": "slow", "on": 3}, "'on': unknown 3"),
        ({"kind": "slow", "on": "fill"}, "not triggered by 'fill', but by a request or a reply"),
        ({"kind": "reject", "nth": 0}, "'nth' must be 1 to"),
        ({"kind": "reject", "nth": 1.5}, "'nth' must be a whole number"),
        ({"kind": "reject", "times": -1}, "'times' must be 0 to"),
        ({"kind": "reject", "probability": 0}, "more than 0 and at most 1"),
        ({"kind": "reject", "probability": 1.5}, "more than 0 and at most 1"),
        ({"kind": "reject", "client_id": -1}, "'client_id' must be 0 to"),
        ({"kind": "reject", "code": "201"}, "'code' must be a whole number"),
        ({"kind": "reject", "text": 5}, "'text' must be a text"),
        ({"kind": "reject", "text": "a\0b"}, "'text' must be a text"),
        ({"kind": "reject", "on": "order_status"}, "not triggered by 'order_status', but by a request"),
        ({"kind": "reject", "at": 5}, "needs 'on'"),
        ({"kind": "fork_on_modify", "on": "place_order"}, "happens on modify_order"),
        ({"kind": "late_commission", "on": "place_order"}, "but by 'fill'"),
        ({"kind": "error"}, "needs 'code'"),
        ({"kind": "error", "code": 12345}, "give its 'text'"),
        ({"kind": "error", "code": 1100, "restore": 1103}, "restore must be 1101"),
        ({"kind": "error", "code": 1100, "client_id": 3}, "whole gateway"),
        ({"kind": "clock_jump"}, "needs 'by'"),
        ({"kind": "clock_jump", "by": 0}, "only moves forward"),
        ({"kind": "halt"}, "needs 'symbol'"),
        ({"kind": "farm_down", "farm": "usfrm"}, "did you mean 'usfarm'?"),
        ({"kind": "restart", "client_id": 3}, "whole gateway"),
        ({"kind": "restart", "rollback_ids": -1}, "'rollback_ids' must be 0 to"),
        ({"kind": "refuse", "client_id": 3}, "give a 'code'"),
        ({"kind": "refuse", "text": "no"}, "'text' belongs to a 'code'"),
        ({"kind": "execution_correction", "ticks": 0}, "must not be 0"),
        ({"kind": "split_frames", "pieces": 1}, "'pieces' must be 2 to 64"),
        ({"kind": "swallow_reply", "reply": "open_ordr"}, "did you mean 'open_order'?"),
        ({"kind": "http_error", "front": "tws"}, "does not happen on the front 'tws'"),
        ({"kind": "false_200", "front": "web"}, "does not happen on the front 'web'"),
        ({"kind": "slow", "front": "wbe"}, "did you mean 'web'?"),
        ({"kind": "slow", "front": "web", "client_id": 1}, "have no 'client_id'"),
        ({"kind": "restart", "front": "web"}, "whole gateway"),
        ({"kind": "duplicate_reply", "count": 0}, "'count' must be 1 to"),
    ],
)
def test_what_makes_no_sense_is_explained(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError) as caught:
        make_fault(keys)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fault = 5", "begin each with [[fault]]"),
        ("fault = [5]", "fault 1 must be a table"),
        ("[fault]\nkind = 'slow'", "begin each with [[fault]]"),
        ("[[faults]]\nkind = 'slow'", "unknown key 'faults': did you mean 'fault'?"),
        ("kind =", "is not TOML"),
        ("version = 2", "reads version 1"),
        ("[[fault]]\nkind='slow'\n[[fault]]\nkind='slow'\nname='late'\ndelay=-1", "fault 2 (late): 'delay'"),
        ("[[fault]]\nkind='slow'\nat=2026-11-20T15:00:00", "no time zone"),
    ],
)
def test_a_plan_that_makes_no_sense_names_the_place(text: str, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "my.toml")
    assert str(caught.value).startswith("my.toml")
    assert words in str(caught.value)


def test_a_plan_file_that_is_no_text_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match="not UTF-8"):
        load_plan(path)
    path.write_bytes(b"#" * (MAX_SIZE + 1))
    with pytest.raises(PlanError, match="longer than"):
        load_plan(path)
    with pytest.raises(FileNotFoundError):
        load_plan(tmp_path / "missing.toml")


def test_the_example_plan_is_a_plan(repo_dir: Path) -> None:
    assert len(load_plan(repo_dir / "examples" / "faults.toml")) > 5


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_KEYS = st.sampled_from([field.name.rstrip("_") for field in dataclasses.fields(Fault)]) | st.text(max_size=8)


@given(st.sampled_from(sorted(KINDS)) | _JSON, st.dictionaries(_KEYS, _JSON, max_size=4))
def test_whatever_comes_is_a_fault_or_a_plan_error(kind: object, keys: dict[str, object]) -> None:
    try:
        made = make_faults([{**keys, "kind": kind}], "x")
    except PlanError:
        return  # anything else would be a crash
    assert make_fault(made[0].to_dict()) == made[0]
