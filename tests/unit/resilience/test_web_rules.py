"""The Web API's pacing table: what each request costs, and how long to rest after a 429."""

from __future__ import annotations

import pytest

from ibkr_connector.resilience import Lane, Pacer
from ibkr_connector.resilience.rules import MESSAGES
from ibkr_connector.resilience.web_rules import HISTORY, PENALTY_S, SHORT_S, Penalty, request, web_rules


def rules(*, oauth: bool = False, rate: int = 50, reserve: int = 10) -> Pacer:
    return Pacer(web_rules(oauth=oauth, messages_per_second=rate, cancel_reserve=reserve))


@pytest.mark.parametrize(
    ("method", "path", "rule", "lane"),
    [
        ("GET", "iserver/marketdata/snapshot", "web-snapshot", Lane.MARKET),
        ("GET", "/iserver/marketdata/history", HISTORY, Lane.HISTORY),
        ("GET", "iserver/account/orders", "web-orders", Lane.ACCOUNT),
        ("GET", "iserver/account/trades/", "web-trades", Lane.ACCOUNT),
        ("GET", "portfolio/accounts", "web-accounts", Lane.ACCOUNT),
        ("POST", "tickle", "web-tickle", Lane.ACCOUNT),
        ("POST", "iserver/reply/abc", "", Lane.ORDERS),
        ("POST", "iserver/account/DU1/orders", "", Lane.ORDERS),
        ("DELETE", "iserver/account/DU1/order/7", "", Lane.CANCEL),
        ("GET", "portfolio/DU1/summary", "", Lane.ACCOUNT),
    ],
)
def test_a_request_costs_what_the_table_says(method: str, path: str, rule: str, lane: Lane) -> None:
    work = request(method, path)
    assert {charge.rule for charge in work.charges} == {MESSAGES, rule} - {""}
    assert work.lane is lane


@pytest.mark.parametrize(("oauth", "most"), [(False, 10), (True, 50)])
def test_the_rate_is_the_gateways_or_that_of_oauth(oauth: bool, most: int) -> None:
    pacer = rules(oauth=oauth, reserve=1)
    granted = [pacer.submit(0.0, request("GET", "portfolio/DU1/summary")).grant for _ in range(60)]
    assert sum(grant is not None for grant in granted) == most - 1  # the reserve is for cancels
    assert pacer.submit(0.0, request("DELETE", "iserver/account/DU1/order/1")).grant is not None


def test_the_settings_can_lower_the_rate_and_not_raise_it() -> None:
    pacer = rules(rate=4, reserve=10)
    granted = [pacer.submit(0.0, request("GET", "portfolio/DU1/summary")).grant for _ in range(10)]
    assert sum(grant is not None for grant in granted) == 4
    pacer = rules(rate=500, reserve=0)
    granted = [pacer.submit(0.0, request("GET", "portfolio/DU1/summary")).grant for _ in range(20)]
    assert sum(grant is not None for grant in granted) == 10


def test_five_histories_at_once_and_the_sixth_when_one_has_ended() -> None:
    pacer = rules(oauth=True)
    tickets = [pacer.submit(0.0, request("GET", "iserver/marketdata/history")) for _ in range(6)]
    assert [ticket.grant is not None for ticket in tickets] == [True] * 5 + [False]
    first = tickets[0].grant
    assert first is not None
    pacer.sent(first, 0.0)
    assert not pacer.poll(30.0)
    pacer.done(first, 30.0)
    assert pacer.poll(30.0) == [tickets[5]]


def test_a_limited_endpoint_does_not_hold_up_the_others() -> None:
    pacer = rules()
    first = pacer.submit(0.0, request("GET", "iserver/account/orders")).grant
    assert first is not None
    pacer.sent(first, 0.0)
    assert pacer.submit(0.1, request("GET", "iserver/account/orders")).grant is None
    other = pacer.submit(0.1, request("GET", "portfolio/DU1/summary"))
    assert pacer.poll(0.1) == [other]
    assert other.grant is not None


def test_a_second_refusal_soon_after_the_first_is_the_penalty_box() -> None:
    penalty = Penalty()
    assert penalty.limited(100.0) == SHORT_S
    assert penalty.limited(101.0) == SHORT_S - 1.0  # on its way already
    assert penalty.left(104.0) == 1.0
    assert penalty.limited(106.0) == PENALTY_S
    assert penalty.boxed
    assert penalty.left(106.0 + PENALTY_S) == 0.0
    assert penalty.limited(107.0 + PENALTY_S) == PENALTY_S  # still in it


def test_a_refusal_long_after_the_last_is_a_first_one() -> None:
    penalty = Penalty()
    penalty.limited(100.0)
    assert penalty.limited(300.0) == SHORT_S
    assert not penalty.boxed
