"""A kill holds at once, whatever the disk does; an end of it holds only when it is saved. Both say which it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ibkr_connector import statefile
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import InvalidRequest, JournalError, JournalUnwritable, RiskRejected
from ibkr_connector.orders.journal_file import JournalFile
from ibkr_connector.paper import PaperGateway
from ibkr_connector.store import write_atomic
from support.connector import MakeConnector
from support.threads import in_thread


class Disk:
    """Fails every commit while `full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        commit = JournalFile.commit

        def maybe(file: JournalFile) -> None:
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            commit(file)

        monkeypatch.setattr(JournalFile, "commit", maybe)

        def write(path: Path, data: bytes) -> None:
            if self.full:
                raise JournalUnwritable(f"{path} cannot be used: no space left on device.")
            write_atomic(path, data)

        monkeypatch.setattr(statefile, "write_atomic", write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def place(connector: IBKRConnector) -> None:
    await connector.place_limit_order("AAPL", 1, "BUY", 100)


async def test_kill_that_cannot_be_saved_says_so_and_stops_trading(
    connector: IBKRConnector, gateway: PaperGateway, disk: Disk
) -> None:
    disk.full = True
    with pytest.raises(JournalUnwritable, match="trading is stopped") as caught:
        connector.kill("fire")
    assert caught.value.context["killed"] is True
    assert connector.risk.killed
    with pytest.raises(RiskRejected, match="fire"):
        await place(connector)
    assert gateway.truth.of("recv_place") == []


async def test_kill_of_a_full_disk_is_saved_when_there_is_room_again(
    connector: IBKRConnector, gateway: PaperGateway, make: MakeConnector, disk: Disk
) -> None:
    disk.full = True
    with pytest.raises(JournalUnwritable):
        connector.kill("fire")
    disk.full = False
    await connector.close()  # it writes what it kept in memory
    second = make(gateway.tws_port)
    await second.connect()
    with pytest.raises(RiskRejected, match="fire"):
        await place(second)


async def test_resume_that_cannot_be_saved_resumes_nothing(
    connector: IBKRConnector, gateway: PaperGateway, make: MakeConnector, disk: Disk
) -> None:
    assert connector.kill("fire") is True
    disk.full = True
    with pytest.raises(JournalUnwritable, match="not resumed"):
        connector.resume("fire is out")
    with pytest.raises(RiskRejected, match="fire"):
        await place(connector)
    disk.full = False
    await connector.close()
    second = make(gateway.tws_port)
    await second.connect()
    with pytest.raises(RiskRejected, match="fire"):
        await place(second)
    assert second.resume("fire is out")
    await second.close()
    third = make(gateway.tws_port)
    await third.connect()
    await place(third)


async def test_kill_before_the_first_connect_holds_after_it_and_no_resume_can_be_saved_before(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = make(gateway.tws_port)
    assert await in_thread(lambda: connector.kill("early")) is False
    with pytest.raises(JournalError, match="Connect first"):
        connector.resume("was nothing")
    await connector.connect()
    with pytest.raises(RiskRejected, match="early"):
        await place(connector)
    assert connector.resume("was nothing")
    await place(connector)


@pytest.mark.parametrize("reason", ["", None, 5, "\ud800\0", "x" * 10_000_000], ids=["", "None", "5", "odd", "long"])
async def test_kill_waits_for_no_grammar_and_resume_wants_a_reason(connector: IBKRConnector, reason: object) -> None:
    assert connector.kill(reason) is True  # type: ignore[arg-type]
    assert connector.risk.killed
    with pytest.raises(InvalidRequest):
        connector.resume(reason)  # type: ignore[arg-type]
    assert connector.risk.killed
