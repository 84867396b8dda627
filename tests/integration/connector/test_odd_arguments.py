"""Whatever a caller hands in: it works, or one typed error comes, nothing hangs, nothing is sent, nothing is journaled.

One table over every public coroutine of the facade and of its resources: each parameter in turn gets every odd value,
the others good ones.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import InvalidRequest, OrderValidationError, RequestTimeout, TradingError
from ibkr_connector.models.arguments import shown
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.journal import FILE_NAME, JournalReader
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT

Call = Callable[[Any], Awaitable[object]]
PATIENCE_S = 20.0
ROOMS = ("", "orders", "account", "contracts", "market", "history")
LIFE = {"connect", "disconnect", "close", "ready", "flatten"}
"""Life cycle: other tests' subject. A flatten changes what all others may do: it has a test of its own below."""
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e30,
    1e300,
    10**400,
    10**5000,
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("1e-400"),
    "",
    " ",
    "²",
    "１０",
    "1_000",
    "9" * 5000,
    "a\0b",
    "é\n",
    "\ud800",
    "x" * 10_000_000,
    b"AAPL",
    [],
    {},
    object(),
    date(2026, 1, 1),
    datetime(2026, 1, 1),  # noqa: DTZ001 - without a zone
    datetime.max.replace(tzinfo=UTC),
    Contract(),
    Contract(symbol=5),  # type: ignore[arg-type]
    Contract(symbol="AAPL", strike=float("nan")),
]
REFRESH: list[object] = [None, "no", object()]
"""Any truth will do there."""
GOOD: dict[str, Any] = {
    "symbol": "AAPL",
    "quantity": 1,
    "action": "BUY",
    "limit_price": 1.0,
    "stop_price": 10_000.0,
    "order": "no-such-order",
    "as_": "cancelled",
    "state": "cancelled",
    "evidence": "test",
    "pattern": "AA",
    "price": None,
    "orders": [{"symbol": "AAPL", "quantity": 1, "action": "BUY", "order_ref": f"good-{leg}"} for leg in "ab"],
    "request": OrderRequest.make(contract=Contract.stock("AAPL"), action="BUY", quantity=1, order_ref="good"),
}
ALSO: dict[str, dict[str, Any]] = {
    "place_bracket_order": {"entry_price": 100.0},
    "bracket": {"entry_price": 100.0},
    "place_trailing_stop_order": {"trail_percent": 5},
    "trailing_stop": {"trail_percent": 5},
    "change": {"quantity": 1},
}
OPTIONS = (
    *("order_ref", "tif", "good_till", "outside_rth", "account", "oca_group", "agent", "reference_price"),
    *(
        "contract",
        "order_type",
        "limit_price",
        "stop_price",
        "trail_amount",
        "trail_percent",
        "timeout",
        "oca_type",
        "nonsense",
    ),
)
NAMES = {"order_ref", "oca_group", "agent", "group"}
"""Plain text of their owner's."""


def is_legal(parameter: str, value: object) -> bool:
    """Whether an odd value is a good one there, and an order would be placed rightly."""
    if value is None:
        by_default = {"order_ref", "good_till", "account", "oca_group", "agent", "reference_price", "timeout"}
        by_default |= {"group", "oca_type"}
        by_default |= {"limit_price", "stop_price", "trail_amount", "trail_percent", "price"}
        by_default |= {"take_profit_price", "stop_loss_price"}
        return parameter in by_default
    return (value == "1_000" and parameter in NAMES) or (value is True and parameter == "outside_rth")


def coroutines(connector: IBKRConnector, room: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    holder: Any = getattr(connector, room) if room else connector
    for name, _ in inspect.getmembers(type(holder), inspect.iscoroutinefunction):
        if not name.startswith("_") and name not in LIFE:
            yield name, getattr(holder, name)


def calls(name: str, method: Callable[..., Any]) -> Iterator[tuple[str, object, dict[str, Any]]]:
    """Every parameter of a method with every odd value, the rest good."""
    parameters = inspect.signature(method).parameters
    needed = {
        key: GOOD[key]
        for key, spec in parameters.items()
        if spec.default is spec.empty and spec.kind is not spec.VAR_KEYWORD
    }
    names = [key for key, spec in parameters.items() if spec.kind is not spec.VAR_KEYWORD]
    if any(spec.kind is spec.VAR_KEYWORD for spec in parameters.values()):
        names += [option for option in OPTIONS if option not in names]
    for parameter in names:
        others = {} if parameter.startswith("trail_") else ALSO.get(name, {})
        for value in REFRESH if parameter == "refresh" else ODD:
            if not is_legal(parameter, value):
                yield parameter, value, {**needed, **others, parameter: value}


def nothing_kept(connector: IBKRConnector, tmp_path: Path) -> None:
    assert connector.orders_in_doubt() == []
    assert JournalReader(tmp_path / "state" / ACCOUNT / FILE_NAME).recent() == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room or "facade")
async def test_odd_argument_ends_in_a_typed_error_and_nothing_is_sent(
    connector: IBKRConnector, gateway: PaperGateway, tmp_path: Path, room: str
) -> None:
    tried = 0
    wrong: list[str] = []
    for name, method in coroutines(connector, room):
        for parameter, value, arguments in calls(name, method):
            tried += 1
            said = f"{name}({parameter}={shown(value)})"
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await method(**arguments)
            except TradingError as error:
                if len(str(error)) > 1_000:
                    wrong.append(f"{said}: an error of {len(str(error))} characters")
            except BaseException as error:  # noqa: BLE001 - that is the question
                wrong.append(f"{said}: {type(error).__name__}: {str(error)[:100]}")
            if gateway.truth.of("recv_place"):
                pytest.fail(f"an order was sent by {said}")
    assert wrong == []
    assert tried > 10
    nothing_kept(connector, tmp_path)
    assert connector.connected


async def test_odd_argument_of_a_plain_method_ends_in_a_typed_error(connector: IBKRConnector) -> None:
    for value in ODD:
        for call in (
            lambda v: connector.stream_quotes(v),
            lambda v: connector.stream_quotes("AAPL", buffer=v),
            lambda v: connector.on_event(v),
            lambda v: connector.resume(v if not isinstance(v, str) or len(v) > 4_000 else "\0"),
            lambda v: connector.reduce_only(v if not isinstance(v, str) or len(v) > 4_000 else "\0"),
        ):
            with pytest.raises(TradingError):
                call(value)


async def test_odd_flatten_ends_in_a_typed_error_and_changes_nothing(connector: IBKRConnector) -> None:
    for value in ODD:
        with pytest.raises(TradingError):
            await connector.flatten("test", scope=value)
        if not isinstance(value, str) or len(value) > 4_000:
            with pytest.raises(TradingError):
                await connector.flatten(value)
        if shown(value) not in {"0", "Decimal('1E-400')"}:
            with pytest.raises(TradingError):
                await connector.flatten("test", timeout=value)
    assert connector.risk.trading.state.value == "active"


async def test_odd_change_or_wait_leaves_a_working_order_alone(connector: IBKRConnector, gateway: PaperGateway) -> None:
    order = await connector.place_limit_order("AAPL", 10, "BUY", 150)
    before = len(gateway.truth.entries)
    changes: list[Call] = [
        lambda v: connector.modify_order(order, quantity=v),
        lambda v: connector.modify_order(order, price=v),
        lambda v: connector.modify_order(order, stop_price=v),
        lambda v: order.modify(limit_price=v),
    ]
    waits: list[Call] = [order.done, order.filled, order.cancel, lambda v: connector.cancel_order(order, timeout=v)]
    for value in ODD:
        if value is None:
            continue
        for call in changes:
            with pytest.raises(TradingError):
                await call(value)
        if shown(value) in {"0", "Decimal('1E-400')"}:
            continue  # a wait of no length is a wait
        for wait in waits:
            with pytest.raises(InvalidRequest):
                async with asyncio.timeout(PATIENCE_S):
                    await wait(value)
    assert [entry.kind for entry in gateway.truth.entries[before:] if entry.kind.startswith("recv_")] == []
    assert order.quantity == 10


async def test_zero_seconds_are_zero_seconds(connector: IBKRConnector, gateway: PaperGateway) -> None:
    await connector.get_contract("AAPL")
    with pytest.raises(TradingError):
        await connector.orders.place(connector.orders.request("AAPL", 1, "BUY", "LMT", limit_price=100), timeout=0)
    with pytest.raises(RequestTimeout):
        await connector.contracts.get("MSFT", timeout=0)
    assert gateway.truth.of("recv_place") == []
    order = await connector.place_limit_order("AAPL", 1, "BUY", 100)
    with pytest.raises(RequestTimeout):
        await order.filled(0)


async def test_impatient_caller_does_not_take_the_answer_from_a_patient_one(connector: IBKRConnector) -> None:
    hasty, patient = await asyncio.gather(
        connector.contracts.get("MSFT", timeout=0),
        connector.contracts.get("MSFT", timeout=20),
        return_exceptions=True,
    )
    assert isinstance(hasty, RequestTimeout)
    assert not isinstance(patient, BaseException)
    assert patient.contract.symbol == "MSFT"


# --- two words for one thing ------------------------------------------------------------------------------------------


async def test_whatever_is_said_beside_a_request_is_refused_by_name(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    request = connector.orders.request("AAPL", 1, "SELL", "LMT", limit_price=10_000)
    with pytest.raises(OrderValidationError) as caught:
        await connector.place_order(request, 500, "MKT", "BUY", 200, tif="GTC")
    assert caught.value.context["fields"] == ["quantity", "order_type", "action", "price", "tif"]
    for beside in (
        {"quantity": 1},
        {"order_type": "MKT"},  # the default, said: it is not the request's
        {"action": "BUY"},
        {"price": 5},
        {"tif": "GTC"},
        {"order_ref": "other"},
    ):
        for call in (connector.place_order, connector.preview_order):
            with pytest.raises(OrderValidationError, match=next(iter(beside))):
                await call(request, **beside)
    assert gateway.truth.of("recv_place") == []
    assert (await connector.place_order(request)).action == "SELL"


@pytest.mark.parametrize(
    ("method", "arguments", "fields"),
    [
        ("place_order", {"order_type": "LMT", "price": 150, "limit_price": 99}, {"price", "limit_price"}),
        ("place_order", {"order_type": "LMT", "price": 150, "limit_price": 150}, {"price", "limit_price"}),
        ("place_order", {"order_type": "STP", "price": 150, "stop_price": 99}, {"price", "stop_price"}),
        ("place_order", {"order_type": "STP LMT", "price": 1, "limit_price": 2}, {"price", "limit_price"}),
        ("preview_order", {"order_type": "LMT", "price": 150, "limit_price": 99}, {"price", "limit_price"}),
        ("place_market_order", {"order_type": "LMT", "limit_price": 150}, {"order_type"}),
        ("place_limit_order", {"limit_price": 1, "order_type": "MKT"}, {"order_type"}),
        ("place_limit_order", {"limit_price": 1, "contract": Contract.stock("MSFT")}, {"symbol", "contract"}),
        ("place_bracket_order", {"entry_price": 100, "limit_price": 99}, {"limit_price"}),
        ("place_bracket_order", {"entry_price": 100, "contract": Contract.stock("MSFT")}, {"contract"}),
    ],
)
async def test_two_words_for_one_thing_are_refused_by_name(
    connector: IBKRConnector, gateway: PaperGateway, method: str, arguments: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(OrderValidationError) as caught:
        await getattr(connector, method)(symbol="AAPL", quantity=1, action="BUY", **arguments)
    assert fields <= set(caught.value.context["fields"])
    assert gateway.truth.of("recv_place") == []


async def test_a_change_takes_one_price_not_two(connector: IBKRConnector) -> None:
    limit = await connector.place_limit_order("AAPL", 10, "BUY", 150)
    stop = await connector.place_stop_order("AAPL", 10, "BUY", 1_000)
    with pytest.raises(OrderValidationError, match="price and limit_price"):
        await connector.modify_order(limit, price=151, limit_price=152)
    with pytest.raises(OrderValidationError, match="price and stop_price"):
        await connector.modify_order(stop, price=1_001, stop_price=1_002)
    assert (await connector.modify_order(limit, price=151)).limit_price == 151
    assert (await connector.modify_order(stop, price=1_001)).stop_price == 1_001


async def test_bracket_whose_exits_would_have_too_long_a_name_says_so(connector: IBKRConnector) -> None:
    with pytest.raises(OrderValidationError, match="37 characters"):
        await connector.place_bracket_order("AAPL", 10, 150, order_ref="x" * 38)
    with pytest.raises(OrderValidationError, match="order_ref"):
        await connector.place_bracket_order("AAPL", 10, 150, order_ref="")


async def test_good_till_that_has_passed_at_the_broker_is_refused_before_anything_is_kept(
    connector: IBKRConnector, gateway: PaperGateway, tmp_path: Path
) -> None:
    past = await connector.get_server_time()
    with pytest.raises(OrderValidationError) as caught:
        await connector.place_limit_order("AAPL", 10, "BUY", 150, tif="GTD", good_till=past)
    assert caught.value.context["field"] == "good_till"
    assert gateway.truth.of("recv_place") == []
    nothing_kept(connector, tmp_path)
