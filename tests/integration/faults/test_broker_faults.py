"""What goes wrong behind the gateway: the link to the broker, data farms, halts, quotes that stand still."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from ibkr_connector.paper import PaperGateway, TwsOptions
from ibkr_connector.paper.exchange.types import AccountChanged

from ..gateway.raw import RawClient
from .kit import (
    OPEN_ORDERS,
    POSITIONS,
    SECONDS,
    ask,
    cancel,
    cancel_history,
    details,
    error_of,
    executions,
    fault,
    head_timestamp,
    history,
    limit,
    market,
    market_data,
    over,
    small_bars,
    status_of,
    until,
    works,
)

pytestmark = pytest.mark.protocol


def feeds_at_rest(gateway: PaperGateway) -> bool:
    """No stream is about to show anything."""
    feeds = [feed for found in gateway.server._hub.feeds.values() for feed in found]
    return bool(feeds) and all(feed._timer is None for feed in feeds)


async def moved(gateway: PaperGateway, seconds: float = 30) -> None:
    """The market goes on."""
    gateway.jump(gateway.clock.now() + timedelta(seconds=seconds))
    await asyncio.sleep(0)


async def test_1100_cuts_the_link_and_1102_brings_everything_through(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*limit(1))
    await until(client, status_of(1, "Submitted"))
    gateway.inject("error", code=1100)
    await until(client, error_of(1100))
    got = await ask(client, limit(2), limit(2, price="51"), cancel(1), OPEN_ORDERS)
    assert [m[0] for m in got] == ["5", "3", "53"]
    assert got[0][1] == "1"
    assert [e.fields["order_id"] for e in gateway.truth.of("withheld")] == [2, 2, 1]
    assert [e.fields["order_id"] for e in gateway.truth.of("recv_place")] == [1, 2]
    assert [e.fields["order_id"] for e in gateway.truth.of("recv_modify")] == [2]
    assert len(gateway.truth.of("accepted")) == 1
    gateway.inject("error", code=1102)
    await until(client, error_of(1102))
    await until(client, status_of(1, "Cancelled"))
    assert [e.fields["order_id"] for e in gateway.truth.of("forwarded")] == [2, 1]
    shown = [m for m in await ask(client, OPEN_ORDERS) if m[0] == "5"]
    assert [m[1] for m in shown] == ["2"]
    assert len(gateway.truth.of("recv_place", order_id=2)) == 1
    await works(gateway)


async def test_fills_during_an_outage_are_heard_of_only_when_asked_for_afterwards(
    gateway: PaperGateway, client: RawClient
) -> None:
    [item] = gateway.faults.instruments("AAPL")
    quote = gateway.exchange.quote(item)
    assert quote is not None
    assert quote.bid is not None
    client.send(*limit(1, price=str(quote.bid)))
    await until(client, status_of(1, "Submitted"))
    gateway.inject("error", code=1100)
    await until(client, error_of(1100))
    for _ in range(400):
        if gateway.truth.of("fill", order_id=1):
            break
        await moved(gateway)
    assert gateway.truth.of("fill", order_id=1)
    got = await ask(client, executions(7), POSITIONS, OPEN_ORDERS, ["99", "0"])
    # What the gateway knew when the link broke, and nothing later.
    assert [m[:2] for m in got if m[0] in {"5", "11", "61", "101"}] == [["5", "1"]]
    gateway.inject("error", code=1102)
    got = await until(client, error_of(1102))
    assert [m[0] for m in got if m[0] in {"3", "11", "59", "61"}] == []
    got = await ask(client, executions(8), POSITIONS, OPEN_ORDERS)
    assert {m[0] for m in got} >= {"11", "59", "61", "62", "55", "53"}
    assert [m for m in got if m[0] == "5"] == []


async def test_quotes_stop_during_an_outage_and_go_on(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market_data(5))
    await until(client, lambda m: m[0] == "1")
    await moved(gateway)
    gateway.inject("error", code=2110)
    await until(client, error_of(2110))
    assert feeds_at_rest(gateway)
    await moved(gateway)
    taps = gateway.server._hub.taps
    assert taps is not None
    assert taps.hides(AccountChanged(account="DU1234567"))
    assert feeds_at_rest(gateway)
    assert not [m for m in await ask(client) if m[0] in {"1", "2"}]
    gateway.inject("error", code=1102)
    await until(client, lambda m: m[0] == "1")


async def test_figures_that_come_by_themselves_stop_during_an_outage(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market(1))
    await until(client, status_of(1, "Filled"))
    client.send("92", "7", "DU1234567", "")
    await until(client, lambda m: m[0] == "94")
    gateway.inject("error", code=1100)
    await until(client, error_of(1100))
    await moved(gateway)
    gateway.server.session(1).pnl._tell()  # what its timer does
    assert not [m for m in await ask(client) if m[0] == "94"]
    gateway.inject("error", code=1102)
    await until(client, lambda m: m[0] == "94")


@pytest.mark.parametrize("kind", ["error", "hold_then_forward"])
async def test_what_needs_the_servers_is_answered_when_the_link_is_back(
    gateway: PaperGateway, client: RawClient, kind: str
) -> None:
    await ask(client, details(4))
    gateway.inject(kind, code=1100, for_=60) if kind == "error" else gateway.inject(kind, for_=60, delay=1)
    await until(client, error_of(1100))
    symbols, options = ["81", "9", "AAP"], ["78", "10", "SPY", "", "STK", "756733"]
    asked = (history(5), head_timestamp(6), history(7), details(8, "SPY"), symbols, options, cancel_history(7))
    told = await ask(client, *asked, details(11), POSITIONS)
    # From its memory: a contract it was asked about before, positions, and that a query is cancelled.
    assert [m[0] for m in told if m[0] != "4"] == ["10", "52", "62"]
    assert [m[2:4] for m in told if m[0] == "4"] == [["7", "162"]]
    gateway.faults.clear()
    await until(client, error_of(1102))
    got = await ask(client)
    assert [m[0] for m in got] == ["17", "88", "10", "52", "79", "76"]
    assert [m[1] for m in got if m[0] in {"17", "88"}] == ["5", "6"]
    held = [e.fields["request"] for e in gateway.truth.of("fault_hit", what="held")]
    assert held[:4] == ["history", "head_timestamp", "history", "contract_details"]
    await works(gateway)


async def test_what_waits_for_the_servers_waits_for_its_farm_too_and_is_lost_by_a_restart(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("error", code=1100)
    await until(client, error_of(1100))
    assert await ask(client, history(5)) == []
    gateway.inject("farm_down", farm="ushmds", for_=60)
    gateway.inject("error", code=1102)
    await until(client, error_of(1102))
    assert [m[2:4] for m in await ask(client)] == [["5", "165"]]
    gateway.faults.clear()
    await until(client, lambda m: m[:2] == ["17", "5"])
    gateway.inject("error", code=1100)
    await until(client, error_of(1100))
    assert await ask(client, history(6)) == []
    gateway.inject("restart", for_=0.01)
    with pytest.raises(EOFError):
        await until(client, lambda m: m[:2] == ["17", "6"])
    await works(gateway)


async def test_1100_is_repeated_until_the_link_is_back(
    gateway: PaperGateway, client: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkr_connector.paper.faults.broker.REPEAT", 0.01)
    gateway.inject("error", code=1100)
    for _ in range(3):
        await until(client, error_of(1100))
    gateway.inject("error", code=1102)
    await until(client, error_of(1102))
    assert await ask(client) == []


async def test_1101_forgets_the_streams(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market_data(5))
    await until(client, lambda m: m[0] == "1")
    gateway.inject("error", code=1100, for_=0.05, restore=1101)
    await until(client, error_of(1101))
    assert error_of(300, 5)((await ask(client, ["2", "2", "5"]))[-1])
    client.send(*market_data(6))
    await until(client, lambda m: m[0] == "1")


async def test_an_outage_triggered_by_an_order_keeps_that_order(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("error", code=1100, on="place_order", for_=60)
    client.send(*limit(1))
    await gateway.truth.wait_for("withheld", timeout=SECONDS)
    gateway.faults.clear()
    got = await until(client, status_of(1, "Submitted"))
    assert [m[3] for m in got if m[0] == "4"] == ["1100", "1102"]
    assert [e.kind for e in gateway.truth.entries if e.kind in {"fault", "recv_place", "withheld", "forwarded"}] == [
        "fault",
        "recv_place",
        "withheld",
        "forwarded",
    ]
    await works(gateway)


async def test_a_held_order_stays_away_when_the_link_is_back(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("hold_then_forward", on="place_order", for_=0.1, delay=600)
    client.send(*limit(1))
    await until(client, error_of(1102))
    # The link is up, the order is nowhere, and later ones pass it.
    client.send(*limit(2))
    await until(client, status_of(2, "Submitted"))
    assert [m[1] for m in await ask(client, OPEN_ORDERS) if m[0] == "5"] == ["2"]
    assert gateway.truth.of("accepted", order_id=1) == []


async def test_clearing_forwards_what_is_held_behind_a_link_that_is_up(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("hold_then_forward", on="place_order", for_=0.05, delay=600)
    client.send(*limit(1))
    await until(client, error_of(1102))
    assert gateway.faults.clear() == 1
    await until(client, status_of(1, "Submitted"))
    assert gateway.faults.clear() == 0


async def test_a_held_order_is_forwarded_after_the_link_is_back_with_what_was_said_of_it(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("hold_then_forward", on="place_order", for_=60, delay=0.1)
    client.send(*limit(1))
    client.send(*cancel(1))
    first = await gateway.truth.wait_for("withheld", timeout=SECONDS, order_id=1)
    await gateway.truth.wait_for("withheld", timeout=SECONDS, since=first.seq, order_id=1)
    gateway.faults.clear()
    await until(client, error_of(1102))
    await until(client, status_of(1, "Cancelled"))
    assert len(gateway.truth.of("withheld", order_id=1)) == 2
    assert [e.fields["order_id"] for e in gateway.truth.of("forwarded")] == [1]
    await works(gateway)


async def test_clearing_ends_an_outage(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("error", code=1100)
    await until(client, error_of(1100))
    gateway.inject("error", code=1100)
    assert gateway.truth.of("fault_hit")[0].fields["what"] == "the link was cut already"
    client.send(*limit(1))
    await gateway.truth.wait_for("withheld", timeout=SECONDS)
    assert gateway.faults.clear() == 1
    await until(client, status_of(1, "Submitted"))


async def test_a_restart_loses_what_an_outage_held(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("error", code=1100)
    client.send(*limit(1))
    await gateway.truth.wait_for("withheld", timeout=SECONDS)
    gateway.inject("restart", for_=0.05)
    await client.closed()
    await over(gateway, fault="restart")
    assert [e.fields["order_id"] for e in gateway.truth.of("forgotten")] == [1]
    assert gateway.exchange.open_orders(None) == []
    await works(gateway)


@pytest.mark.parametrize("code", [2103, 2104, 2105, 2106, 2107, 2108, 2109, 2157, 2158])
async def test_notices_come_in_their_real_words(gateway: PaperGateway, client: RawClient, code: int) -> None:
    gateway.inject("error", code=code, client_id=1)
    message = await client.receive()
    assert message[2:4] == ["-1", str(code)]
    assert len(message[4]) > 20
    assert (await fault(gateway)).fields["client_id"] == 1
    assert await ask(client) == []


async def test_an_unknown_error_needs_its_words_and_carries_the_request_s_id(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("error", on="contract_details", code=10999, text="Something new")
    got = await ask(client, details(5))
    assert got[0][2:5] == ["5", "10999", "Something new"]
    assert [m[0] for m in got[1:]] == ["10", "52"]


async def test_10182_kills_live_history_for_good(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*history(5, keep=True))
    await until(client, lambda m: m[0] == "17")
    gateway.inject("error", code=10182)
    await until(client, error_of(10182, 5))
    assert error_of(366, 5)((await ask(client, ["25", "1", "5"]))[-1])
    client.send(*history(6, keep=True))
    await until(client, lambda m: m[0] == "17")


async def test_10197_names_every_stream_and_stops_the_quotes(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market_data(5))
    await until(client, lambda m: m[0] == "1")
    gateway.inject("error", code=10197, for_=60)
    await until(client, error_of(10197, 5))
    await ask(client)
    await moved(gateway)
    assert not [m for m in await ask(client) if m[0] in {"1", "2"}]
    gateway.faults.clear()
    await moved(gateway)
    await until(client, lambda m: m[0] == "1")


async def test_a_broken_market_data_farm_stops_the_quotes_of_everybody(
    gateway: PaperGateway, client: RawClient
) -> None:
    client.send(*market_data(5))
    await until(client, lambda m: m[0] == "1")
    gateway.inject("farm_down", for_=60)
    await until(client, error_of(2103))
    await ask(client)
    await moved(gateway)
    assert not [m for m in await ask(client) if m[0] in {"1", "2"}]
    client.send(*market(1))
    await until(client, status_of(1, "Filled"))
    gateway.faults.clear()
    await until(client, error_of(2104))
    await until(client, lambda m: m[0] == "1")


async def test_a_broken_history_farm_holds_queries_and_kills_live_bars(
    gateway: PaperGateway, client: RawClient
) -> None:
    client.send(*history(5, keep=True))
    await until(client, lambda m: m[0] == "17")
    gateway.inject("farm_down", farm="ushmds", for_=60)
    await until(client, error_of(10182, 5))
    told = await ask(client, history(6))
    assert [m[0] for m in told] == ["4"]
    gateway.faults.clear()
    got = told + await until(client, lambda m: m[0] == "17")
    assert [m[3] for m in got if m[0] == "4"] == ["165", "165"]
    assert got[-1][1] == "6"
    assert error_of(2106)(await client.receive())


async def test_queries_held_by_a_broken_farm_are_paced_by_when_they_came(
    gateway: PaperGateway, client: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six in two seconds would be too many: these came in three, and are answered in one moment."""
    loop = asyncio.get_running_loop()
    time, ahead = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: time() + ahead)
    gateway.inject("farm_down", farm="ushmds", for_=60)
    for number in range(6):
        ahead += 0.5
        client.send(*small_bars(10 + number, f"{600 + 60 * number} S"))
        await until(client, error_of(165, 10 + number))
    gateway.faults.clear()
    ends = [(await until(client, lambda m: m[0] == "17" or m[3:4] == ["162"]))[-1] for _ in range(6)]
    assert sorted(m[1] for m in ends if m[0] == "17") == [str(10 + number) for number in range(6)]


async def test_a_broken_definition_farm_answers_nothing(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("farm_down", farm="secdefnj", for_=60)
    await until(client, error_of(2157))
    assert await ask(client, details(5)) == []
    gateway.faults.clear()
    await until(client, error_of(2158))
    assert [m[0] for m in await ask(client, details(6))] == ["10", "52"]


async def test_a_halt_is_shown_and_matches_nothing_until_it_is_over(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market_data(5))
    await until(client, lambda m: m[0] == "1")
    gateway.inject("halt", symbol="aapl", for_=60)
    await until(client, lambda m: m == ["45", "6", "5", "49", "1"])
    client.send(*market(1))
    await moved(gateway)
    await ask(client)
    assert gateway.truth.of("fill") == []
    assert gateway.faults.clear() == 1
    await until(client, lambda m: m == ["45", "6", "5", "49", "0"])
    await moved(gateway)
    await gateway.truth.wait_for("fill", timeout=SECONDS, order_id=1)
    await works(gateway)


@pytest.mark.parametrize("symbol", ["AAPL", None])
async def test_stale_quotes_stand_still_while_orders_meet_the_real_market(
    gateway: PaperGateway, client: RawClient, symbol: str | None
) -> None:
    client.send(*market_data(5))
    await until(client, lambda m: m[0] == "1")
    await moved(gateway)
    gateway.inject("stale", symbol=symbol, for_=60)
    assert feeds_at_rest(gateway)
    await ask(client)
    await moved(gateway)
    assert await ask(client) == []
    client.send(*market(1))
    await until(client, status_of(1, "Filled"))
    gateway.faults.clear()
    await until(client, lambda m: m[0] == "1")


async def test_the_clock_jumps_and_the_broker_s_time_with_it(gateway: PaperGateway, client: RawClient) -> None:
    client.send("49", "1")
    before = int((await client.receive())[2])
    gateway.inject("clock_jump", on="positions", by=600)
    await ask(client, POSITIONS)
    client.send("49", "1")
    assert int((await client.receive())[2]) - before >= 600
    await works(gateway)


@pytest.mark.parametrize("gateway_arguments", [{"options": TwsOptions(tick_interval=0.0)}])
async def test_a_fault_waits_for_its_market_time_also_over_a_jump(gateway: PaperGateway, client: RawClient) -> None:
    at = gateway.clock.now() + timedelta(hours=1)
    gateway.inject("error", code=2104, at=at)
    assert await ask(client) == []
    gateway.jump(at - timedelta(minutes=1))
    assert await ask(client) == []
    gateway.jump(at + timedelta(seconds=1))
    await until(client, error_of(2104))
    assert gateway.truth.of("fault")[0].at - at < timedelta(seconds=60)
