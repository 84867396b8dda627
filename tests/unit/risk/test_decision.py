from __future__ import annotations

import dataclasses
import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ibkr_connector.errors import RiskRejected
from ibkr_connector.risk import GateResult, RiskDecision

AT = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
SIZE = GateResult("order_size", False, Decimal(10), Decimal("1E+2"), "too large", "Make it smaller.")
VALUE = GateResult("order_value", False, Decimal(10), Decimal(11), "too dear", "Make it smaller.")
FINE = GateResult("market_hours", True, "open", "open")
REFUSED = RiskDecision("ref", False, (FINE, SIZE, VALUE), AT, "DU1", (("price", "5"),))


def test_a_decision_is_plain_immutable_and_complete() -> None:
    plain = REFUSED.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["gates"][1]["value"] == "100"
    assert plain["inputs"] == {"price": "5"}
    assert [gate["gate"] for gate in plain["gates"]] == ["market_hours", "order_size", "order_value"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        REFUSED.allowed = True  # type: ignore[misc]


def test_the_error_names_every_refusing_gate_and_each_remedy_once() -> None:
    with pytest.raises(RiskRejected, match="order_size: too large; order_value: too dear") as caught:
        REFUSED.require()
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.gates == ["order_size", "order_value"]
    assert error.remedy == "Make it smaller."
    assert error.context["decision"] == REFUSED.to_dict()
    assert error.context["order_ref"] == "ref"


def test_an_allowed_decision_goes_through() -> None:
    allowed = RiskDecision("ref", True, (FINE,), AT)
    assert allowed.require() is allowed
    assert allowed.reasons == ()


def test_a_refusal_without_a_remedy_has_the_general_one() -> None:
    bare = RiskDecision("ref", False, (GateResult("x", False, message="no"),), AT)
    assert "nothing was sent" in bare.to_error().remedy
