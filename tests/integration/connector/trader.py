"""A program that goes on placing orders until it is told that trading is stopped, and then tries some more."""

from __future__ import annotations

import asyncio
import sys

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderError, RiskRejected

TRIES_AFTER = 20


async def main(port: int, state_dir: str) -> None:
    connector: IBKRConnector = IBKRConnector(profile="trader", port=port, state_dir=state_dir)
    await connector.connect()
    print("ready", flush=True)
    refused = 0
    while refused < TRIES_AFTER:
        try:
            await connector.place_limit_order("AAPL", 1, "BUY", 100)
        except RiskRejected as error:
            refused += error.gates == ["trading_state"]
        except OrderError as error:  # stopped between its commit and its write, or cancelled on its way
            print(type(error).__name__, flush=True)
    print("stopped", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await connector.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
