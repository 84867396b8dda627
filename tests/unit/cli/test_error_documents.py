"""Error documents: the same keys whoever refused, and values as JSON has them."""

from __future__ import annotations

import pytest

from support.cli import Run

KEYS = {"error", "message", "code", "remedy", "retryable", "outcome", "context", "exit_code"}


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("status", "--port", "x"), ("status", "--port", "70000"), ("buy", "AAPL", "0"), ("quote", "A-B")],
)
def test_every_error_document_has_the_same_keys(run: Run, words: tuple[str, ...]) -> None:
    document = run(*words, "--json").document
    assert set(document) == KEYS
    assert document["outcome"] == "not_sent"
    assert document["retryable"] is False
    assert isinstance(document["context"], dict)


def test_context_holds_plain_values_and_no_quoted_text(run: Run) -> None:
    context = run("buy", "AAPL", "abc", "--json").document["context"]
    assert context["field"] == "quantity"
    assert context["value"] == "abc"
    context = run("buy", "AAPL", "0", "--json").document["context"]
    assert context["value"] == 0


def test_legal_says_what_is_possible_and_does_not_repeat_the_message(run: Run) -> None:
    document = run("buy", "AAPL", "1", "--limit", "0", "--json").document
    assert document["context"]["value"] == 0
    assert document["context"]["legal"] == "a number > 0"
    assert "Decimal" not in document["message"]
