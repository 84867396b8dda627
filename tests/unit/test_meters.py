"""Counters: exact from many threads, bounded in memory."""

from __future__ import annotations

import threading

from ibkr_connector.meters import SECONDS, Meters


def test_counts_and_durations_are_exact_from_many_threads() -> None:
    meters = Meters()

    def work() -> None:
        for _ in range(1_000):
            meters.count("orders", "buy", "filled")
            meters.observe("wait", 0.002)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = meters.read()
    assert read.counts["orders"] == {("buy", "filled"): 8_000}
    assert sum(read.seconds["wait"][()].buckets) == 8_000
    assert round(read.seconds["wait"][()].total, 6) == 16.0


def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() -> None:
    meters = Meters()
    for seconds in (SECONDS[0], SECONDS[0] + 1e-9, SECONDS[-1] + 1):
        meters.observe("wait", seconds)
    buckets = meters.read().seconds["wait"][()].buckets
    assert (buckets[0], buckets[1], buckets[-1], sum(buckets)) == (1, 1, 1, 3)


def test_names_without_end_are_counted_together_beyond_a_bound() -> None:
    meters = Meters()
    for number in range(2_000):
        meters.count("requests", f"order {number}", "ok")
        meters.observe("duration", 0.1, f"order {number}")
    read = meters.read()
    assert len(read.counts["requests"]) == 501
    assert read.counts["requests"]["other", "other"] == 1_500
    assert len(read.seconds["duration"]) == 501


def test_what_was_read_does_not_change_any_more() -> None:
    meters = Meters()
    meters.observe("wait", 1.0)
    before = meters.read()
    meters.observe("wait", 1.0)
    assert before.seconds["wait"][()].total == 1.0
