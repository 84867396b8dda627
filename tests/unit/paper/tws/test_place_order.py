"""placeOrder as the real libraries write it, at each server version, is read field by field."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import math
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.tws.fields import Cursor, FieldError
from ibkr_connector.paper.tws.framing import split_fields
from ibkr_connector.paper.tws.place_order import PlaceOrder, decode_place_order

LIBRARIES = [name for name in ("ib_insync", "ib_async", "ibapi") if importlib.util.find_spec(name)]
VERSIONS = {"ib_insync": 176, "ib_async": 178, "ibapi": 157}

Write = Callable[[dict[str, Any], dict[str, Any]], list[str]]


def _asyncio_writer(name: str) -> Write:
    async def load() -> Any:
        return importlib.import_module(name)  # inside a loop: ib_insync asks for one at import

    library = asyncio.run(load())

    def write(contract_fields: dict[str, Any], order_fields: dict[str, Any]) -> list[str]:
        sent: list[str] = []

        async def send() -> None:
            client = library.client.Client(object())
            client.connState = client.CONNECTED
            client._serverVersion = VERSIONS[name]
            client.sendMsg = sent.append
            contract = library.Contract(**_translated(library, contract_fields))
            client.placeOrder(77, contract, library.Order(**_translated(library, order_fields)))

        asyncio.run(send())
        return split_fields(sent[0].encode()) or []

    return write


def _translated(library: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Neutral descriptions of nested things, as this library's objects."""
    result = dict(fields)
    if "comboLegs" in result:
        result["comboLegs"] = [library.ComboLeg(**leg) for leg in result["comboLegs"]]
    if "orderComboLegs" in result:
        result["orderComboLegs"] = [library.OrderComboLeg(price=price) for price in result["orderComboLegs"]]
    for name in ("algoParams", "smartComboRoutingParams", "orderMiscOptions"):
        if name in result:
            result[name] = [library.TagValue(tag, value) for tag, value in result[name]]
    if "deltaNeutralContract" in result:
        result["deltaNeutralContract"] = library.DeltaNeutralContract(*result["deltaNeutralContract"])
    if "conditions" in result:
        result["conditions"] = [
            library.OrderCondition.createClass(values[0])(*values) for values in result["conditions"]
        ]
    return result


def _ibapi_writer() -> Write:
    from ibapi import order_condition
    from ibapi.client import EClient
    from ibapi.contract import ComboLeg, Contract, DeltaNeutralContract
    from ibapi.order import Order, OrderComboLeg
    from ibapi.tag_value import TagValue
    from ibapi.wrapper import EWrapper

    class Conn:
        def __init__(self) -> None:
            self.sent: list[bytes] = []

        def isConnected(self) -> bool:
            return True

        def sendMsg(self, data: bytes) -> None:
            self.sent.append(data)

    def condition(values: tuple[Any, ...]) -> Any:
        result = order_condition.Create(values[0])
        result.isConjunctionConnection = values[1] == "a"
        match values[0]:
            case 1:
                _, _, result.isMore, result.price, result.conId, result.exchange, result.triggerMethod = values
            case 3:
                _, _, result.isMore, result.time = values
            case 4:
                _, _, result.isMore, result.percent = values
            case 5:
                _, _, result.secType, result.exchange, result.symbol = values
            case 6:
                _, _, result.isMore, result.volume, result.conId, result.exchange = values
            case 7:
                _, _, result.isMore, result.changePercent, result.conId, result.exchange = values
        return result

    def filled(result: Any, fields: dict[str, Any]) -> Any:
        for name, value in fields.items():
            setattr(result, name, value)
        return result

    def write(contract_fields: dict[str, Any], order_fields: dict[str, Any]) -> list[str]:
        client, conn = EClient(EWrapper()), Conn()
        client.conn, client.serverVersion_ = conn, VERSIONS["ibapi"]
        client.setConnState(EClient.CONNECTED)
        contract_fields, order_fields = dict(contract_fields), dict(order_fields)
        if "comboLegs" in contract_fields:
            contract_fields["comboLegs"] = [filled(ComboLeg(), leg) for leg in contract_fields["comboLegs"]]
        if "deltaNeutralContract" in contract_fields:
            con_id, delta, price = contract_fields["deltaNeutralContract"]
            contract_fields["deltaNeutralContract"] = filled(
                DeltaNeutralContract(), {"conId": con_id, "delta": delta, "price": price}
            )
        if "orderComboLegs" in order_fields:
            order_fields["orderComboLegs"] = [
                filled(OrderComboLeg(), {"price": price}) for price in order_fields["orderComboLegs"]
            ]
        for name in ("algoParams", "smartComboRoutingParams"):
            if name in order_fields:
                order_fields[name] = [TagValue(tag, value) for tag, value in order_fields[name]]
        if "conditions" in order_fields:
            order_fields["conditions"] = [condition(values) for values in order_fields["conditions"]]
        client.placeOrder(77, filled(Contract(), contract_fields), filled(Order(), order_fields))
        return split_fields(conn.sent[0][4:]) or []

    return write


@pytest.fixture(scope="module", params=LIBRARIES)
def written(request: pytest.FixtureRequest) -> tuple[int, Write]:
    """The server version and the writer of one library."""
    name: str = request.param
    return VERSIONS[name], _ibapi_writer() if name == "ibapi" else _asyncio_writer(name)


STOCK = {"conId": 265598, "symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
LEGS = [
    {"conId": 1, "ratio": 1, "action": "BUY", "exchange": "SMART"},
    {"conId": 2, "ratio": 3, "action": "SELL", "exchange": "CBOE"},
]


def decoded(written: tuple[int, Write], order: dict[str, Any], contract: dict[str, Any] | None = None) -> PlaceOrder:
    version, write = written
    base = {"action": "BUY", "totalQuantity": 100, "orderType": "MKT"}
    return decode_place_order(Cursor(write(contract or STOCK, base | order), 1), version)


def test_a_market_order_is_read(written: tuple[int, Write]) -> None:
    order = decoded(written, {"tif": "DAY", "orderRef": "ref-1", "account": "DU1"})
    assert (order.order_id, order.contract.con_id, order.contract.symbol) == (77, 265598, "AAPL")
    assert order.decimal("total_quantity") == 100
    assert (order.values["action"], order.values["order_type"]) == ("BUY", "MKT")
    assert (order.values["tif"], order.values["order_ref"], order.values["account"]) == ("DAY", "ref-1", "DU1")
    assert order.flag("transmit")
    assert not order.flag("what_if")


def test_what_is_not_set_is_empty(written: tuple[int, Write]) -> None:
    order = decoded(written, {})
    for name in (
        "limit_price", "aux_price", "min_qty", "percent_offset", "nbbo_price_cap", "starting_price", "volatility",
        "trail_stop_price", "trailing_percent", "scale_init_level_size", "scale_price_increment", "trigger_price",
        "limit_price_offset", "adjusted_stop_price", "cash_qty",
    ):  # fmt: skip
        assert order.values[name] == "", name
    assert order.decimal("limit_price") is None
    assert order.integer("parent_id") == 0


def test_prices_flags_and_groups_are_read(written: tuple[int, Write]) -> None:
    order = decoded(
        written,
        {
            "orderType": "TRAIL LIMIT",
            "lmtPrice": 99.5,
            "auxPrice": 0.25,
            "trailingPercent": 1.5,
            "trailStopPrice": 98.0,
            "lmtPriceOffset": 0.05,
            "ocaGroup": "oca",
            "ocaType": 2,
            "parentId": 4,
            "transmit": False,
            "outsideRth": True,
            "hidden": True,
            "allOrNone": True,
            "whatIf": True,
            "goodTillDate": "20260601 15:00:00 US/Eastern",
            "displaySize": 10,
            "minQty": 5,
            "usePriceMgmtAlgo": True,
        },
    )
    assert order.decimal("limit_price") == Decimal("99.5")
    assert order.decimal("trailing_percent") == Decimal("1.5")
    assert order.decimal("limit_price_offset") == Decimal("0.05")
    assert (order.values["oca_group"], order.integer("oca_type"), order.integer("parent_id")) == ("oca", 2, 4)
    assert not order.flag("transmit")
    assert all(order.flag(name) for name in ("outside_rth", "hidden", "all_or_none", "what_if", "use_price_mgmt_algo"))
    assert order.values["good_till_date"] == "20260601 15:00:00 US/Eastern"
    assert (order.integer("display_size"), order.integer("min_qty")) == (10, 5)


def test_a_combination_with_leg_prices_and_routing_is_read(written: tuple[int, Write]) -> None:
    bag = {"symbol": "AAPL", "secType": "BAG", "exchange": "SMART", "currency": "USD", "comboLegs": LEGS}
    order = decoded(written, {"orderComboLegs": [1.25, 2.5], "smartComboRoutingParams": [("NonGuaranteed", "1")]}, bag)
    assert [(leg.con_id, leg.ratio, leg.action, leg.exchange) for leg in order.legs] == [
        (1, 1, "BUY", "SMART"),
        (2, 3, "SELL", "CBOE"),
    ]
    assert [leg.exempt_code for leg in order.legs] == ["-1", "-1"]
    assert order.leg_prices == ["1.25", "2.5"]
    assert order.routing == [("NonGuaranteed", "1")]


def test_every_kind_of_condition_is_read(written: tuple[int, Write]) -> None:
    conditions = [
        (1, "a", True, 100.5, 265598, "SMART", 2),
        (3, "o", False, "20260601 15:00:00 US/Eastern"),
        (4, "a", True, 30),
        (5, "a", "STK", "SMART", "AAPL"),
        (6, "o", True, 1000000, 265598, "SMART"),
        (7, "a", False, 2.5, 265598, "SMART"),
    ]
    order = decoded(written, {"conditions": conditions, "conditionsCancelOrder": True})
    assert [fields[0] for fields in order.conditions] == ["1", "3", "4", "5", "6", "7"]
    assert order.conditions[0] == ["1", "a", "1", "100.5", "265598", "SMART", "2"]
    assert order.conditions[3] == ["5", "a", "STK", "SMART", "AAPL"]
    assert order.flag("conditions_cancel_order")
    assert not order.flag("conditions_ignore_rth")


def test_algo_scale_hedge_and_delta_neutral_blocks_are_read(written: tuple[int, Write]) -> None:
    order = decoded(
        written,
        {
            "algoStrategy": "Twap",
            "algoParams": [("strategyType", "Marketable"), ("startTime", "09:00:00 US/Eastern")],
            "hedgeType": "F",
            "hedgeParam": "1.0",
            "scaleInitLevelSize": 10,
            "scaleSubsLevelSize": 5,
            "scalePriceIncrement": 0.5,
            "scaleAutoReset": True,
            "deltaNeutralOrderType": "MKT",
            "deltaNeutralConId": 9,
        },
        STOCK | {"deltaNeutralContract": (42, 0.6, 101.0)},
    )
    assert order.values["algo_strategy"] == "Twap"
    assert order.algo_params == [("strategyType", "Marketable"), ("startTime", "09:00:00 US/Eastern")]
    assert (order.values["hedge_type"], order.values["hedge_param"]) == ("F", "1.0")
    assert (order.values["scale_price_increment"], order.flag("scale_auto_reset")) == ("0.5", True)
    assert order.values["delta_neutral_con_id"] == "9"
    assert order.delta_neutral == ("42", "0.6", "101.0")


def test_a_pegged_order_brings_its_own_fields(written: tuple[int, Write]) -> None:
    order = decoded(
        written,
        {
            "orderType": "PEG BENCH",
            "referenceContractId": 8,
            "peggedChangeAmount": 0.1,
            "referenceChangeAmount": 0.2,
            "isPeggedChangeAmountDecrease": True,
            "referenceExchangeId": "ISLAND",
        },
    )
    assert order.integer("reference_contract_id") == 8
    assert order.flag("is_pegged_change_amount_decrease")
    assert order.values["reference_exchange_id"] == "ISLAND"


def test_the_fields_of_version_170_come_where_they_belong(written: tuple[int, Write]) -> None:
    if written[0] < 170:
        pytest.skip("server version 157 has no PEG BEST fields")
    best = decoded(
        written,
        {"orderType": "PEG BEST", "minCompeteSize": 100, "competeAgainstBestOffset": math.inf, "midOffsetAtWhole": 0.01,
         "midOffsetAtHalf": 0.005, "minTradeQty": 7},
        STOCK | {"exchange": "IBKRATS"},
    )  # fmt: skip
    assert best.decimal("compete_against_best_offset") == Decimal("Infinity")
    assert (best.values["mid_offset_at_whole"], best.values["min_trade_qty"]) == ("0.01", "7")
    middle = decoded(written, {"orderType": "PEG MID", "midOffsetAtWhole": 0.01, "midOffsetAtHalf": 0.005})
    assert middle.values["mid_offset_at_half"] == "0.005"


def test_what_comes_back_from_an_echo_can_be_sent_again(written: tuple[int, Write]) -> None:
    """A library changes an order with everything openOrder told it: `None` types, zeros, unset integers."""
    order = decoded(
        written,
        {
            "lmtPrice": 0.0, "auxPrice": 0.0, "displaySize": 2147483647, "rule80A": "0", "openClose": "",
            "deltaNeutralOrderType": "None", "deltaNeutralOpenClose": "?", "clearingIntent": "IB",
            "adjustedOrderType": "None", "cashQty": 0.0, "dontUseAutoPriceForHedge": True, "ocaType": 3,
        },
    )  # fmt: skip
    assert order.values["delta_neutral_order_type"] == "None"
    assert order.values["delta_neutral_open_close"] == "?"
    assert order.values["clearing_intent"] == "IB"
    assert order.flag("dont_use_auto_price_for_hedge")


def test_one_field_too_many_or_too_few_is_noticed(written: tuple[int, Write]) -> None:
    version, write = written
    fields = write(STOCK, {"action": "BUY", "totalQuantity": 100, "orderType": "MKT"})
    decode_place_order(Cursor(fields, 1), version)
    with pytest.raises(FieldError):
        decode_place_order(Cursor([*fields, ""], 1), version)
    with pytest.raises(FieldError):
        decode_place_order(Cursor(fields[:-1], 1), version)


@given(st.data())
def test_garbage_in_any_field_is_a_field_error_and_nothing_else(data: st.DataObject) -> None:
    fields = list(_SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(1, len(fields) - 1))
        fields[at] = data.draw(st.sampled_from(["", "x", "-1", "99999999999999999999", "1.5", "None", "Infinite", "2"]))
    if data.draw(st.booleans()):
        del fields[data.draw(st.integers(1, len(fields) - 1)) :]
    with suppress(FieldError):
        assert decode_place_order(Cursor(fields, 1), 178).order_id == int(fields[1])


_SAMPLE = [
    "3", "77", "265598", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "", "", "",
    "BUY", "100", "LMT", "10.5", "", "DAY", "", "", "O", "0", "ref", "1", "0", "0", "0", "0", "0", "0", "0",
    "", "0.0", "", "", "", "", "", "", "0", "", "-1", "0", "", "", "0", "", "", "0", "0", "", "0", "", "", "", "", "",
    "0", "", "", "", "", "0", "", "", "", "", "", "", "", "", "", "", "0", "", "", "0", "0", "",
    "", "0", "", "0", "0", "0", "0", "", "", "", "", "", "", "0", "", "", "", "", "", "", "", "", "0", "0", "0", "0",
    "", "", "0", "", "",
]  # fmt: skip


def test_the_sample_of_the_garbage_test_is_itself_in_order() -> None:
    order = decode_place_order(Cursor(_SAMPLE, 1), 178)
    assert (order.order_id, order.values["limit_price"]) == (77, "10.5")
