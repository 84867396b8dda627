"""The example plan happens as its comments say."""

from __future__ import annotations

import pytest

from ibkr_connector.paper import ExchangeBehavior, PaperGateway

from .kit import SECONDS, ask, cancel, connected, error_of, executions, limit, market, status_of, until, works

pytestmark = pytest.mark.protocol


async def test_the_example_plan_happens_as_it_says(repo_dir: object) -> None:
    path = f"{repo_dir}/examples/faults.toml"
    async with PaperGateway(tws_port=0, seed=7, behavior=ExchangeBehavior.instant(), faults=path) as gateway:
        names = {str(fault["name"]) for fault in gateway.faults.faults()}
        client = await connected(gateway)
        client.send(*market(1))
        await until(client, lambda m: m[0] == "11" and m[14].endswith(".02"))
        client.send(*limit(2))
        await client.closed()
        await client.close()
        client = await connected(gateway)
        assert len(gateway.exchange.open_orders(1)) == 1
        await ask(client, cancel(2))
        assert len(gateway.exchange.open_orders(1)) == 1
        await ask(client, limit(2, price="51"))
        assert len(gateway.exchange.open_orders(1)) == 2
        assert "55" not in [m[0] for m in await ask(client, executions(7))]
        for order_id in (3, 4):
            client.send(*limit(order_id))
            await until(client, status_of(order_id, "Submitted"))
        client.send(*limit(5))
        await until(client, error_of(1100))
        await until(client, error_of(1102))
        await until(client, status_of(5, "Submitted"))
        await gateway.truth.wait_for("forwarded", timeout=SECONDS, order_id=5)
        client.send(*limit(6))
        await client.closed()
        await client.close()
        assert gateway.truth.of("recv_place", order_id=6) == []
        client = await connected(gateway)
        for order_id in range(7, 60):
            if gateway.truth.of("fault", fault="duplicate_reply"):
                break
            client.send(*limit(order_id))
            await until(client, status_of(order_id, "Submitted"))
        await client.close()
        assert {str(e.fields["name"]) for e in gateway.truth.of("fault")} == names
        gateway.faults.clear()
        await works(gateway)
