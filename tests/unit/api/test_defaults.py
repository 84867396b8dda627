"""What nobody said can be told from the same word said by the caller, also through the blocking twin."""

from __future__ import annotations

import inspect

import pytest

from ibkr_connector.api.defaults import BUY, MARKET, Default
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.sync import SyncConnector


@pytest.mark.parametrize("kind", [IBKRConnector, SyncConnector])
@pytest.mark.parametrize("method", ["place_order", "preview_order"])
def test_the_defaults_are_the_ones_that_nobody_said(kind: type, method: str) -> None:
    parameters = inspect.signature(getattr(kind, method)).parameters
    assert parameters["order_type"].default is MARKET
    assert parameters["action"].default is BUY


def test_a_default_reads_as_its_word() -> None:
    assert (MARKET, BUY) == ("MKT", "BUY")
    assert (repr(MARKET), f"{BUY}") == ("'MKT'", "BUY")
    assert not isinstance("MKT", Default)
