"""Margin that runs out and positions that jump: told once, and not for a price that moves."""

from __future__ import annotations

from decimal import Decimal

from ibkr_connector.watch.account import MarginWatch, PositionWatch

D = Decimal
WORTH = D(100_000)


def test_a_short_cushion_is_told_once_until_it_has_recovered() -> None:
    watch = MarginWatch(D("0.1"))
    cushions = [20_000, 10_000, 9_999, 9_000, 10_500, 9_000, 12_000, 8_000]
    told = [watch.observe(WORTH, D(excess)) for excess in cushions]
    assert [float(one) if one is not None else None for one in told] == [None, None, 0.09999] + [None] * 4 + [0.08]


def test_nothing_left_is_no_division_by_zero() -> None:
    assert MarginWatch(D("0.1")).observe(D(0), D(-5)) == D(-1)


def test_unknown_figures_and_a_watch_that_is_off_tell_nothing() -> None:
    assert MarginWatch(None).observe(WORTH, D(-1)) is None
    assert MarginWatch(D("0.1")).observe(None, D(-1)) is None
    assert MarginWatch(D("0.1")).observe(WORTH, None) is None


def positions(share: str | None = "0.25") -> PositionWatch:
    watch = PositionWatch(None if share is None else D(share))
    watch.begin({1: D(100)})
    return watch


def test_a_large_change_is_told_and_a_small_one_is_not() -> None:
    watch = positions()
    assert watch.observe(1, D(340), D(100), WORTH, 0.0) is None  # 24 %
    assert watch.observe(2, D(-250), D(100), WORTH, 0.0) == D(-25_000)  # a contract not held before was flat


def test_small_changes_add_up_within_a_minute_and_not_beyond() -> None:
    watch = positions()
    assert watch.observe(1, D(230), D(100), WORTH, 0.0) is None
    assert watch.observe(1, D(360), D(100), WORTH, 59.0) == D(26_000)
    late = positions()
    assert late.observe(1, D(230), D(100), WORTH, 0.0) is None
    assert late.observe(1, D(360), D(100), WORTH, 60.0) is None


def test_a_price_that_moves_is_no_change_of_the_position() -> None:
    watch = positions()
    assert watch.observe(1, D(100), D(1_000_000), WORTH, 0.0) is None


def test_nothing_is_told_before_the_positions_were_read_once_or_without_figures() -> None:
    watch = PositionWatch(D("0.25"))
    assert watch.observe(1, D(1_000), D(100), WORTH, 0.0) is None
    watch.begin({1: D(1_000)})
    watch.begin({})  # a reconnect does not forget
    assert watch.observe(1, D(1_000), D(100), WORTH, 0.0) is None
    assert watch.observe(1, D(0), None, WORTH, 0.0) is None
    assert watch.observe(1, D(1_000), D(100), None, 0.0) is None
    assert positions(None).observe(1, D(100_000), D(100), WORTH, 0.0) is None
