"""INV-07: which account may be touched."""

from __future__ import annotations

import pytest

from ibkr_connector.errors import LiveTradingRefused
from ibkr_connector.identity import choose_account


@pytest.mark.parametrize(
    ("accounts", "mode", "pinned", "allow_live", "chosen"),
    [
        (("DU1",), "paper", "", False, "DU1"),
        (("DU1", "DU2"), "paper", "DU2", False, "DU2"),
        (("U1",), "live", "U1", True, "U1"),
        (("U1", "U2"), "live", "U2", True, "U2"),
    ],
)
def test_the_right_account_is_chosen(
    accounts: tuple[str, ...], mode: str, pinned: str, allow_live: bool, chosen: str
) -> None:
    assert choose_account(accounts, mode=mode, pinned=pinned, allow_live=allow_live) == chosen


@pytest.mark.parametrize(
    ("accounts", "mode", "pinned", "allow_live"),
    [
        ((), "paper", "", False),
        (("U1",), "paper", "", False),
        (("U1",), "paper", "", True),
        (("U1",), "paper", "U1", True),
        (("DU1", "U1"), "paper", "DU1", True),
        (("DU1", "DU2"), "paper", "", False),
        (("DU1",), "paper", "DU9", False),
        (("U1",), "live", "U1", False),
        (("U1",), "live", "", True),
        (("U1",), "live", "U2", True),
    ],
)
def test_everything_else_is_refused(accounts: tuple[str, ...], mode: str, pinned: str, allow_live: bool) -> None:
    with pytest.raises(LiveTradingRefused) as caught:
        choose_account(accounts, mode=mode, pinned=pinned, allow_live=allow_live)
    assert caught.value.remedy


def test_a_live_account_number_is_not_shown_whole() -> None:
    with pytest.raises(LiveTradingRefused) as caught:
        choose_account(("U7654321",), mode="paper", pinned="", allow_live=False)
    assert "U7654321" not in str(caught.value)
    assert "U7654321" not in repr(caught.value.context)
