"""Planted bugs are found, one gets away only from a judge that is blind, and nothing of them stays."""

from __future__ import annotations

import pytest

from ibkr_connector.orders.sender import OrderSender
from proof import compare, hunt
from proof.canaries import all_canaries, planted

OFTEN_SHIPPED = {
    "resend_on_timeout",
    "commit_after_write",
    "no_sending",
    "id_rollback",
    "released_on_timeout",
    "modify_after_restart",
    "position_twice",
    "kill_before_commit",
    "correction_added",
    "error_201_ends",
    "cancel_behind_disk",
    "listener_in_the_way",
}


def test_the_bugs_that_others_shipped_are_among_the_planted() -> None:
    assert set(all_canaries()) >= OFTEN_SHIPPED
    assert all(one.what for one in all_canaries().values())


def test_a_bug_is_there_while_it_is_planted_and_gone_afterwards() -> None:
    before = OrderSender._doubt
    with planted("resend_on_timeout"):
        assert OrderSender._doubt is not before
    assert OrderSender._doubt is before
    with planted(""):
        assert OrderSender._doubt is before
    with pytest.raises(KeyError), planted("no such bug"):
        pass


@pytest.mark.parametrize("name", ["resend_on_timeout", "position_twice", "listener_in_the_way"])
def test_a_planted_bug_is_caught(name: str) -> None:
    caught = hunt.hunt((name, 0, "auto"))
    assert caught.seed is not None
    assert "caught by schedule" in hunt.text([caught])


def test_one_that_got_away_is_told() -> None:
    assert "GOT AWAY" in hunt.text([hunt.Catch("no_sending", hunt.MOST)])


def test_a_bare_library_breaks_what_the_connector_keeps() -> None:
    """Seeds in which a process dies between two orders, or an answer gets lost: see `./dev faults --raw`."""
    found = compare.tally([72, 74, 115], compare.installed(), resend=True)
    assert found.schedules
    assert found.broken["any"]
    assert not found.broken["hang"]
    rows = compare.rows({"raw": found})
    assert rows[-2] == ["any of these", f"{found.broken['any']} of {found.schedules}"]
