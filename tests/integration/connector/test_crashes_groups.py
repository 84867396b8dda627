"""kill -9 at every step of the road of a bracket and of an OCA group: what is known of each leg afterwards."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector, arrived, settled

from .crashing import SECONDS, audit_is_whole, crash, live, restarted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def gateway_arguments() -> dict[str, object]:
    """The broker's day is not the day of this machine."""
    return {"start": datetime(2026, 3, 12, 15, 0, tzinfo=UTC)}


@pytest.mark.parametrize("moment", ["commit", "committed", "frame 1", "frame 2", "frame 3", "answered"])
async def test_bracket_killed_at_any_step_is_whole_or_not_there(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    """Frames before the last transmit nothing: half of a bracket must not work, and never be forgotten."""
    ref = await crash(gateway, tmp_path, "bracket", moment)
    frames = {"frame 1": 1, "frame 2": 2, "frame 3": 3, "answered": 3}.get(moment, 0)
    refs = [ref, f"{ref}.tp", f"{ref}.sl"]
    for name in refs[:frames]:
        await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref=name)
    connector = await restarted(gateway, make)
    assert [arrived(gateway, name) for name in refs] == [1] * frames + [0] * (3 - frames)
    assert [live(gateway, name) for name in refs] == ([[10]] * 3 if frames == 3 else [[]] * 3)
    if moment != "commit":
        ends = [(await settled(connector, name)).state for name in refs]
        assert set(ends) == ({OrderState.WORKING} if frames == 3 else {OrderState.NOT_SENT})
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["commit", "committed", "frame 1", "frame 2", "frame 3", "answered"])
async def test_oca_group_killed_at_any_step_is_accounted_for_leg_by_leg(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    """Each leg transmits by itself: those that were written work, those that were not are known as not sent."""
    ref = await crash(gateway, tmp_path, "oca", moment)
    frames = {"frame 1": 1, "frame 2": 2, "frame 3": 3, "answered": 3}.get(moment, 0)
    refs = [f"{ref}.{number}" for number in (1, 2, 3)]
    for name in refs[:frames]:
        await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref=name)
    connector = await restarted(gateway, make)
    if moment != "commit":
        ends = [(await settled(connector, name)).state for name in refs]
        assert ends == [OrderState.WORKING] * frames + [OrderState.NOT_SENT] * (3 - frames)
    assert [arrived(gateway, name) for name in refs] == [1] * frames + [0] * (3 - frames)
    assert [live(gateway, name) for name in refs] == [[10]] * frames + [[]] * (3 - frames)
    assert connector.risk.status()["open_orders"] == frames
    audit_is_whole(tmp_path)
