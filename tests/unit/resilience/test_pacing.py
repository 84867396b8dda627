from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from ibkr_connector.errors import PacingTimeout
from ibkr_connector.resilience import Charge, Grant, Lane, Pacer, SlotRule, TicketState, Wait, WindowRule, Work
from ibkr_connector.resilience.queues import LaneQueue, Ticket
from ibkr_connector.resilience.rules import default_rules, full_history, history, message, rules_by_name
from ibkr_connector.resilience.window import Log

WALL = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def granted(answer: Grant | Wait) -> Grant:
    assert isinstance(answer, Grant), answer
    return answer


def bars(
    contract: str = "1", identity: str = "", *, seconds: float = 5, show: str = "TRADES", caller: str = ""
) -> Work:
    return history(
        contract=contract,
        exchange="SMART",
        what_to_show=show,
        identity=identity or f"{contract}/{show}",
        bar_seconds=seconds,
        caller=caller,
    )


def fill(pacer: Pacer, now: float, lane: Lane = Lane.ORDERS) -> int:
    """Spend messages until none is left for the lane; how many went."""
    count = 0
    while isinstance(pacer.spend(now, message(lane)), Grant):
        count += 1
    return count


# --- the rules -------------------------------------------------------------------------------------------------------


def test_forty_messages_a_second_for_all_and_ten_more_for_cancels() -> None:
    pacer = Pacer()
    assert fill(pacer, 0.0) == 40
    assert fill(pacer, 0.0, Lane.HISTORY) == 0
    assert fill(pacer, 0.0, Lane.CANCEL) == 10
    assert pacer.reserve(0.0, message(Lane.CANCEL)) == Wait(1.015, "messages")
    assert fill(pacer, 1.015) == 40


def test_cancels_alone_may_use_the_whole_rate() -> None:
    assert fill(Pacer(), 0.0, Lane.CANCEL) == 50


def test_an_identical_small_bar_request_waits_15_seconds_and_delays_no_other() -> None:
    pacer = Pacer()
    granted(pacer.spend(0.0, bars("1")))
    twin = pacer.submit(0.0, bars("1"))
    other = pacer.submit(0.0, bars("2"))
    assert pacer.poll(0.0) == [other]
    pacer.sent(other.grant, 0.0)  # type: ignore[arg-type]
    assert pacer.poll(15.0) == []
    assert pacer.next_wake(15.0) == 15.1
    assert pacer.poll(15.1) == [twin]


def test_six_requests_for_one_contract_within_two_seconds_never_go() -> None:
    pacer = Pacer()
    for index in range(5):
        granted(pacer.spend(0.0, bars("1", str(index))))
    wait = pacer.reserve(0.0, bars("1", "5"))
    assert wait == Wait(2.03, "history-burst")
    granted(pacer.spend(0.0, bars("1", "other", show="MIDPOINT")))  # another kind of data is counted apart
    granted(pacer.spend(2.03, bars("1", "5")))


def test_sixty_in_ten_minutes_over_all_contracts_and_bid_ask_counts_twice() -> None:
    pacer = Pacer()
    now = 0.0
    for index in range(29):
        granted(pacer.spend(now, bars(str(index), show="BID_ASK")))
        now += 1.0
    granted(pacer.spend(now, bars("100")))
    assert pacer.reserve(now, bars("200", show="BID_ASK")) == Wait(601.0, "history-long")
    granted(pacer.spend(now, bars("200")))
    assert pacer.reserve(now, bars("300")) == Wait(601.0, "history-long")
    assert pacer.reserve(601.0, bars("1000")) != Wait(601.0, "history-long")


def test_windows_nobody_knows_count_as_full_for_ten_minutes() -> None:
    pacer = Pacer()
    pacer.note(0.0, full_history())
    with pytest.raises(PacingTimeout) as caught:
        pacer.submit(10.0, bars("1"), 600.0)
    assert caught.value.context["retry_after"] == pytest.approx(591.0)
    assert isinstance(pacer.reserve(10.0, bars("1", seconds=60)), Grant)
    assert isinstance(pacer.reserve(601.0, bars("1")), Grant)


def test_only_what_a_restart_must_not_forget_is_kept() -> None:
    pacer = Pacer()
    assert pacer.is_kept(bars("1"))
    assert not pacer.is_kept(bars("1", seconds=60))
    assert not pacer.is_kept(message(Lane.ORDERS))


def test_bars_of_a_minute_are_free_of_the_small_bar_rules_but_not_of_the_fifty_open() -> None:
    pacer = Pacer()
    grants = [granted(pacer.spend(index * 0.1, bars("1", seconds=60))) for index in range(50)]
    assert pacer.reserve(10.0, bars("1", seconds=60)) == Wait(math.inf, "history-open")
    waiting = pacer.submit(10.0, bars("1", seconds=60))
    assert pacer.poll(10.0) == []
    assert pacer.next_wake(10.0) == math.inf
    pacer.done(grants[7], 11.0)
    assert pacer.next_wake(11.0) == 11.0
    assert pacer.poll(11.0) == [waiting]


def test_bars_of_30_seconds_are_small_and_head_timestamps_too() -> None:
    for seconds in (0.0, 30.0):
        assert {charge.rule for charge in bars(seconds=seconds).charges} >= {"history-long", "history-identical"}
    assert len(bars(seconds=31.0).charges) == 2


def test_windows_are_kept_longer_than_ibkr_counts_by_less_than_two_percent() -> None:
    for rule in default_rules():
        if isinstance(rule, WindowRule):
            assert 0 < rule.margin <= 0.02 * rule.window


# --- order of service ------------------------------------------------------------------------------------------------


def test_later_lanes_never_delay_earlier_ones() -> None:
    pacer = Pacer()
    fill(pacer, 0.0)
    tickets = {lane: pacer.submit(0.0, message(lane)) for lane in reversed(Lane) if lane is not Lane.CANCEL}
    assert pacer.poll(0.0) == []
    cancel = pacer.submit(0.0, message(Lane.CANCEL))
    assert cancel.state is TicketState.GRANTED
    assert pacer.poll(1.015) == [tickets[lane] for lane in (Lane.ORDERS, Lane.ACCOUNT, Lane.MARKET, Lane.HISTORY)]


def test_an_order_goes_at_once_while_500_history_requests_wait() -> None:
    pacer = Pacer()
    tickets = [pacer.submit(0.0, bars("1", str(index))) for index in range(500)]
    assert sum(ticket.state is TicketState.GRANTED for ticket in tickets) == 5
    assert pacer.poll(0.0) == []
    assert pacer.submit(0.0, message(Lane.ORDERS)).state is TicketState.GRANTED


def test_inside_a_lane_the_first_comes_first_even_when_a_smaller_one_would_fit() -> None:
    pacer = Pacer([WindowRule("messages", 5, 1.0)])
    granted(pacer.spend(0.0, message(Lane.ORDERS, units=3)))
    big = pacer.submit(0.1, message(Lane.ORDERS, units=3))
    small = pacer.submit(0.1, message(Lane.ORDERS))
    assert pacer.poll(0.1) == []
    assert pacer.poll(1.0) == [big, small]


def test_history_callers_take_turns() -> None:
    pacer = Pacer([WindowRule("messages", 1, 1.0), SlotRule("history-open", 50)])
    granted(pacer.spend(0.0, message(Lane.HISTORY)))
    order = ["a", "a", "a", "b", "b", "c"]
    tickets = [pacer.submit(0.0, bars(seconds=60, caller=caller)) for caller in order]
    served = []
    for second in range(1, 7):
        for ticket in pacer.poll(float(second)):
            served.append(ticket)
            pacer.sent(ticket.grant, float(second))  # type: ignore[arg-type]
    assert [ticket.work.caller for ticket in served] == ["a", "b", "c", "a", "b", "a"]
    assert [ticket.number for ticket in served if ticket.work.caller == "a"] == [t.number for t in tickets[:3]]


def test_reserve_never_overtakes_waiting_work_of_its_own_or_an_earlier_lane() -> None:
    pacer = Pacer()
    fill(pacer, 0.0)
    pacer.submit(0.0, message(Lane.ACCOUNT))
    pacer.poll(0.0)
    assert pacer.reserve(1.015, message(Lane.ACCOUNT)) == Wait(1.015, "queue")
    assert pacer.reserve(1.015, message(Lane.MARKET)) == Wait(1.015, "queue")
    assert isinstance(pacer.reserve(1.015, message(Lane.ORDERS)), Grant)


def test_a_grant_is_all_or_nothing_over_rules() -> None:
    pacer = Pacer()
    granted(pacer.spend(0.0, bars("1")))
    before = pacer.snapshot(0.0).used
    assert isinstance(pacer.reserve(0.0, bars("1")), Wait)
    assert pacer.snapshot(0.0).used == before


def test_work_known_to_be_blocked_keeps_its_place_before_what_comes_later() -> None:
    pacer = Pacer([WindowRule("messages", 5, 1.0), SlotRule("history-open", 9)])
    granted(pacer.spend(0.0, message(Lane.HISTORY, units=3)))
    big = pacer.submit(0.1, message(Lane.HISTORY, units=3))
    small = pacer.submit(0.1, bars(seconds=60))
    for now in (0.1, 0.2, 0.3):
        assert pacer.poll(now) == []
    assert pacer.poll(1.0) == [big, small]


def test_a_rule_that_has_room_again_is_not_kept_for_work_that_waits_for_another() -> None:
    pacer = Pacer([WindowRule("messages", 1, 1.0), WindowRule("twin", 1, 4.0)])
    twin = Work(Lane.MARKET, (Charge("messages"), Charge("twin")))
    granted(pacer.spend(0.0, twin))
    again = pacer.submit(0.0, twin)
    plain = pacer.submit(0.0, message(Lane.MARKET))
    assert pacer.poll(0.0) == []
    assert pacer.next_wake(0.0) == 1.0
    assert pacer.poll(1.0) == [plain]
    pacer.sent(plain.grant, 1.0)  # type: ignore[arg-type]
    assert pacer.poll(4.0) == [again]


def test_a_wait_is_until_enough_units_are_free() -> None:
    pacer = Pacer([WindowRule("messages", 2, 1.0)])
    granted(pacer.spend(0.0, message(Lane.ORDERS)))
    granted(pacer.spend(0.5, message(Lane.ORDERS)))
    assert pacer.reserve(0.5, message(Lane.ORDERS, units=2)) == Wait(1.5, "messages")
    with pytest.raises(PacingTimeout) as caught:
        pacer.submit(0.5, message(Lane.ORDERS), deadline=0.75)
    assert caught.value.context["retry_after"] == 0.5
    pacer.note(0.2, message(Lane.ORDERS))  # told late: it counts as written last
    assert pacer.reserve(1.3, message(Lane.ORDERS)) == Wait(1.5, "messages")


def test_new_work_and_returned_grants_ask_for_a_poll_at_once() -> None:
    pacer = Pacer([WindowRule("messages", 1, 1.0)])
    held = granted(pacer.reserve(0.0, message(Lane.ORDERS)))
    assert pacer.next_wake(0.0) == math.inf
    waiting = pacer.submit(0.0, message(Lane.ORDERS))
    assert pacer.next_wake(0.0) == 0.0
    assert pacer.poll(0.0) == []
    assert pacer.next_wake(0.0) == math.inf
    pacer.give_back(held, 0.5)
    assert pacer.next_wake(0.5) == 0.5
    assert pacer.poll(0.5) == [waiting]


# --- the life of a grant ---------------------------------------------------------------------------------------------


def test_a_window_starts_when_the_work_is_written_and_not_when_it_was_granted() -> None:
    pacer = Pacer([WindowRule("messages", 1, 1.0)])
    slow = granted(pacer.reserve(0.0, message(Lane.ORDERS)))
    assert pacer.reserve(100.0, message(Lane.ORDERS)) == Wait(math.inf, "messages")
    pacer.sent(slow, 100.0)
    assert pacer.reserve(100.0, message(Lane.ORDERS)) == Wait(101.0, "messages")
    granted(pacer.reserve(101.0, message(Lane.ORDERS)))


def test_a_grant_given_back_costs_nothing() -> None:
    pacer = Pacer()
    grant = granted(pacer.reserve(0.0, bars("1")))
    assert pacer.snapshot(0.0).held == 1
    pacer.give_back(grant, 0.0)
    shown = pacer.snapshot(0.0)
    assert (shown.held, set(shown.used.values())) == (0, {0})
    pacer.done(grant, 0.0)
    assert pacer.snapshot(0.0).used["history-open"] == 0
    granted(pacer.spend(0.0, bars("1")))


def test_settling_a_grant_twice_or_in_the_wrong_order_is_a_bug_that_shows() -> None:
    pacer = Pacer()
    grant = granted(pacer.reserve(0.0, bars("1")))
    with pytest.raises(RuntimeError, match="neither sent nor given back"):
        pacer.done(grant, 0.0)
    pacer.sent(grant, 0.0)
    with pytest.raises(RuntimeError, match="sent or given back before"):
        pacer.sent(grant, 0.0)
    with pytest.raises(RuntimeError, match="sent or given back before"):
        pacer.give_back(grant, 0.0)
    pacer.done(grant, 0.0)
    pacer.done(grant, 0.0)
    assert pacer.snapshot(0.0).used["history-open"] == 0


def test_what_was_written_without_asking_counts_too() -> None:
    pacer = Pacer()
    for _ in range(39):
        pacer.note(0.0, message(Lane.ACCOUNT))
    pacer.note(0.0, bars("1", seconds=60))
    assert pacer.snapshot(0.0).used == {"messages": 40, "history-open": 0}
    assert isinstance(pacer.reserve(0.0, message(Lane.ORDERS)), Wait)


# --- deadlines, cancels ----------------------------------------------------------------------------------------------


def test_work_that_cannot_start_before_its_deadline_fails_at_once() -> None:
    pacer = Pacer()
    granted(pacer.spend(0.0, bars("1")))
    with pytest.raises(
        PacingTimeout, match=r"within 15.0 s: the earliest slot is in 15.1 s .*history-identical"
    ) as caught:
        pacer.submit(0.0, bars("1"), deadline=15.0)
    assert caught.value.context["retry_after"] == pytest.approx(15.1)
    assert pacer.snapshot(0.0).submitted == 1 - 1
    last = pacer.submit(0.0, bars("1"), deadline=15.1)
    assert pacer.poll(0.0) == []
    assert pacer.poll(15.1) == [last]
    assert last.state is TicketState.GRANTED


def test_what_waits_ahead_counts_for_the_deadline() -> None:
    pacer = Pacer()
    fill(pacer, 0.0)
    for _ in range(40):
        pacer.submit(0.0, message(Lane.ORDERS))
    with pytest.raises(PacingTimeout, match=r"2\.0 s \(pacing rule messages\)"):
        pacer.submit(0.0, message(Lane.ORDERS), deadline=2.0)
    with pytest.raises(PacingTimeout):
        pacer.submit(0.0, message(Lane.ACCOUNT), deadline=2.0)
    pacer.submit(0.0, message(Lane.ORDERS), deadline=2.03)
    pacer.submit(0.0, message(Lane.CANCEL), deadline=0.0)


def test_work_of_later_lanes_does_not_count_for_the_deadline() -> None:
    pacer = Pacer()
    fill(pacer, 0.0)
    for _ in range(200):
        pacer.submit(0.0, message(Lane.ACCOUNT))
    ticket = pacer.submit(0.0, message(Lane.ORDERS), deadline=1.015)
    assert pacer.poll(1.015)[0] is ticket


def test_the_earliest_start_behind_several_full_windows() -> None:
    pacer = Pacer([WindowRule("messages", 2, 10.0)])
    granted(pacer.spend(0.0, message(Lane.ORDERS)))
    granted(pacer.spend(4.0, message(Lane.ORDERS)))
    for _ in range(5):
        pacer.submit(4.0, message(Lane.ORDERS))
    with pytest.raises(PacingTimeout) as caught:
        pacer.submit(4.0, message(Lane.ORDERS), deadline=33.9)
    assert caught.value.context["retry_after"] == 30.0
    pacer.submit(4.0, message(Lane.ORDERS), deadline=34.0)


def test_a_free_lane_takes_work_with_a_deadline_of_now() -> None:
    assert Pacer().submit(5.0, message(Lane.ORDERS), deadline=5.0).state is TicketState.GRANTED


def test_work_ahead_that_waits_for_a_rule_of_its_own_does_not_count() -> None:
    pacer = Pacer([WindowRule("messages", 2, 1.0), WindowRule("twin", 1, 100.0)])
    twin = Work(Lane.MARKET, (Charge("messages"), Charge("twin", "x")))
    granted(pacer.spend(0.0, twin))
    pacer.submit(0.0, twin)
    pacer.submit(0.0, twin)
    pacer.poll(0.0)
    ticket = pacer.submit(0.0, message(Lane.MARKET, units=2), deadline=1.0)
    assert pacer.poll(1.0) == [ticket]


def test_work_ahead_that_also_needs_a_rule_with_room_counts_for_the_deadline() -> None:
    pacer = Pacer([WindowRule("messages", 1, 10.0), WindowRule("twin", 100, 10.0)])
    granted(pacer.spend(0.0, message(Lane.MARKET)))
    pacer.submit(0.0, Work(Lane.MARKET, (Charge("messages"), Charge("twin"))))  # certain to go at 10
    with pytest.raises(PacingTimeout) as caught:
        pacer.submit(0.0, message(Lane.MARKET), deadline=15.0)
    assert caught.value.context["retry_after"] == 20.0


def test_units_ahead_count_under_their_own_rule_only() -> None:
    pacer = Pacer([WindowRule("messages", 2, 10.0), WindowRule("twin", 100, 10.0)])
    granted(pacer.spend(0.0, message(Lane.MARKET, units=2)))
    both = Work(Lane.MARKET, (Charge("messages"), Charge("twin", units=5)))
    pacer.submit(0.0, both)
    ticket = pacer.submit(0.0, both, deadline=10.0)
    assert ticket in pacer.poll(10.0)


def test_a_deadline_that_passes_while_waiting_is_told_with_an_error() -> None:
    pacer = Pacer([SlotRule("history-open", 1), WindowRule("messages", 10, 1.0)])
    granted(pacer.spend(0.0, bars(seconds=60)))
    ticket = pacer.submit(0.0, bars(seconds=60), deadline=5.0)
    assert pacer.poll(5.0) == []
    wake = pacer.next_wake(5.0)
    assert 5.0 < wake < 5.001
    assert pacer.poll(wake) == [ticket]
    assert ticket.state is TicketState.TIMED_OUT
    assert ticket.error is not None
    assert "within 0.0 s: none came free (pacing rule deadline)" in str(ticket.error)
    assert ticket.error.context["retry_after"] is None
    assert pacer.next_wake(wake) == math.inf


def test_pending_work_fails_as_soon_as_it_is_certain_that_it_comes_too_late() -> None:
    pacer = Pacer([WindowRule("messages", 1, 10.0)])
    held = granted(pacer.reserve(0.0, message(Lane.ORDERS)))
    ticket = pacer.submit(0.0, message(Lane.ORDERS), deadline=5.0)
    assert pacer.poll(0.0) == []
    pacer.sent(held, 1.0)
    assert pacer.poll(1.0) == [ticket]
    assert ticket.state is TicketState.TIMED_OUT
    assert ticket.error is not None
    assert ticket.error.context["retry_after"] == 10.0
    assert "No slot for orders work within 4.0 s: the earliest slot is in 10.0 s (pacing rule messages)" in str(
        ticket.error
    )


def test_the_latest_of_several_rules_decides_whether_it_comes_too_late() -> None:
    pacer = Pacer([WindowRule("messages", 1, 1.0), WindowRule("twin", 1, 15.0)])
    twin = Work(Lane.MARKET, (Charge("messages"), Charge("twin")))
    held = granted(pacer.reserve(0.0, twin))
    ticket = pacer.submit(0.0, twin, deadline=5.0)
    assert pacer.poll(0.0) == []
    pacer.sent(held, 0.0)
    assert pacer.poll(0.0) == [ticket]
    assert ticket.state is TicketState.TIMED_OUT


def test_a_caller_whose_work_timed_out_keeps_its_turn() -> None:
    pacer = Pacer([WindowRule("messages", 1, 10.0)])
    held = granted(pacer.reserve(0.0, message(Lane.HISTORY)))
    late = pacer.submit(0.0, message(Lane.HISTORY, caller="a"), deadline=5.0)
    first = pacer.submit(0.0, message(Lane.HISTORY, caller="a"))
    pacer.submit(0.0, message(Lane.HISTORY, caller="b"))
    assert pacer.poll(6.0) == [late]
    pacer.give_back(held, 6.0)
    assert pacer.poll(6.0) == [first]


def test_cancelled_work_leaves_and_makes_way() -> None:
    pacer = Pacer([WindowRule("messages", 5, 1.0)])
    granted(pacer.spend(0.0, message(Lane.ORDERS, units=3)))
    big = pacer.submit(0.1, message(Lane.ORDERS, units=3))
    small = pacer.submit(0.1, message(Lane.ORDERS))
    pacer.poll(0.1)
    assert pacer.cancel(big, 0.2)
    assert not pacer.cancel(big, 0.2)
    assert pacer.next_wake(0.2) == 0.2
    assert pacer.poll(0.2) == [small]
    assert not pacer.cancel(small, 0.2)
    shown = pacer.snapshot(0.2)
    assert (shown.submitted, shown.granted, shown.cancelled, sum(shown.pending.values())) == (2, 2, 1, 0)


def test_a_caller_whose_middle_work_is_cancelled_keeps_its_turn() -> None:
    pacer = Pacer([WindowRule("messages", 1, 1.0)])
    granted(pacer.spend(0.0, message(Lane.HISTORY)))
    first, second, third = (pacer.submit(0.0, message(Lane.HISTORY, caller=caller)) for caller in "aab")
    pacer.cancel(first, 0.0)
    assert pacer.poll(1.0) == [second]
    pacer.sent(second.grant, 1.0)  # type: ignore[arg-type]
    assert pacer.poll(2.0) == [third]


def test_who_would_be_served_before_new_work_of_a_caller() -> None:
    queue = LaneQueue(fair=True)
    tickets = [Ticket(number, message(Lane.HISTORY, caller=caller), 0) for number, caller in enumerate("aabbbc")]
    for ticket in tickets:
        queue.add(ticket)

    def ahead(caller: str) -> list[int]:
        new = Ticket(99, message(Lane.HISTORY, caller=caller), 0)
        return sorted(ticket.number for ticket in queue.ahead_of(new))

    assert ahead("a") == [0, 1, 2, 3, 5]  # third of a: two rounds of the others come first
    assert ahead("b") == [0, 1, 2, 3, 4, 5]
    assert ahead("c") == [0, 1, 2, 3, 5]  # second of c: two of a and b, whose turn is before
    assert ahead("new") == [0, 2, 5]
    plain = LaneQueue(fair=False)
    for ticket in tickets:
        plain.add(ticket)
    assert len(list(plain.ahead_of(tickets[0]))) == 6


# --- nonsense --------------------------------------------------------------------------------------------------------


def test_work_that_can_never_go_is_refused_when_it_is_handed_in() -> None:
    pacer = Pacer()
    with pytest.raises(ValueError, match="41 units at once never fit under messages"):
        pacer.submit(0.0, message(Lane.ORDERS, units=41))
    with pytest.raises(ValueError, match="no pacing rule 'nope'; known: messages"):
        pacer.reserve(0.0, Work(Lane.ORDERS, (Charge("nope"),)))
    with pytest.raises(ValueError, match="names each rule and key once"):
        Work(Lane.ORDERS, (Charge("messages"), Charge("messages")))
    with pytest.raises(ValueError, match="units=0"):
        Charge("messages", units=0)
    with pytest.raises(ValueError, match="two pacing rules are named 'a'"):
        rules_by_name([SlotRule("a", 1), SlotRule("a", 2)])
    with pytest.raises(ValueError, match="limit=0"):
        SlotRule("a", 0)
    with pytest.raises(ValueError, match="out of range"):
        WindowRule("a", 0, 1.0)
    with pytest.raises(ValueError, match="reserve=2"):
        WindowRule("a", 2, 1.0, reserve=2)


def test_idle_keys_are_forgotten() -> None:
    pacer = Pacer()
    for index in range(600):
        now = index * 20.0
        pacer.done(granted(pacer.spend(now, bars(str(index)))), now)
    assert len(pacer._logs) < 300


def test_a_rule_that_somebody_waits_for_is_not_forgotten_with_the_idle_ones() -> None:
    pacer = Pacer([WindowRule("narrow", 1, 1_000.0), WindowRule("wide", 1, 10.0), WindowRule("other", 10_000, 10.0)])
    granted(pacer.spend(0.0, Work(Lane.MARKET, (Charge("narrow"),))))
    waiting = pacer.submit(0.0, Work(Lane.MARKET, (Charge("narrow"), Charge("wide"))))
    for _ in range(600):
        granted(pacer.spend(0.0, Work(Lane.CANCEL, (Charge("other"),))))
    granted(pacer.spend(1_000.0, Work(Lane.CANCEL, (Charge("wide"),))))
    assert pacer.poll(1_000.0) == []
    assert pacer.poll(1_010.0) == [waiting]


def test_a_caller_whose_only_work_is_cancelled_has_no_place_in_the_round() -> None:
    pacer = Pacer([WindowRule("messages", 1, 10.0)])
    held = granted(pacer.reserve(0.0, message(Lane.HISTORY)))
    gone = pacer.submit(0.0, message(Lane.HISTORY, caller="a"))
    first = pacer.submit(0.0, message(Lane.HISTORY, caller="b"))
    assert pacer.cancel(gone, 0.0)
    pacer.submit(0.0, message(Lane.HISTORY, caller="a"))
    pacer.give_back(held, 0.0)
    assert pacer.poll(0.0) == [first]


@pytest.mark.parametrize("later", [Lane.MARKET, Lane.HISTORY])
def test_what_comes_later_takes_no_room_from_work_that_was_found_blocked_before(later: Lane) -> None:
    pacer = Pacer([WindowRule("messages", 10, 10.0)])
    granted(pacer.spend(0.0, message(Lane.ACCOUNT, units=8)))
    large = pacer.submit(0.0, message(Lane.MARKET, units=5))
    assert pacer.poll(0.0) == []
    small = pacer.submit(0.0, message(later))
    for now in (0.0, 1.0, 9.9):
        assert pacer.poll(now) == []
    assert pacer.poll(10.0) == [large, small]


def test_the_earliest_turn_forgets_what_has_left_the_window() -> None:
    log = Log(WindowRule("messages", 1, 10.0))
    log.note(1, 0.0)
    assert log.turn_at(5.0, 1, Lane.ORDERS) == 10.0
    assert log.turn_at(20.0, 1, Lane.ORDERS) == 20.0


# --- over a restart --------------------------------------------------------------------------------------------------


def test_history_windows_outlive_a_restart_and_message_windows_do_not() -> None:
    pacer = Pacer()
    for index in range(59):
        pacer.done(granted(pacer.spend(float(index), bars(str(index)))), float(index))
    granted(pacer.reserve(59.0, bars("59")))  # held: it may have been written
    stored = pacer.export(60.0, WALL)
    assert stored["windows"][-1] == {"rule": "history-burst", "key": "59|SMART|TRADES", "entries": [[0.0, 1]]}
    fresh = Pacer()
    later = WALL + timedelta(seconds=100)
    fresh.restore(stored, 5_000.0, later)
    assert fresh.reserve(5_000.0, bars("99")) == Wait(5_000.0 + 601 - 160, "history-long")
    assert fresh.snapshot(5_000.0).used == {"history-long": 60, "messages": 0, "history-open": 0}
    assert isinstance(fresh.reserve(5_441.0, bars("99")), Grant)


def test_what_left_the_window_is_not_kept_and_ages_are_milliseconds() -> None:
    pacer = Pacer()
    granted(pacer.spend(0.0, bars("1")))
    stored = pacer.export(1.23456, WALL)
    assert {item["rule"]: item["entries"] for item in stored["windows"]} == {
        "history-identical": [[1.235, 1]],
        "history-burst": [[1.235, 1]],
        "history-long": [[1.235, 1]],
    }
    assert pacer.export(10_000.0, WALL)["windows"] == []


def test_a_wall_clock_that_went_back_counts_as_no_time_passed() -> None:
    pacer = Pacer()
    granted(pacer.spend(0.0, bars("1")))
    fresh = Pacer()
    fresh.restore(pacer.export(0.0, WALL), 100.0, WALL - timedelta(days=1))
    assert fresh.reserve(100.0, bars("1")) == Wait(115.1, "history-identical")


def test_windows_of_rules_that_are_gone_are_left_out() -> None:
    pacer = Pacer()
    granted(pacer.spend(0.0, bars("1")))
    fresh = Pacer([SlotRule("history-open", 50), SlotRule("history-long", 1), WindowRule("messages", 50, 1.0)])
    fresh.restore(pacer.export(0.0, WALL), 0.0, WALL)
    assert fresh.export(0.0, WALL)["windows"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"at": "yesterday"},
        {"at": "2026-11-20T15:00:00"},
        {"windows": [{"rule": "history-long"}]},
        {"windows": [{"rule": "history-long", "key": "", "entries": [[-1, 1]]}]},
        {"windows": [{"rule": "history-long", "key": "", "entries": [[1, 1], ["nan", 1]]}]},
        {"windows": [{"rule": "history-long", "key": "", "entries": [["inf", 1]]}]},
        {"windows": [{"rule": "history-long", "key": "", "entries": [[1, 0]]}]},
        {"windows": 5},
    ],
)
def test_stored_windows_of_another_shape_or_the_future_are_refused_whole(change: dict[str, object]) -> None:
    state = {"version": 1, "at": WALL.isoformat(), "windows": [], **change}
    pacer = Pacer()
    with pytest.raises(ValueError, match="remove them and ask for no history for ten minutes"):
        pacer.restore(state, 0.0, WALL)
    assert pacer.export(0.0, WALL)["windows"] == []


# --- many that wait --------------------------------------------------------------------------------------------------


def crowd(pacer: Pacer, count: int) -> list[Ticket]:
    """Requests for bars of one contract: five go, the others wait two seconds."""
    tickets = [pacer.submit(0.0, bars("1", str(number)), 9_000.0) for number in range(count)]
    for ticket in (*tickets, *pacer.poll(0.0)):
        if ticket.grant is not None:
            pacer.sent(ticket.grant, 0.0)
    pacer.poll(0.0)
    return tickets


def test_an_order_does_not_walk_through_the_requests_for_bars_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pacer = Pacer()
    crowd(pacer, 50)
    looked: list[Ticket] = []
    inner = pacer._blocked

    def look(ticket: Ticket, now: float, blocked: set[Log]) -> tuple[float, float]:
        looked.append(ticket)
        return inner(ticket, now, blocked)

    monkeypatch.setattr(pacer, "_blocked", look)
    for _ in range(20):
        pacer.spend(0.5, message(Lane.ORDERS))
        assert pacer.poll(0.5) == []
    assert looked == []
    assert pacer.next_wake(0.5) == 2.03


def test_requests_that_were_passed_over_go_in_their_turn_when_their_rule_has_room() -> None:
    pacer = Pacer()
    tickets = crowd(pacer, 12)
    pacer.spend(0.5, message(Lane.ORDERS))
    pacer.poll(0.5)
    assert pacer.poll(2.03) == tickets[5:10]


def test_a_request_that_waits_for_an_answer_goes_when_one_comes() -> None:
    pacer = Pacer((WindowRule("messages", 50, 1.0), SlotRule("open", 1)))
    work = Work(Lane.HISTORY, (Charge("messages"), Charge("open")))
    first = granted(pacer.spend(0.0, work))
    waiting = pacer.submit(0.0, work)
    assert pacer.poll(0.0) == []
    pacer.spend(0.1, message(Lane.ORDERS))
    assert pacer.poll(0.1) == []
    pacer.done(first, 0.2)
    assert pacer.poll(0.2) == [waiting]


def test_a_request_blocked_by_an_earlier_lane_goes_when_that_one_is_taken_back() -> None:
    pacer = Pacer((WindowRule("narrow", 1, 100.0), WindowRule("wide", 5, 100.0)))
    granted(pacer.spend(0.0, Work(Lane.ORDERS, (Charge("narrow"), Charge("wide")))))
    ahead = pacer.submit(0.0, Work(Lane.ORDERS, (Charge("narrow"), Charge("wide", units=5))))
    behind = pacer.submit(0.0, Work(Lane.HISTORY, (Charge("wide"),)))
    assert pacer.poll(0.0) == []
    pacer.cancel(ahead, 1.0)
    assert pacer.poll(1.0) == [behind]
