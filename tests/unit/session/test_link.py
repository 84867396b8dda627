"""The link's machine: legal moves only, three independent flags."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.events import Event, EventBus, LinkChanged
from ibkr_connector.session.link import LEGAL, IllegalTransition, Link, LinkState
from unit.session.wire import FakeBackend, session_over


@given(st.lists(st.sampled_from(list(LinkState)), max_size=20))
def test_only_legal_moves_happen_and_an_illegal_one_changes_nothing(moves: list[LinkState]) -> None:
    link = Link()
    for state in moves:
        before = link.state
        if state is before or state in LEGAL[before]:
            assert link.move(state) is before
            assert link.state is state
        else:
            with pytest.raises(IllegalTransition):
                link.move(state)
            assert link.state is before


def test_nothing_leaves_closed() -> None:
    assert LEGAL[LinkState.CLOSED] == frozenset()


def ready() -> Link:
    link = Link()
    link.move(LinkState.CONNECTING)
    link.socket_up(10.0)
    link.move(LinkState.SYNCING)
    link.move(LinkState.READY)
    link.reconciled = True
    return link


def test_orders_need_ready_and_link_and_reconciled() -> None:
    link = ready()
    assert link.why_no_orders == ""
    link.reconciled = False
    assert "reconciled" in link.why_no_orders
    link.reconciled = True
    link.on_notice(1100, "Connectivity between IBKR and Trader Workstation has been lost.", 11.0)
    assert "1100" in link.why_no_orders


@pytest.mark.parametrize("code", [1100, 2110])
def test_lost_broker_link_asks_for_a_new_reconciliation(code: int) -> None:
    link = ready()
    news = link.on_notice(code, "lost", 20.0)
    assert news is not None
    assert not news.up
    assert not link.broker_link
    assert not link.reconciled
    assert link.on_notice(code, "lost", 24.0) is None  # repeated every few seconds during an outage


@pytest.mark.parametrize(("code", "data_lost"), [(1101, True), (1102, False)])
def test_restored_broker_link_counts_from_now_on(code: int, data_lost: bool) -> None:
    link = ready()
    link.on_notice(1100, "lost", 20.0)
    news = link.on_notice(code, "restored", 50.0)
    assert news is not None
    assert (news.up, news.data_lost) == (True, data_lost)
    assert link.broker_link_since == 50.0


def test_farms_come_and_go_without_touching_orders() -> None:
    link = ready()
    assert link.on_notice(2103, "Market data farm connection is broken:usfarm", 20.0) is not None
    assert link.on_notice(
        2108, "Market data farm connection is inactive but should be available upon demand.eufarm", 21.0
    )
    assert link.farms == {"usfarm": False, "eufarm": True}
    assert link.why_no_orders == ""
    assert link.on_notice(2104, "Market data farm connection is OK:usfarm", 22.0) is not None
    assert link.on_notice(2104, "Market data farm connection is OK:usfarm", 23.0) is None


def test_new_socket_is_a_new_epoch_and_knows_nothing() -> None:
    link = ready()
    link.socket_down()
    assert not link.broker_link
    link.socket_up(99.0)
    assert (link.epoch, link.broker_link, link.reconciled, link.farms) == (2, True, False, {})


@pytest.mark.parametrize(
    ("before", "after"), [(before, after) for before, found in LEGAL.items() for after in sorted(found)]
)
async def test_every_legal_move_is_an_event(before: LinkState, after: LinkState) -> None:
    bus, told = EventBus(), asyncio.Event()
    loop, moves = asyncio.get_running_loop(), []

    def listen(event: Event) -> None:
        if isinstance(event, LinkChanged):
            moves.append((event.previous, event.state, event.reason))
            loop.call_soon_threadsafe(told.set)

    bus.subscribe(listen)
    session = session_over(FakeBackend(), bus=bus)
    session.link.state = before
    session.move(after, "because")
    await asyncio.wait_for(told.wait(), 10.0)
    session.move(after, "again")  # no move
    bus.close()
    assert moves == [(before.value, after.value, "because")]


def test_a_refusal_while_the_link_is_lost_tells_what_the_gateway_said_of_it() -> None:
    link = ready()
    link.on_notice(1100, "Web API: another program of this user name holds the brokerage session. ", 11.0)
    lost = "the gateway has lost its link to IBKR (1100): "
    assert link.why_no_orders == lost + "Web API: another program of this user name holds the brokerage session"
    link.on_notice(1100, "x" * 10_000, 12.0)
    assert len(link.why_no_orders) < 400
    link.on_notice(1101, "back", 13.0)
    link.on_notice(2110, "", 14.0)
    assert link.why_no_orders == "the gateway has lost its link to IBKR (2110)"
