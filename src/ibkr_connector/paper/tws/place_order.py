"""Reading placeOrder (message 3): about 120 fields by position, some of them only when earlier ones say so.

The layout is a table of runs of plain fields with the conditional blocks between them. Every field is checked for its
type and kept as the text the client sent, so that openOrder can echo it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from . import versions
from .contracts import Leg, WireContract, read_contract, read_order_legs
from .fields import Cursor, FieldError, is_unset
from .layouts_orders import is_peg_bench
from .wire import INFINITE

# Field types: text, integer, number, boolean.
T, J, N, B = "text", "integer", "number", "boolean"

_Run = tuple[tuple[str, str], ...]

_MAIN: Final[_Run] = (
    ("action", T), ("total_quantity", N), ("order_type", T), ("limit_price", N), ("aux_price", N), ("tif", T),
    ("oca_group", T), ("account", T), ("open_close", T), ("origin", J), ("order_ref", T), ("transmit", B),
    ("parent_id", J), ("block_order", B), ("sweep_to_fill", B), ("display_size", J), ("trigger_method", J),
    ("outside_rth", B), ("hidden", B),
)  # fmt: skip
_AFTER_LEGS: Final[_Run] = (
    ("shares_allocation", T), ("discretionary_amount", N), ("good_after_time", T), ("good_till_date", T),
    ("fa_group", T), ("fa_method", T), ("fa_percentage", T),
)  # fmt: skip
_MIDDLE: Final[_Run] = (
    ("model_code", T), ("short_sale_slot", J), ("designated_location", T), ("exempt_code", J), ("oca_type", J),
    ("rule_80a", T), ("settling_firm", T), ("all_or_none", B), ("min_qty", J), ("percent_offset", N),
    ("e_trade_only", B), ("firm_quote_only", B), ("nbbo_price_cap", N), ("auction_strategy", J),
    ("starting_price", N), ("stock_ref_price", N), ("delta", N), ("stock_range_lower", N), ("stock_range_upper", N),
    ("override_percentage_constraints", B), ("volatility", N), ("volatility_type", J),
    ("delta_neutral_order_type", T), ("delta_neutral_aux_price", N),
)  # fmt: skip
_DELTA_NEUTRAL: Final[_Run] = (
    ("delta_neutral_con_id", J), ("delta_neutral_settling_firm", T), ("delta_neutral_clearing_account", T),
    ("delta_neutral_clearing_intent", T), ("delta_neutral_open_close", T), ("delta_neutral_short_sale", B),
    ("delta_neutral_short_sale_slot", J), ("delta_neutral_designated_location", T),
)  # fmt: skip
_SCALE: Final[_Run] = (
    ("continuous_update", B), ("reference_price_type", J), ("trail_stop_price", N), ("trailing_percent", N),
    ("scale_init_level_size", J), ("scale_subs_level_size", J), ("scale_price_increment", N),
)  # fmt: skip
_SCALE_DETAILS: Final[_Run] = (
    ("scale_price_adjust_value", N), ("scale_price_adjust_interval", J), ("scale_profit_offset", N),
    ("scale_auto_reset", B), ("scale_init_position", J), ("scale_init_fill_qty", J), ("scale_random_percent", B),
)  # fmt: skip
_ACTIVE: Final[_Run] = (
    ("scale_table", T), ("active_start_time", T), ("active_stop_time", T), ("hedge_type", T),
)  # fmt: skip
_CLEARING: Final[_Run] = (
    ("opt_out_smart_routing", B), ("clearing_account", T), ("clearing_intent", T), ("not_held", B),
)  # fmt: skip
_WHAT_IF: Final[_Run] = (
    ("algo_id", T), ("what_if", B), ("order_misc_options", T), ("solicited", B), ("randomize_size", B),
    ("randomize_price", B),
)  # fmt: skip
_PEG_BENCH: Final[_Run] = (
    ("reference_contract_id", J), ("is_pegged_change_amount_decrease", B), ("pegged_change_amount", N),
    ("reference_change_amount", N), ("reference_exchange_id", T),
)  # fmt: skip
_ADJUSTED: Final[_Run] = (
    ("adjusted_order_type", T), ("trigger_price", N), ("limit_price_offset", N), ("adjusted_stop_price", N),
    ("adjusted_stop_limit_price", N), ("adjusted_trailing_amount", N), ("adjustable_trailing_unit", J),
    ("ext_operator", T), ("soft_dollar_tier_name", T), ("soft_dollar_tier_value", T), ("cash_qty", N),
    ("mifid2_decision_maker", T), ("mifid2_decision_algo", T), ("mifid2_execution_trader", T),
    ("mifid2_execution_algo", T), ("dont_use_auto_price_for_hedge", B), ("is_oms_container", B),
    ("discretionary_up_to_limit_price", B), ("use_price_mgmt_algo", B),
)  # fmt: skip

# What follows the condition type, for each type of order condition.
_CONDITIONS: Final[dict[int, _Run]] = {
    1: (("conjunction", T), ("isMore", B), ("price", N), ("conId", J), ("exchange", T), ("triggerMethod", J)),
    3: (("conjunction", T), ("isMore", B), ("time", T)),
    4: (("conjunction", T), ("isMore", B), ("percent", N)),
    5: (("conjunction", T), ("secType", T), ("exchange", T), ("symbol", T)),
    6: (("conjunction", T), ("isMore", B), ("volume", J), ("conId", J), ("exchange", T)),
    7: (("conjunction", T), ("isMore", B), ("changePercent", N), ("conId", J), ("exchange", T)),
}

NO_DELTA_NEUTRAL: Final = frozenset({"", "None"})
"""deltaNeutralOrderType and adjustedOrderType come back as `None` in openOrder; clients modify with what came back."""


@dataclass(slots=True)
class PlaceOrder:
    """One placeOrder request: the order id, the contract, and every order field by its IBKR name in snake case."""

    order_id: int
    contract: WireContract
    values: dict[str, str] = field(default_factory=dict)
    """Field name -> the text that was sent (unset markers replaced by the empty string)."""
    leg_prices: list[str] = field(default_factory=list)
    routing: list[tuple[str, str]] = field(default_factory=list)
    """Smart combo routing parameters."""
    algo_params: list[tuple[str, str]] = field(default_factory=list)
    conditions: list[list[str]] = field(default_factory=list)
    """Each condition's fields, its type first."""
    delta_neutral: tuple[str, str, str] | None = None
    """conId, delta and price of a delta neutral contract."""

    @property
    def legs(self) -> list[Leg]:
        """The legs of a combination."""
        return self.contract.legs

    def flag(self, name: str) -> bool:
        """A boolean field; False where it was not sent."""
        return self.values.get(name, "") in {"1", "true"}

    def integer(self, name: str, default: int = 0) -> int:
        """An integer field."""
        text = self.values.get(name, "")
        return int(text) if text else default

    def decimal(self, name: str) -> Decimal | None:
        """A number field; None where it is not set."""
        text = self.values.get(name, "")
        if text == INFINITE:
            return Decimal("Infinity")
        return Decimal(text) if text else None


def decode_place_order(cursor: Cursor, version: int) -> PlaceOrder:
    """Read a placeOrder message, from its order id on, as a client of this server version writes it.

    Raises FieldError when a field is missing, superfluous or of the wrong type.
    """
    order = PlaceOrder(cursor.request_id("orderId"), read_contract(cursor))
    contract = order.contract
    contract.sec_id_type = cursor.text("secIdType")
    contract.sec_id = cursor.text("secId")
    _read(cursor, order, _MAIN)
    if contract.is_combo:
        _read_combo(cursor, order)
    _read(cursor, order, _AFTER_LEGS)
    if version < versions.NO_FA_PROFILE:
        _read(cursor, order, (("fa_profile", T),))
    _read(cursor, order, _MIDDLE)
    if order.values["delta_neutral_order_type"]:
        _read(cursor, order, _DELTA_NEUTRAL)
    _read(cursor, order, _SCALE)
    if (order.decimal("scale_price_increment") or 0) > 0:
        _read(cursor, order, _SCALE_DETAILS)
    _read(cursor, order, _ACTIVE)
    if order.values["hedge_type"]:
        _read(cursor, order, (("hedge_param", T),))
    _read(cursor, order, _CLEARING)
    if cursor.flag("deltaNeutralContract"):
        order.delta_neutral = (cursor.text("conId"), cursor.text("delta"), cursor.text("price"))
    _read(cursor, order, (("algo_strategy", T),))
    if order.values["algo_strategy"]:
        order.algo_params = _tags(cursor, "number of algo parameters")
    _read(cursor, order, _WHAT_IF)
    if is_peg_bench(version, order.values["order_type"]):
        _read(cursor, order, _PEG_BENCH)
    _read_conditions(cursor, order)
    _read(cursor, order, _ADJUSTED)
    _read_tail(cursor, order, version)
    cursor.end()
    return order


def _read(cursor: Cursor, order: PlaceOrder, run: _Run) -> None:
    for name, kind in run:
        order.values[name] = _checked(cursor, name, kind)


def _checked(cursor: Cursor, name: str, kind: str) -> str:
    """The next field's text, if it is of this type; an unset marker becomes the empty string."""
    text = cursor.peek()
    match kind:
        case "integer":
            cursor.integer(name, empty=0)
        case "number":
            cursor.decimal(name)
        case "boolean":
            cursor.flag(name)
        case _:
            return cursor.text(name)
    return "" if is_unset(text) else text


def _tags(cursor: Cursor, name: str) -> list[tuple[str, str]]:
    return [(cursor.text("tag"), cursor.text("value")) for _ in range(cursor.count(name, 2))]


def _read_combo(cursor: Cursor, order: PlaceOrder) -> None:
    order.contract.legs = read_order_legs(cursor)
    order.leg_prices = [_checked(cursor, "leg price", N) for _ in range(cursor.count("number of leg prices"))]
    order.routing = _tags(cursor, "number of routing parameters")


def _read_conditions(cursor: Cursor, order: PlaceOrder) -> None:
    for _ in range(cursor.count("number of conditions", 4)):
        kind = cursor.integer("condition type")
        run = _CONDITIONS.get(kind)
        if run is None:
            raise FieldError(f"condition type {kind} is none of {sorted(_CONDITIONS)}")
        order.conditions.append([str(kind), *(_checked(cursor, name, what) for name, what in run)])
    if order.conditions:
        _read(cursor, order, (("conditions_ignore_rth", B), ("conditions_cancel_order", B)))


def _read_tail(cursor: Cursor, order: PlaceOrder, version: int) -> None:
    gates: tuple[tuple[int, tuple[str, str]], ...] = (
        (versions.DURATION, ("duration", J)),
        (versions.POST_TO_ATS, ("post_to_ats", J)),
        (versions.AUTO_CANCEL_PARENT, ("auto_cancel_parent", B)),
        (versions.ADVANCED_ORDER_REJECT, ("advanced_error_override", T)),
        (versions.MANUAL_ORDER_TIME, ("manual_order_time", T)),
    )
    for since, item in gates:
        if version >= since:
            _read(cursor, order, (item,))
    if version < versions.PEG_BEST_PEG_MID:
        return
    if order.contract.exchange == "IBKRATS":
        _read(cursor, order, (("min_trade_qty", J),))
    compact = order.values["order_type"].replace(" ", "")
    if compact == "PEGBEST":
        _read(cursor, order, (("min_compete_size", J), ("compete_against_best_offset", N)))
        if order.values["compete_against_best_offset"] == INFINITE:
            _read(cursor, order, (("mid_offset_at_whole", N), ("mid_offset_at_half", N)))
    elif compact == "PEGMID":
        _read(cursor, order, (("mid_offset_at_whole", N), ("mid_offset_at_half", N)))
