"""A program that places one order over the Web API, is asked a question, and ends without a word at a chosen moment.

    crasher.py '{"url": …, "state_dir": …, "moment": "asked", "ref": …}'

Moments: `commit 1` (SENDING is about to be committed), `commit 2` (the yes is), `write 1` and `write 2` (durable, and
the POST of the order, or of the yes, has not begun), `answer 1` (the question is here, and nobody has looked at it),
`answer 2` (the order is taken, and nobody has looked), `answered` (the caller has the broker's word), `never`. The end
is SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import pytest

from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.orders.journal_file import JournalFile
from ibkr_connector.orders.journal_queue import WriteQueue
from support.web import hurry

PLAN: dict[str, Any] = {}


def at(moment: str) -> None:
    """As the kernel's out-of-memory killer would end it: no handler runs."""
    if PLAN["moment"] == moment:
        os.kill(os.getpid(), signal.SIGKILL)


def arm() -> None:
    """From here on the moments count."""
    writes = commits = 0
    real_request, real_durable, real_commit = WebCalls._request, WriteQueue.durable, JournalFile.commit

    def request(client: Any, method: str, path: str, options: dict[str, Any]) -> Any:
        nonlocal writes
        if method != "POST" or not (path.endswith("/orders") or "/reply/" in path):
            return real_request(client, method, path, options)
        writes += 1
        number = writes
        at(f"write {number}")
        answer = real_request(client, method, path, options)
        at(f"answer {number}")
        return answer

    async def durable(self: WriteQueue, *args: Any, **keys: Any) -> Any:
        nonlocal commits
        commits += 1
        return await real_durable(self, *args, **keys)

    def commit(self: JournalFile) -> None:
        at(f"commit {commits}")
        real_commit(self)

    WebCalls._request = staticmethod(request)  # type: ignore[method-assign]
    WriteQueue.durable = durable  # type: ignore[method-assign]
    JournalFile.commit = commit  # type: ignore[method-assign]


async def main() -> None:
    """Connect, place, die."""
    connector = IBKRConnector(
        backend="web",
        state_dir=PLAN["state_dir"],
        web={"url": PLAN["url"], "confirm": "o383"},
        orders={"ack_timeout": 15.0, "settle_interval": 60.0},
        risk_limits={"daily_loss_limit": None, "check_market_hours": False},
        messages_per_second=400,
    )
    await connector.connect()
    await connector.get_live_quote("AAPL")
    journal = connector.orders._manager.desk.journal
    assert journal is not None
    await connector.orders._thread.run(journal.flush())
    arm()
    await connector.place_limit_order("AAPL", 501, "BUY", 150, order_ref=PLAN["ref"], tif="GTC")
    at("answered")
    await asyncio.sleep(60)


if __name__ == "__main__":
    PLAN.update(json.loads(sys.argv[1]))
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        asyncio.run(main())
