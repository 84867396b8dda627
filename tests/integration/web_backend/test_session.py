"""The session of a Web backend by itself: connect, what is asked first, disconnect."""

from __future__ import annotations

from ibkr_connector.backends.base import BrokerFact, SocketClosed
from ibkr_connector.backends.web import WebBackend, WebEndpoint
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT


async def test_a_connection_tells_the_accounts_and_ends_with_one_word(gateway: PaperGateway) -> None:
    facts: list[BrokerFact] = []
    backend = WebBackend(WebEndpoint(url=gateway.web.url))
    backend.on_fact(facts.append)
    info = await backend.connect(host="", port=0, client_id=2, timeout=10.0)
    assert info.accounts == (ACCOUNT,)
    assert backend.connected
    values = {(row.key, row.currency): row.value for row in await backend.account_values(ACCOUNT, 10.0)}
    assert values["NetLiquidation", "USD"]
    await backend.disconnect()
    assert not bool(backend.connected)
    assert [fact for fact in facts if isinstance(fact, SocketClosed)] == [
        SocketClosed(reason="disconnected", expected=True)
    ]
