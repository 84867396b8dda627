"""No OSError leaves the order road: a common retry decorator around an order would send it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ibkr_connector.backends.tws.client import TwsBackend
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import NotConnected, OrderNotSent, RequestTimeout
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal import JournalWriter
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.paper import PaperGateway
from ibkr_connector.prefetch import GateFeed
from support.connector import arrived

ERRORS = (
    OSError(28, "No space left on device"),
    TimeoutError("late"),
    ConnectionResetError("by peer"),
    RequestTimeout("no answer"),
    NotConnected("gone"),
)


def record_of(connector: IBKRConnector, ref: str) -> OrderRecord:
    live = connector.orders._manager.desk.table.by_ref(ref)
    assert live is not None
    return live.record


def raising(error: Exception) -> Callable[..., Coroutine[Any, Any, None]]:
    async def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["prefetch", "frame", "commit"])
async def test_an_order_and_a_change_that_meet_an_os_error_are_not_sent_and_say_so(
    connector: IBKRConnector, gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    order = await connector.place_limit_order("AAPL", 10, "BUY", 1, order_ref="base")
    with monkeypatch.context() as broken:
        if where == "prefetch":
            broken.setattr(GateFeed, "_hours", raising(error))
        elif where == "commit":
            broken.setattr(JournalWriter, "commit_sending", raising(error))
            broken.setattr(JournalWriter, "commit_change", raising(error))
        else:

            def no_frame(*_: object) -> None:
                raise error

            broken.setattr(TwsBackend, "order_frame", no_frame)
        for attempt in (
            lambda: connector.place_limit_order("AAPL", 10, "BUY", 1, order_ref="road"),
            lambda: order.modify(quantity=20),
        ):
            with pytest.raises(OrderNotSent) as caught:
                await attempt()
            assert not isinstance(caught.value, OSError)
            assert caught.value.__cause__ is error
    assert arrived(gateway, "road") == 0
    assert not gateway.truth.of("recv_modify")
    assert connector.orders_in_doubt() == []
    assert connector.orders._manager._risk.reserved("base") == 10
    assert (await connector.place_limit_order("AAPL", 10, "BUY", 1, order_ref="road")).state is OrderState.WORKING
    assert (await order.modify(quantity=20)).quantity == 20


async def test_a_change_given_up_between_commit_and_write_is_known_as_not_sent(
    connector: IBKRConnector, gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has it, the wire has not: a record that is still waiting for an answer would wait for ever."""
    order = await connector.place_limit_order("AAPL", 10, "BUY", 1, order_ref="base")
    committing, go_on = asyncio.Event(), asyncio.Event()
    here, real = asyncio.get_running_loop(), JournalWriter.commit_change

    async def held(self: JournalWriter, entry: Any, **how: Any) -> bool:
        here.call_soon_threadsafe(committing.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go_on.wait(), here))
        return await real(self, entry, **how)

    monkeypatch.setattr(JournalWriter, "commit_change", held)
    changing = asyncio.create_task(order.modify(quantity=20))
    await committing.wait()

    async def interrupt() -> None:
        (task,) = connector.orders._manager._background
        task.cancel()

    await connector.orders._thread.run(interrupt())
    go_on.set()
    await asyncio.gather(changing, return_exceptions=True)
    monkeypatch.undo()
    journal = connector.orders._manager.desk.journal
    assert journal is not None
    await connector.orders._thread.run(journal.flush())
    kept = journal.find("base")
    assert kept is not None
    assert "modify_not_sent" in [change.kind for change in kept.changes]
    assert not gateway.truth.of("recv_modify")
    assert record_of(connector, "base").outstanding == set()
    assert connector.orders._manager._risk.reserved("base") == 10
    assert (await order.modify(quantity=30)).quantity == 30
