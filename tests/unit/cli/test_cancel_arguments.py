"""`cancel`: orders or --all, and each mistake said as the mistake it is."""

from __future__ import annotations

from support.cli import Run


def test_orders_and_all_together_are_a_contradiction_and_say_so(run: Run) -> None:
    ran = run("cancel", "my.ref", "--all", "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "not_sent")
    message = ran.document["message"]
    assert "my.ref" in message
    assert "--all" in message
    assert "not both" in message
    assert "leave out" in ran.document["remedy"]


def test_neither_orders_nor_all_says_what_to_name(run: Run) -> None:
    ran = run("cancel", "--json")
    assert ran.code == 2
    assert "name the orders" in ran.document["message"]


def test_a_scope_without_all_is_told_instead_of_being_ignored(run: Run) -> None:
    ran = run("cancel", "my.ref", "--scope", "account", "--json")
    assert (ran.code, ran.document["context"]["field"]) == (2, "scope")
    assert "--all" in ran.document["message"]
