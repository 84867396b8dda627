"""INV-09: whatever is written, asked for or not, went through the pacer; and the next process knows of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import PacingTimeout, RequestTimeout
from ibkr_connector.resilience import Grant, Work
from ibkr_connector.resilience.rules import MESSAGES
from support.connector import ACCOUNT, MakeConnector, incident, link_reaches
from support.proxy import Proxy, is_kind

HISTORY = "20"
CANCEL_HISTORY = "25"
HISTORICAL_DATA = "17"


class Counted:
    """How many messages a connector's pacer has let through."""

    def __init__(self, connector: IBKRConnector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages = 0
        core = connector._house.session.guard._core
        sent, note = core.sent, core.note

        def count(work: Work) -> None:
            self.messages += sum(charge.units for charge in work.charges if charge.rule == MESSAGES)

        def count_sent(grant: Grant, now: float) -> None:
            count(grant.work)
            sent(grant, now)

        def count_note(now: float, work: Work) -> None:
            count(work)
            note(now, work)

        monkeypatch.setattr(core, "sent", count_sent)
        monkeypatch.setattr(core, "note", count_note)


async def test_every_message_on_the_wire_was_let_through_by_the_pacer(
    proxy: Proxy, make: MakeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = make(proxy.port)
    counted = Counted(connector, monkeypatch)

    async def wire_agrees() -> None:
        await connector.get_server_time()  # what was written before it has passed the proxy when its answer is here
        assert len(proxy.requests) - 1 == counted.messages  # the first is the handshake's, before any rule

    await connector.connect()
    await wire_agrees()
    await connector.get_live_quote("AAPL")
    connector._house.hub._drop(265598)
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1.0, reference_price=1.0)
    await connector.cancel_order(order)
    await wire_agrees()
    proxy.swallow_answers = is_kind(HISTORICAL_DATA)
    asked = [connector.get_historical_data("AAPL", f"{days} D", "1 hour", timeout=2.0) for days in range(1, 13)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(result) for result in results} == {RequestTimeout}
    await wire_agrees()
    assert len([fields for fields in proxy.requests if is_kind(CANCEL_HISTORY)(fields)]) == len(asked)
    async with link_reaches(connector, "ready"):
        proxy.say_error(1101, "Connectivity restored - data lost.")
    await wire_agrees()


class TestHistoryOverRestarts:
    """What the program before this one asked for counts in this one's windows."""

    async def test_the_same_request_waits_in_the_next_process_too(
        self, proxy: Proxy, make: MakeConnector, tmp_path: Path
    ) -> None:
        kept: list[bool] = []
        path = tmp_path / "state" / ACCOUNT / "pacing-2.json"

        def look(fields: list[str]) -> bool:
            if is_kind(HISTORY)(fields):
                kept.append(path.exists())
            return False

        proxy.swallow_requests = look
        first = make(proxy.port)
        await first.connect()
        await first.get_historical_data("AAPL", "1800 S", "5 secs")
        await first.close()
        second = make(proxy.port)
        await second.connect()
        with pytest.raises(PacingTimeout) as caught:
            await second.get_historical_data("AAPL", "1800 S", "5 secs", timeout=5.0)
        assert "history-identical" in str(caught.value)
        assert kept == [True], "it is on file before it is on the wire, and the second was never written"
        await second.get_historical_data("MSFT", "1800 S", "5 secs")

    async def test_after_a_damaged_file_small_bars_wait_ten_minutes_and_large_ones_do_not(
        self, proxy: Proxy, make: MakeConnector, tmp_path: Path
    ) -> None:
        folder = tmp_path / "state" / ACCOUNT
        folder.mkdir(parents=True)
        (folder / "pacing-2.json").write_text("{")
        connector = make(proxy.port)
        async with incident(connector, "pacing_not_kept"):
            await connector.connect()
        with pytest.raises(PacingTimeout) as caught:
            await connector.get_historical_data("AAPL", "1800 S", "5 secs", timeout=60.0)
        assert caught.value.context["retry_after"] > 500
        assert len(await connector.get_historical_data("AAPL", "1 D", "1 hour")) > 0
