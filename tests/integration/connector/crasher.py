"""A program that places one order and is killed (SIGKILL, by itself) at a chosen moment on its way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.tws.client import TwsBackend
from ibkr_connector.connector import IBKRConnector


def die() -> None:
    """As a power cut or the kernel's out-of-memory killer would end it: no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(plan: dict[str, object]) -> None:
    """Connect, place, die."""
    connector: IBKRConnector = IBKRConnector(port=plan["port"], state_dir=plan["state_dir"])
    await connector.connect()
    real_frame = TwsBackend.order_frame

    def frame(self: TwsBackend, order: WireOrder) -> Callable[[], None]:
        write = real_frame(self, order)

        def send() -> None:
            if plan["moment"] == "after_commit":
                die()
            write()
            die()

        return send

    TwsBackend.order_frame = frame  # type: ignore[method-assign]
    await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=str(plan["ref"]))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
