"""The exception tree: what callers, retry decorators and worker processes rely on."""

from __future__ import annotations

import inspect
import json
import math
import pickle
import re
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector import errors
from ibkr_connector.errors import Outcome, TradingError

CLASSES = [
    value for _, value in sorted(vars(errors).items()) if inspect.isclass(value) and issubclass(value, TradingError)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_survives_pickle_with_all_it_says(cls: type[TradingError]) -> None:
    error = cls("it broke", code=201, order_ref="A1", retry_after=3.5)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (copy.message, copy.code, copy.remedy, copy.context) == (
        error.message,
        error.code,
        error.remedy,
        error.context,
    )
    assert str(copy) == str(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_says_what_to_do_next(cls: type[TradingError]) -> None:
    assert cls.__doc__
    assert cls.default_remedy.endswith((".", ";"))
    assert isinstance(cls.outcome, Outcome)
    assert cls.default_remedy in str(cls("it broke"))


def test_no_order_error_is_an_oserror_a_retry_decorator_would_send_again() -> None:
    order_errors = [cls for cls in CLASSES if issubclass(cls, errors.OrderError)]
    assert len(order_errors) > 10
    assert not [cls for cls in order_errors if issubclass(cls, OSError)]


def test_what_may_have_arrived_is_never_called_retryable_but_a_cancel() -> None:
    unknown = {cls for cls in CLASSES if cls.outcome is Outcome.UNKNOWN and cls.retryable}
    assert unknown == {errors.CancelInDoubt}


def test_the_guides_hierarchy_holds() -> None:
    assert issubclass(errors.IBKRError, errors.TradingError)
    assert issubclass(errors.IBKRConnectionError, ConnectionError)
    assert issubclass(errors.OrderError, errors.TradingError)
    assert issubclass(errors.MarketDataError, errors.TradingError)


def test_the_tree_in_the_docstring_names_every_class() -> None:
    drawn = set(re.findall(r"[A-Z][A-Za-z]+", errors.__doc__ or ""))
    assert {cls.__name__ for cls in CLASSES} <= drawn


def test_to_dict_is_plain() -> None:
    data = errors.RiskRejected("no", gates=["order_size"], decision={"allowed": False}).to_dict()
    assert data["error"] == "RiskRejected"
    assert data["outcome"] == "not_sent"
    assert data["context"] == {"gates": ["order_size"], "decision": {"allowed": False}}


def test_to_dict_s_context_is_what_json_has() -> None:
    context: dict[str, Any] = {
        "a": None,
        "b": Decimal("0.5"),
        "c": 2,
        "d": math.nan,
        "e": errors.Outcome.REJECTED,
        "f": ("x", {"y"}),
    }
    data = errors.InvalidRequest("no", **context).to_dict()["context"]
    assert data == {"a": None, "b": 0.5, "c": 2, "d": None, "e": "rejected", "f": ["x", ["y"]]}
    assert json.dumps(data, allow_nan=False)


def test_message_with_code_starts_with_the_code() -> None:
    assert str(errors.OrderRejected("no funds", code=201)).startswith("[201] no funds")
