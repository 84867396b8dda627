"""The gateway process of the demo: what it cannot start with is told, and its log is read as it grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibkr_connector.cli.demo.child import GatewayFailed, TruthFile, decimal, gateway_process
from ibkr_connector.errors import InvalidRequest


def line(seq: int) -> str:
    return json.dumps({"seq": seq, "kind": "fill"}) + "\n"


def test_a_line_that_is_being_written_is_left_for_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    truth = TruthFile(path)
    assert truth.read() == []
    path.write_text(line(1) + line(2) + line(3)[:9])
    assert [entry["seq"] for entry in truth.read()] == [1, 2]
    path.write_text(line(1) + line(2) + line(3))
    assert [entry["seq"] for entry in truth.read(after=1)] == [2, 3]


def test_an_amount_that_is_missing_counts_as_nothing() -> None:
    assert decimal({"a": None}, "a") == decimal({}, "a") == 0
    assert str(decimal({"a": "1.50"}, "a")) == "1.50"


async def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="unknown market 'nowhere'"):
        async with gateway_process(["--market", "nowhere"], tmp_path / "truth.jsonl"):
            pass
    with pytest.raises(InvalidRequest, match="there is no folder"):
        async with gateway_process([], tmp_path / "no" / "such" / "truth.jsonl"):
            pass
    with pytest.raises(GatewayFailed, match=r"203\.0\.113\.1"):  # an address of nobody's
        async with gateway_process(["--host", "203.0.113.1"], tmp_path / "truth.jsonl"):
            pass
