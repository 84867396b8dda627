"""kill -9 and loss of power at every step of the order road, through the socket.

Afterwards either nothing was written and the order is known as not sent, or one order exists and both sides know it.
The judge is the gateway's truth.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_connector.errors import OrderNotSent
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal_read import JournalReader
from ibkr_connector.orders.recover import replayed
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, arrived, settled
from support.proxy import Proxy, is_kind

from .crashing import SECONDS, audit_is_whole, crash, live, restarted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def gateway_arguments() -> dict[str, object]:
    """The broker's day is not the day of this machine."""
    return {"start": datetime(2026, 3, 12, 15, 0, tzinfo=UTC)}


@pytest.mark.parametrize("moment", ["reserved", "commit", "committed", "frame 1", "answered"])
async def test_new_order_killed_at_any_step_is_one_order_known_to_both_or_none(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    ref = await crash(gateway, tmp_path, "place", moment)
    written = moment in ("frame 1", "answered")
    if written:
        await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref=ref)
    connector = await restarted(gateway, make)
    known = ref in {order.ref for order in JournalReader.of(tmp_path / "state", ACCOUNT).recent()}
    assert known is (moment not in ("reserved", "commit"))
    if known:
        assert (await settled(connector, ref)).state is (OrderState.WORKING if written else OrderState.NOT_SENT)
    assert (arrived(gateway, ref), live(gateway, ref)) == ((1, [10]) if written else (0, []))
    if known and not written:
        with pytest.raises(OrderNotSent):  # its ref is used for ever
            await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=ref)
    else:
        order = await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=ref)
        assert (order.state, arrived(gateway, ref)) == (OrderState.WORKING, 1)
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["reserved", "commit", "committed", "frame 1", "answered"])
async def test_change_killed_at_any_step_leaves_one_order_in_the_version_the_broker_has(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    ref = await crash(gateway, tmp_path, "modify", moment)
    written = moment in ("frame 1", "answered")
    if written:
        await gateway.truth.wait_for("modified", timeout=SECONDS)
    connector = await restarted(gateway, make)
    known = await settled(connector, ref)
    assert live(gateway, ref) == [int(known.quantity)] == [20 if written else 10]
    assert arrived(gateway, ref) == 1
    changed = await connector.modify_order(ref, quantity=30)  # nothing is outstanding on it
    assert (int(changed.quantity), len(live(gateway, ref)), arrived(gateway, ref)) == (30, 1, 1)
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["committed", "frame 1", "commit", "answered"])
async def test_cancel_killed_at_any_step_is_done_or_can_be_asked_for_again(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    ref = await crash(gateway, tmp_path, "cancel", moment)
    if moment in ("frame 1", "answered"):
        await gateway.truth.wait_for("recv_cancel", timeout=SECONDS)
    connector = await restarted(gateway, make)
    result = await connector.cancel_order(ref)
    assert (result.state, live(gateway, ref), arrived(gateway, ref)) == (OrderState.CANCELLED, [], 1)
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["commit", "committed", "answered"])
async def test_operators_word_killed_at_any_step_counts_if_it_was_committed_and_the_broker_has_the_last(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, proxy: Proxy, moment: str
) -> None:
    proxy.swallow_answers = is_kind("3", "5", "11", "59")
    ref = await crash(gateway, tmp_path, "resolve", moment, port=proxy.port)
    (kept,) = JournalReader.of(tmp_path / "state", ACCOUNT).recent()
    record = replayed(kept)
    assert record.state is (OrderState.IN_DOUBT if moment == "commit" else OrderState.CANCELLED)
    connector = await restarted(gateway, make)
    assert (await settled(connector, ref)).state is OrderState.WORKING
    assert (arrived(gateway, ref), live(gateway, ref)) == (1, [10])
    audit_is_whole(tmp_path)
