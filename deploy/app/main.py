"""Keeps a connection to IBKR and serves its health: what the image runs until your own program takes its place.

Mount your program over this file (`/app/main.py`), and keep its frame: wait for a gateway that is not there yet, which
after a reboot or before the weekly login is the usual case; end when docker says so (SIGTERM), not ten seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from ibkr_connector import IBKRConnector, TradingError, get_ibkr_connector

RETRY_S = 60.0
"""Between two rounds of connecting. Each is several attempts; more only makes IBKR refuse logins."""


async def trade(connector: IBKRConnector, stop: asyncio.Event) -> None:
    """Your strategy goes here. The connection is made again by itself; this runs once."""
    print(f"ready: account {connector.account_id}", flush=True)
    await stop.wait()


async def connected(connector: IBKRConnector, stop: asyncio.Event) -> bool:
    """Connect, however long it takes; False when it is time to stop. What no waiting mends is raised."""
    while not stop.is_set():
        try:
            return await connector.connect()
        except TradingError as error:
            if not error.retryable:
                raise
            print(f"waiting: {error}", flush=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_S)
    return False


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connector = get_ibkr_connector()
    try:
        if await connected(connector, stop):
            await trade(connector, stop)
    finally:
        await connector.close()  # orders live on at the broker; close("cancel_increasing") leaves only protection
    print("ended", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(main())
    except TradingError as error:
        raise SystemExit(str(error)) from error
