"""The audit trail where others can read it: a file of JSON lines, and its head in the log (INV-15)."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.errors import RiskRejected
from ibkr_connector.orders.journal_read import JournalReader
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, incident


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_decision_and_send_is_in_the_exported_file_over_restarts_and_a_rotation(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, rotated = tmp_path / "logs" / "audit.jsonl", tmp_path / "logs" / "audit.1"
    caplog.set_level(logging.INFO, "ibkr_connector")
    for run in range(3):
        connector = make(gateway.tws_port, audit_file=path, risk_limits={"max_order_size": 10})
        await connector.connect()
        order = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref=f"sent-{run}")
        with pytest.raises(RiskRejected):
            await connector.place_limit_order("AAPL", 11, "BUY", 1, order_ref=f"refused-{run}")
        await order.cancel()
        await connector.close()
        if run == 1:
            path.rename(rotated)
    copied = {line["seq"]: line for line in [*lines(rotated), *lines(path)]}  # twice, perhaps, but never left out
    written = [copied[seq] for seq in sorted(copied)]
    assert len(lines(path)) < len(written)
    reader = JournalReader.of(tmp_path / "state", ACCOUNT)
    assert written == [{"account": ACCOUNT, **line.to_dict()} for line in reader.audit()]
    kinds = {(line["kind"], line["order_ref"]) for line in written}
    for run in range(3):
        assert {("sending", f"sent-{run}"), ("cancel_sent", f"sent-{run}"), ("risk_refused", f"refused-{run}")} <= kinds
    heads = [record.getMessage() for record in caplog.records if "the audit trail" in record.getMessage()]
    assert len(heads) == 6
    assert heads[0].endswith("line=0 head=" + "0" * 64)
    assert heads[-1].endswith(f"line={written[-1]['seq']} head={written[-1]['hash']}")
    assert reader.verify(known_head=written[0]["hash"]).ok


async def test_a_file_that_cannot_be_written_delays_no_order_and_is_told(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    """INV-12."""
    (tmp_path / "file").write_text("in the way of a folder")
    connector = make(gateway.tws_port, audit_file=tmp_path / "file" / "audit.jsonl")
    async with incident(connector, "audit_export"):
        await connector.connect()
        order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    assert (await order.cancel()).state.is_done


async def test_the_status_tells_the_head_of_the_trail(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port)
    assert connector.get_connection_status()["audit_head"] is None
    await connector.connect()
    await connector.place_limit_order("AAPL", 1, "BUY", 1)
    first = connector.get_connection_status()["audit_head"]
    await connector.place_limit_order("AAPL", 1, "BUY", 1)
    assert len(first) == 64
    assert connector.get_connection_status()["audit_head"] != first
