"""Changes survive the disk, and what is not one is refused."""

from __future__ import annotations

import dataclasses
import typing
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import JournalCorrupt
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.changes import (
    CHANGE_KINDS,
    END_OF_STATE,
    Change,
    Drift,
    End,
    NotSent,
    OrderTerms,
    SettledHow,
    decode_change,
    encode_change,
)
from unit.orders.kit import NOW, fill, request

TERMS = OrderTerms.of_request(request())
SAMPLES: dict[Any, Any] = {
    str: st.text(max_size=20),
    int: st.integers(0, 2**40),
    int | None: st.none() | st.integers(0, 2**40),
    bool: st.booleans(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=6),
    Decimal | None: st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=6),
    Operation: st.sampled_from(Operation),
    SettledHow: st.sampled_from(SettledHow),
    OrderState: st.sampled_from(OrderState),
    OrderTerms: st.just(TERMS),
    Execution: st.just(fill(3).execution),
    tuple[str, ...]: st.lists(st.text(max_size=6)).map(tuple),
    tuple[Drift, ...]: st.lists(st.builds(Drift, field=st.text(), intended=st.text(), echoed=st.text())).map(tuple),
}


def change_of(cls: type[Change], data: st.DataObject) -> Change:
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {
        one.name: NOW + timedelta(microseconds=7) if one.name == "at" else data.draw(SAMPLES[hints[one.name]])
        for one in dataclasses.fields(cls)
    }
    return cls(**values)


@pytest.mark.parametrize("kind", sorted(CHANGE_KINDS))
@given(data=st.data())
def test_every_kind_comes_back_from_the_disk_as_it_went(kind: str, data: st.DataObject) -> None:
    change = change_of(CHANGE_KINDS[kind], data)
    assert change.kind == kind
    assert decode_change(kind, encode_change(change)) == change


def test_names_on_disk_are_unique_and_cover_every_end() -> None:
    assert len(CHANGE_KINDS) == len(set(CHANGE_KINDS.values()))
    ends = {kind for kind, cls in CHANGE_KINDS.items() if issubclass(cls, End | NotSent)}
    assert ends == {"not_sent", "filled", "cancelled", "rejected", "expired", "never_arrived"}
    assert {state for state in OrderState if state.is_done} == set(END_OF_STATE)


@pytest.mark.parametrize(
    ("kind", "data"), [("nonsense", "{}"), ("filled", "{"), ("filled", "{}"), ("fill", '{"at": 1}')]
)
def test_what_is_no_change_is_corruption(kind: str, data: str) -> None:
    with pytest.raises(JournalCorrupt) as caught:
        decode_change(kind, data)
    assert caught.value.context["kind"] == kind
