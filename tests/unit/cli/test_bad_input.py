"""Bad input ends with code 2, one clear message and its remedy: no traceback, and before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

COMMANDS = ["demo", "paper", "init", "config", "status", "account", "positions", "orders", "quote", "history"]
COMMANDS += ["buy", "sell", "cancel", "doctor", "version", "audit"]

# The words, and what the message must name.
BAD = [
    (("buy", "AAPL", "x"), "quantity"),
    (("buy", "AAPL", "0"), "quantity"),
    (("buy", "AAPL", "nan"), "quantity"),
    (("buy", "AAPL", "1e400", "--limit", "nan"), "quantity"),
    (("buy", "AAPL", "1", "--tif", "SOON"), "tif"),
    (("buy", "AAPL", "1", "--limit", "-3"), "limit_price"),
    (("buy", "AAPL", "1", "--trail", "1", "--trail-percent", "1"), "trail_amount"),
    (("buy", "AAPL", "1", "--trail", "1", "--limit", "5"), "limit_price"),
    (("buy", "AAPL", "1", "--take-profit", "5"), "--stop-loss"),
    (("buy", "AAPL", "1", "--take-profit", "5", "--stop-loss", "3", "--stop", "4"), "--stop"),
    (("buy", "AAPL", "1", "--ref", "a b"), "order_ref"),
    (("buy", "AAPL", "1", "--tif", "GTD", "--good-till", "tomorrow"), "good_till"),
    (("buy", "A-B", "1"), "symbol"),
    (("sell", "", "1"), "symbol"),
    (("buy", "AAPL"), "quantity"),
    (("cancel",), "orders"),
    (("cancel", "7", "--all"), "--all"),
    (("cancel", "--all", "--scope", "world"), "scope"),
    (("orders", "lost"), "which"),
    (("quote", "A-B"), "symbol"),
    (("quote", "A-B", "--stream"), "symbol"),
    (("history", "AAPL", "--duration", "5"), "duration"),
    (("history", "AAPL", "--bar-size", "7 mins"), "bar_size"),
    (("history", "AAPL", "--end", "yesterday"), "end"),
    (("history", "AAPL", "--end", "2026-11-20T10:00"), "end"),
    (("history", "AAPL", "--tail", "0"), "--tail"),
    (("status", "--port", "x"), "--port"),
    (("status", "--port", "70000"), "port"),
    (("status", "--account", "U7654321"), "account_id"),
    (("status", "--config", "missing.ini"), "missing.ini"),
    (("status", "--timeout", "0"), "--timeout"),
    (("status", "--timeout", "nan"), "--timeout"),
    (("buy", "AAPL", "-5"), "quantities are positive"),
    (("demo", "--start", "noon"), "start"),
    (("demo", "--speed", "0"), "--speed"),
    (("nonsense",), "nonsense"),
    (("status", "--nonsense"), "--nonsense"),
]


@pytest.mark.parametrize(("words", "named"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_named_with_its_remedy(run: Callable[..., Any], words: tuple[str, ...], named: str) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert named in " ".join(ran.err.split())
    assert ran.out == ""
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(("words", "named"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_in_json_is_one_document_with_the_remedy(
    run: Callable[..., Any], words: tuple[str, ...], named: str
) -> None:
    ran = run(*words, "--json")
    assert ran.code == 2
    document = ran.document
    assert document["exit_code"] == 2
    assert document["remedy"]
    assert named in document["message"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_explains_itself(run: Callable[..., Any], name: str) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert name in ran.out
    assert "usage" in ran.out.lower()


def test_help_names_every_command_and_the_exit_codes(run: Callable[..., Any]) -> None:
    ran = run("--help")
    assert ran.code == 0
    for name in COMMANDS:
        assert f" {name} " in ran.out
    assert "6 in doubt" in " ".join(ran.out.replace("│", " ").split())


def test_no_command_at_all_shows_the_help_and_is_a_usage_error(run: Callable[..., Any]) -> None:
    ran = run()
    assert ran.code == 2
    assert "demo" in ran.out + ran.err


def test_nobody_listening_is_code_3_with_what_to_start(run: Callable[..., Any]) -> None:
    ran = run("positions")
    assert ran.code == 3
    assert ran.out == ""
    assert "ibkr-connector paper" in " ".join(ran.err.replace("│", " ").split())


def test_nobody_listening_in_json_is_a_document_too(run: Callable[..., Any]) -> None:
    ran = run("buy", "AAPL", "1", "--json")
    assert ran.code == 3
    assert ran.document["error"] == "ConnectionRefused"
    assert ran.err == ""


@pytest.mark.parametrize("words", [("--speed", "0"), ("--market", "nowhere"), ("--nonsense",)])
def test_the_gateway_s_own_refusals_keep_their_code(run: Callable[..., Any], words: tuple[str, ...]) -> None:
    ran = run("paper", "--tws-port", "0", *words)
    assert ran.code == 2
    assert ran.out == ""
    assert words[-1] in ran.err
