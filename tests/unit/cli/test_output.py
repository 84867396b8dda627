"""What is written where: JSON that every parser reads on stdout, words for people on stderr."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import StrEnum

import pytest

from ibkr_connector.cli.output import Output, as_json, shown
from ibkr_connector.errors import ConnectionRefused, OrderValidationError


class Colour(StrEnum):
    RED = "red"


def strict(text: str) -> object:
    def refuse(name: str) -> object:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_has_no_nan_no_infinity_and_numbers_for_decimals() -> None:
    value = {"a": float("nan"), "b": float("inf"), "c": Decimal("1.50"), "d": [Decimal("NaN")], Colour.RED: Colour.RED}
    assert strict(as_json(value)) == {"a": None, "b": None, "c": 1.5, "d": [None], "red": "red"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (float("nan"), "-"),
        (100.0, "100"),
        (Decimal(1234567), "1,234,567"),
        (Decimal("247.8"), "247.80"),
        (Decimal("1.14295"), "1.14295"),
        (Decimal("0.00001"), "0.00001"),
        (Decimal("-5.610"), "-5.61"),
        (Decimal("1E+3"), "1,000"),
    ],
)
def test_values_are_shown_without_exponents_and_with_cents(value: object, text: str) -> None:
    assert shown(value) == text


def test_an_error_in_json_mode_is_one_document_on_stdout_and_nothing_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = Output(json_only=True).failed(OrderValidationError("quantity=0 is bad.", field="quantity", legal="> 0"))
    told = capsys.readouterr()
    document = strict(told.out)
    assert isinstance(document, dict)
    assert told.err == ""
    assert code == 2
    assert document["error"] == "OrderValidationError"
    assert document["exit_code"] == 2
    assert document["remedy"]
    assert document["context"] == {"field": "quantity", "legal": "> 0"}


def test_an_error_for_a_person_is_on_stderr_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    code = Output(json_only=False).failed(ConnectionRefused("nobody listens at 127.0.0.1:7497."))
    told = capsys.readouterr()
    assert told.out == ""
    assert "nobody listens" in told.err
    assert "Start TWS" in told.err
    assert code == 3


def test_remarks_never_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json_only=True)
    out.note("by the way")
    with out.busy("waiting"):
        pass
    told = capsys.readouterr()
    assert told.out == ""
    assert "by the way" in told.err


def test_a_pipe_has_no_edge_that_would_cut_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json_only=False).result([], lambda: "x" * 150)
    assert capsys.readouterr().out == "x" * 150 + "\n"
