"""Health and metrics over HTTP, as an orchestrator and Prometheus see them. Needs the extra `metrics`."""

import asyncio
import json
from urllib.error import HTTPError
from urllib.request import urlopen

from ibkr_connector import get_ibkr_connector


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:  # 503: not ready
        return error.code, error.read().decode()


async def main() -> None:
    async with get_ibkr_connector(watch={"http_port": 0}) as connector:  # 0 = any free port
        port = connector.watch_port
        print("ready:", (await asyncio.to_thread(ask, port, "/readyz"))[0] == 200)
        connector.kill("lunch")
        status, text = await asyncio.to_thread(ask, port, "/readyz/orders")
        print(f"orders: {status},", *[check["why"] for check in json.loads(text)["checks"] if not check["passed"]])
        connector.resume("coffee is ready")
        _, text = await asyncio.to_thread(ask, port, "/metrics")
        print(*[line for line in text.splitlines() if line.startswith("ibkr_orders_unknown")])


asyncio.run(main())
