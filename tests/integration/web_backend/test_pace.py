"""The pace of a Web API session, judged by the gateway: not one request too many."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.clock import system_clock
from ibkr_connector.errors import PacingError, PacingTimeout
from ibkr_connector.paper import PaperGateway, WebOptions
from ibkr_connector.resilience import Pacer
from ibkr_connector.resilience.waiter import AsyncPacer
from ibkr_connector.resilience.web_rules import web_rules
from ibkr_connector.session.webpace import WebPace
from ibkr_connector.session.webwindows import SharedWindows
from support.connector import ACCOUNT


def paced(gateway: PaperGateway) -> tuple[WebBackend, WebPace, AsyncPacer]:
    core = Pacer(web_rules(oauth=False, messages_per_second=50, cancel_reserve=2))
    pacer = AsyncPacer(core, system_clock)
    pace = WebPace(lambda: pacer, core, system_clock)
    backend = WebBackend(WebEndpoint(url=gateway.web.url))
    backend.on_fact(lambda fact: None)
    backend.pace_requests(pace)
    return backend, pace, pacer


@pytest.mark.parametrize("web_options", [WebOptions()])
async def test_thirty_reads_at_once_are_answered_without_one_refusal(gateway: PaperGateway) -> None:
    backend, pace, pacer = paced(gateway)
    await backend.connect(host="", port=0, client_id=1, timeout=15.0)
    answers = await asyncio.gather(*(backend.account_values(ACCOUNT, 15.0) for _ in range(12)))
    assert all(answers)
    assert pace.resting == 0.0
    await backend.disconnect()
    await pacer.close()


async def test_after_a_refusal_nothing_is_asked_until_the_rest_is_over(gateway: PaperGateway) -> None:
    backend, pace, pacer = paced(gateway)
    rests: list[bool] = []
    pace.on_rest = lambda seconds, boxed: rests.append(boxed)
    await backend.connect(host="", port=0, client_id=1, timeout=15.0)
    gateway.inject("http_error", on="portfolio_summary", code=429)
    with pytest.raises(PacingError):
        await backend.account_values(ACCOUNT, 5.0)
    assert 0 < pace.resting <= 5.0
    with pytest.raises(PacingTimeout, match="wants none"):
        await backend.account_values(ACCOUNT, 0.5)
    assert rests == [False]
    await backend.disconnect()
    await pacer.close()


@pytest.mark.parametrize("web_options", [WebOptions()])
async def test_a_program_right_after_another_one_is_not_refused(gateway: PaperGateway, tmp_path: Path) -> None:
    """IBKR counts live orders, trades and accounts over all programs of a user name."""
    for _ in range(2):
        backend, pace, pacer = paced(gateway)
        pace.shared = SharedWindows(tmp_path, gateway.web.url, system_clock)
        await backend.connect(host="", port=0, client_id=1, timeout=15.0)
        await backend.open_orders(15.0)
        await backend.disconnect()
        await pacer.close()
        assert pace.resting == 0.0
