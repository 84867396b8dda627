"""IBKR's numbers reach the pacer."""

from __future__ import annotations

import inspect

from ibkr_connector.backends.base import Backend
from ibkr_connector.backends.tws import limits
from ibkr_connector.resilience.rules import MESSAGES, WindowRule, rules_by_name


def test_the_message_rate_is_half_the_market_data_lines() -> None:
    assert limits.messages_per_second() == 50
    assert limits.messages_per_second(200) == 100
    assert limits.messages_per_second(1) == 1
    for lines, rate in ((100, 50), (10, 5)):
        rule = rules_by_name(limits.pacing_rules(lines))[MESSAGES]
        assert isinstance(rule, WindowRule)
        assert rule.limit == rate
        assert rule.reserve < rule.limit


def test_tick_by_tick_gets_a_twentieth_of_the_lines() -> None:
    assert [limits.tick_by_tick_lines(lines) for lines in (1, 100, 400)] == [1, 5, 20]


def test_calls_that_cost_more_than_one_message_exist() -> None:
    for call, messages in limits.MESSAGES_PER_CALL.items():
        assert inspect.isfunction(getattr(Backend, call)), call
        assert messages > 1
