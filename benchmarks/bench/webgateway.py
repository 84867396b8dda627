"""Paper gateways with a Web front, in a process of their own.

python -m bench.webgateway 1               (run from the folder `benchmarks`; asked by the harness, see `processes`)
python -m bench.webgateway 3 FOLDER        the same as api.ibkr.com: OAuth, and IBKR's limits; writes keys into FOLDER

Without FOLDER they are Client Portal Gateways after their login, without limits and latencies. Each gateway has an
account, an exchange and a truth log of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

from ibkr_connector.paper import PaperGateway, WebOptions
from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.web.calls import WebError
from ibkr_connector.paper.web.limits import Limiter
from ibkr_connector.paper.web.oauth import keys
from ibkr_connector.paper.web.options import Limits

from .gateway import SEED, UNLIMITED, Remembering, Tools
from .processes import serve
from .webside import ACCOUNT


class NotedLimiter(Limiter):
    """The limits, with the moment of every request they let through, and how many they refused with 429."""

    def __init__(self, limits: Limits | None, loop: asyncio.AbstractEventLoop, *, oauth: bool) -> None:
        super().__init__(limits, loop, oauth=oauth)
        self.moments: list[float] = []
        self.refused = 0

    def _check(self, name: str, remote: str) -> None:
        now = asyncio.get_running_loop().time()
        try:
            super()._check(name, remote)
        except WebError:
            self.refused += 1
            raise
        self.moments.append(now)


class WebTools(Tools):
    """What the harness can ask of one gateway."""

    def __init__(self, gateway: PaperGateway, market: Remembering) -> None:
        super().__init__(gateway, market)
        server: Any = gateway.web.server
        options, verifier = gateway.web.hub.options, gateway.web.verifier
        self._limits = server._limiter = NotedLimiter(
            options.limits, asyncio.get_running_loop(), oauth=verifier is not None
        )

    def do_written(self) -> dict[str, int]:
        """New orders that a client wrote, whatever became of them, and orders that the exchange took."""
        truth = self._gateway.truth
        return {"posts": len(truth.of("http", request="place_order")), "orders": len(truth.of("accepted"))}

    def do_count(self) -> None:
        """Count anew."""
        self._limits.moments, self._limits.refused = [], 0

    def do_counted(self) -> dict[str, Any]:
        """Since `do_count`: the moments of all requests that were let through, and how many were refused with 429."""
        return {"moments": self._limits.moments, "refused": self._limits.refused}


async def main(count: int, keys_folder: Path | None) -> None:
    """Run until the harness ends."""
    registration = None if keys_folder is None else keys.register()
    web = WebOptions(limits=None) if registration is None else WebOptions(oauth=registration.server)
    async with contextlib.AsyncExitStack() as stack:
        tools, greeting = [], []
        for number in range(count):
            market = Remembering(SEED)
            made = PaperGateway(
                web_port=0,
                web=web,
                market=market,
                seed=SEED,
                accounts=(ACCOUNT,),
                options=UNLIMITED,
                behavior=ExchangeBehavior.instant(),
            )
            gateway = await stack.enter_async_context(made)
            tools.append(WebTools(gateway, market))
            place = ""
            if keys_folder is not None and registration is not None:
                place = str(keys.write(registration, keys_folder / str(number), gateway.web.url, ACCOUNT)["env"])
            greeting.append({"url": gateway.web.url, "oauth": place})

        async def handle(command: str, args: dict[str, Any]) -> Any:
            return await tools[args.pop("number", 0)].handle(command, args)

        await serve(greeting, handle)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
