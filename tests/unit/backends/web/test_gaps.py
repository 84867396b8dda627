"""Session and websocket come and go by themselves; the link above hears of one gap."""

from __future__ import annotations

from ibkr_connector.backends.facts import BrokerFact, SystemNotice
from ibkr_connector.backends.outlet import Outlet
from ibkr_connector.backends.web.shared import Gaps


def made() -> tuple[Gaps, list[BrokerFact]]:
    outlet, facts = Outlet(), list[BrokerFact]()
    outlet.to(facts.append)
    return Gaps(outlet), facts


def codes(facts: list[BrokerFact]) -> list[int]:
    return [fact.code for fact in facts if isinstance(fact, SystemNotice)]


def test_two_gaps_that_overlap_are_one() -> None:
    gaps, facts = made()
    gaps.begin("websocket", "closed")
    gaps.begin("session", "gone")
    gaps.end("session")
    assert codes(facts) == [1100]
    gaps.end("websocket")
    assert codes(facts) == [1100, 1101]


def test_the_end_of_what_never_began_is_no_news() -> None:
    gaps, facts = made()
    gaps.end("websocket")
    gaps.begin("session", "gone")
    gaps.end("websocket")
    assert codes(facts) == [1100]


def test_a_new_connection_knows_nothing_of_old_gaps() -> None:
    gaps, facts = made()
    gaps.begin("websocket", "closed")
    gaps.forget()
    gaps.begin("websocket", "closed again")
    assert codes(facts) == [1100, 1100]
