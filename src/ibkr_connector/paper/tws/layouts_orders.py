"""What the gateway says about orders: openOrder (5), orderStatus (3), completedOrder (101), execDetails (11) and
commissionReport (59), field by field for each server version.

Values nobody set are written as real gateways write them; they were taken from captured messages: ocaType 3,
displaySize 2147483647, rule80A 0, clearingIntent IB, the order types `None` (which make eight more fields follow) …
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from ..exchange.types import WEB_CLIENT_ID, Commission, Execution, MarginPreview, OrderTicket, OrderView
from ..instruments import Instrument
from . import versions
from .wire import HOME_ZONE, UNSET_DOUBLE, UNSET_INTEGER, double, flag, moment, money, number

NO_PARENT_PERM_ID: Final = "9223372036854775807"
SHAREHOLDER: Final = "Not an insider or substantial shareholder"

Fields = list[str]

_ZERO: Final = Decimal(0)

_RARE_SEGMENTS: Final = "0"
"""Lists (legs, conditions, …) travel in `OrderTicket.extras` as their wire segment, joined by NUL, count first."""


def order_contract(instrument: Instrument, exchange: str) -> Fields:
    """The eleven contract fields of orders. Strike `0` and right `?` are what stocks carry here."""
    is_option = instrument.sec_type in {"OPT", "FOP", "WAR"}
    return [
        str(instrument.con_id),
        instrument.symbol,
        instrument.sec_type,
        instrument.expiry,
        number(instrument.strike),
        instrument.right if is_option else "?",
        instrument.multiplier_text,
        exchange,
        instrument.currency,
        instrument.local_symbol,
        instrument.trading_class,
    ]


def _shown(number: int, client_id: int) -> str:
    """An id of a client's order. Orders from elsewhere (here: the Web API) have none: 0, as orders of TWS itself."""
    return "0" if client_id == WEB_CLIENT_ID else str(number)


def open_order(version: int, view: OrderView, preview: MarginPreview | None = None) -> Fields:
    """Message 5, openOrder. With `preview` it is the answer to a what-if order."""
    ticket = view.ticket
    get = ticket.extras.get
    fields = ["5", _shown(ticket.order_id, ticket.client_id), *order_contract(ticket.instrument, ticket.exchange)]
    fields += [
        ticket.action,
        number(ticket.quantity),
        ticket.order_type,
        double(ticket.limit_price or _ZERO),
        double(ticket.aux_price or _ZERO),
        ticket.tif,
        ticket.oca_group,
        ticket.account,
        "",  # openClose: empty for retail accounts, whatever was sent
        get("origin") or "0",
        ticket.order_ref,
        _shown(ticket.client_id, ticket.client_id),
        str(view.perm_id),
        flag(ticket.outside_rth),
        flag(ticket.hidden),
        get("discretionary_amount") or "0",
        get("good_after_time", ""),
        f"{view.perm_id}.1/{ticket.account}/100",  # sharesAllocation: obsolete, still filled
    ]
    fields += [*_advisor(version, ticket), get("model_code", ""), ticket.good_till, get("rule_80a") or "0"]
    fields += [
        get("percent_offset", ""),
        get("settling_firm", ""),
        get("short_sale_slot") or "0",
        get("designated_location", ""),
        get("exempt_code") or "-1",
        get("auction_strategy") or "0",
        *(get(name, "") for name in _BOX),
        _display_size(ticket),
        get("block_order") or "0",
        get("sweep_to_fill") or "0",
        flag(ticket.all_or_none),
        get("min_qty", ""),
        str(ticket.oca_type or 3),
        "0",  # eTradeOnly
        "0",  # firmQuoteOnly
        "",  # nbboPriceCap
        _shown(ticket.parent_id, ticket.client_id),
        get("trigger_method") or "0",
    ]
    fields += [*_volatility(ticket, is_open=True), *_trailing(ticket), "", ""]  # basisPoints and their type
    fields += [*_combo(ticket), *_scale(ticket), *_hedge(ticket)]
    fields += [get("opt_out_smart_routing") or "0", *_clearing(ticket), *_algo(ticket)]
    fields += [get("solicited") or "0", flag(preview is not None), view.status.value]
    fields += _margins(preview)
    fields += [view.warning_text if preview is None else preview.warning_text]
    fields += [get("randomize_size") or "0", get("randomize_price") or "0"]
    fields += [*_peg_bench(version, ticket), *_conditions(ticket)]
    fields += [
        get("adjusted_order_type") or "None",
        get("trigger_price") or UNSET_DOUBLE,
        # The trailing stop price comes a second time; clients keep this one.
        double(ticket.trail_stop_price) or UNSET_DOUBLE,
        get("limit_price_offset") or UNSET_DOUBLE,
        get("adjusted_stop_price") or UNSET_DOUBLE,
        get("adjusted_stop_limit_price") or UNSET_DOUBLE,
        get("adjusted_trailing_amount") or UNSET_DOUBLE,
        get("adjustable_trailing_unit") or "0",
        get("soft_dollar_tier_name", ""),
        get("soft_dollar_tier_value", ""),
        "",  # the tier's display name
        get("cash_qty") or "0",
        "1",  # dontUseAutoPriceForHedge: always on
        get("is_oms_container") or "0",
        get("discretionary_up_to_limit_price") or "0",
        get("use_price_mgmt_algo") or "0",
    ]
    # Both client libraries of 176 and 178 read duration from 159 on; 158 itself is not a version we speak.
    if version >= versions.DURATION:
        fields += [get("duration", "")]
    if version >= versions.POST_TO_ATS:
        fields += [get("post_to_ats", "")]
    if version >= versions.AUTO_CANCEL_PARENT:
        fields += [get("auto_cancel_parent") or "0"]
    return fields + _peg_best_mid(version, ticket)


def order_status(view: OrderView, client_id: int | None = None) -> Fields:
    """Message 3, orderStatus. Whoever cancelled another client's order is shown its own `client_id`."""
    ticket = view.ticket
    return [
        "3",
        _shown(ticket.order_id, ticket.client_id),
        view.status.value,
        number(view.filled),
        number(view.remaining),
        number(view.avg_fill_price),
        str(view.perm_id),
        _shown(ticket.parent_id, ticket.client_id),
        number(view.last_fill_price),
        _shown(ticket.client_id, ticket.client_id) if client_id is None else str(client_id),
        view.why_held,
        number(view.market_cap_price),
    ]


def completed_order(version: int, view: OrderView) -> Fields:
    """Message 101, completedOrder: much of openOrder, without ids of the client, with when and how it ended."""
    ticket = view.ticket
    get = ticket.extras.get
    fields = ["101", *order_contract(ticket.instrument, ticket.exchange)]
    fields += [
        ticket.action,
        number(ticket.quantity),
        ticket.order_type,
        double(ticket.limit_price or _ZERO),
        double(ticket.aux_price or _ZERO),
        ticket.tif,
        ticket.oca_group,
        ticket.account,
        "",  # openClose
        get("origin") or "0",
        ticket.order_ref,
        str(view.perm_id),
        flag(ticket.outside_rth),
        flag(ticket.hidden),
        get("discretionary_amount") or "0",
        get("good_after_time", ""),
    ]
    fields += [*_advisor(version, ticket), get("model_code", ""), ticket.good_till, get("rule_80a") or "0"]
    fields += [
        get("percent_offset", ""),
        get("settling_firm", ""),
        get("short_sale_slot") or "0",
        get("designated_location", ""),
        get("exempt_code") or "-1",
        *(get(name, "") for name in _BOX),
        _display_size(ticket),
        get("sweep_to_fill") or "0",
        flag(ticket.all_or_none),
        get("min_qty", ""),
        str(ticket.oca_type or 3),
        get("trigger_method") or "0",
    ]
    fields += [*_volatility(ticket, is_open=False), *_trailing(ticket)]
    fields += [*_combo(ticket), *_scale(ticket), *_hedge(ticket), *_clearing(ticket), *_algo(ticket)]
    fields += [get("solicited") or "0", view.status.value]
    fields += [get("randomize_size") or "0", get("randomize_price") or "0"]
    fields += [*_peg_bench(version, ticket), *_conditions(ticket)]
    fields += [
        double(ticket.trail_stop_price) or UNSET_DOUBLE,
        get("limit_price_offset") or UNSET_DOUBLE,
        get("cash_qty") or "0",
        "1",  # dontUseAutoPriceForHedge
        get("is_oms_container") or "0",
        "",  # autoCancelDate: only long GTC orders have one
        number(view.filled),
        UNSET_INTEGER,  # refFuturesConId
        get("auto_cancel_parent") or "0",
        SHAREHOLDER,
        "0",  # imbalanceOnly
        "0",  # routeMarketableToBbo
        NO_PARENT_PERM_ID,
        "" if view.completed_at is None else _completed_at(view),
        view.completed_status,
    ]
    return fields + _peg_best_mid(version, ticket)


def exec_details(version: int, execution: Execution, request_id: int = -1) -> Fields:
    """Message 11, execDetails: -1 for a live fill, the request's id in the answer to reqExecutions."""
    instrument = execution.instrument
    fields = [
        "11",
        str(request_id),
        _shown(execution.order_id, execution.client_id),
        str(instrument.con_id),
        instrument.symbol,
        instrument.sec_type,
        instrument.expiry,
        double(instrument.strike),
        instrument.right,
        instrument.multiplier_text,
        execution.venue,
        instrument.currency,
        instrument.local_symbol,
        instrument.trading_class,
        execution.exec_id,
        moment(version, execution.at),
        execution.account,
        execution.venue,
        execution.side,
        number(execution.shares),
        number(execution.price),
        str(execution.perm_id),
        _shown(execution.client_id, execution.client_id),
        "0",  # liquidation
        number(execution.cum_qty),
        number(execution.avg_price),
        execution.order_ref,
        "",  # evRule
        "",  # evMultiplier
        "",  # modelCode
        str(execution.liquidity),
    ]
    if version >= versions.PENDING_PRICE_REVISION:
        fields += ["0"]
    return fields


def commission_report(commission: Commission) -> Fields:
    """Message 59, commissionReport. An opening trade has realised nothing: the unset marker."""
    realized = commission.realized_pnl
    return [
        "59",
        "1",
        commission.exec_id,
        number(commission.amount),
        commission.currency,
        UNSET_DOUBLE if realized is None else number(realized),
        UNSET_DOUBLE,  # yield
        "",  # yieldRedemptionDate
    ]


# --- the blocks both order messages share ----------------------------------------------------------------------------

_BOX: Final = ("starting_price", "stock_ref_price", "delta", "stock_range_lower", "stock_range_upper")


def _advisor(version: int, ticket: OrderTicket) -> Fields:
    get = ticket.extras.get
    fields = [get("fa_group", ""), get("fa_method", ""), get("fa_percentage", "")]
    return [*fields, get("fa_profile", "")] if version < versions.NO_FA_PROFILE else fields


def _display_size(ticket: OrderTicket) -> str:
    size = ticket.extras.get("display_size", "")
    return UNSET_INTEGER if size in {"", "0"} else size


def _volatility(ticket: OrderTicket, *, is_open: bool) -> Fields:
    """Volatility and delta neutral fields, up to and including referencePriceType."""
    get = ticket.extras.get
    fields = [
        get("volatility", ""),
        get("volatility_type") or "0",
        get("delta_neutral_order_type") or "None",
        get("delta_neutral_aux_price", ""),
        get("delta_neutral_con_id") or "0",
    ]
    if is_open:
        fields += [
            get("delta_neutral_settling_firm", ""),
            get("delta_neutral_clearing_account", ""),
            get("delta_neutral_clearing_intent", ""),
            get("delta_neutral_open_close") or "?",
        ]
    return [
        *fields,
        get("delta_neutral_short_sale") or "0",
        get("delta_neutral_short_sale_slot") or "0",
        get("delta_neutral_designated_location", ""),
        get("continuous_update") or "0",
        get("reference_price_type") or "0",
    ]


def _trailing(ticket: OrderTicket) -> Fields:
    return [double(ticket.trail_stop_price), double(ticket.trailing_percent)]


def _segment(ticket: OrderTicket, name: str) -> Fields:
    return (ticket.extras.get(name) or _RARE_SEGMENTS).split("\0")


def _combo(ticket: OrderTicket) -> Fields:
    return [
        ticket.extras.get("combo_legs_description", ""),
        *_segment(ticket, "combo_legs"),
        *_segment(ticket, "leg_prices"),
        *_segment(ticket, "smart_routing"),
    ]


def _scale(ticket: OrderTicket) -> Fields:
    get = ticket.extras.get
    increment = get("scale_price_increment", "")
    fields = [
        get("scale_init_level_size") or UNSET_INTEGER,
        get("scale_subs_level_size") or UNSET_INTEGER,
        increment,
    ]
    if increment and Decimal(increment) > 0:
        fields += [
            get("scale_price_adjust_value", ""),
            get("scale_price_adjust_interval", ""),
            get("scale_profit_offset", ""),
            get("scale_auto_reset") or "0",
            get("scale_init_position", ""),
            get("scale_init_fill_qty", ""),
            get("scale_random_percent") or "0",
        ]
    return fields


def _hedge(ticket: OrderTicket) -> Fields:
    get = ticket.extras.get
    kind = get("hedge_type", "")
    return [kind, get("hedge_param", "")] if kind else [""]


def _clearing(ticket: OrderTicket) -> Fields:
    """Clearing fields, notHeld and the delta neutral contract."""
    get = ticket.extras.get
    return [
        get("clearing_account", ""),
        get("clearing_intent") or "IB",
        get("not_held") or "0",
        *_segment(ticket, "delta_neutral_contract"),
    ]


def _algo(ticket: OrderTicket) -> Fields:
    strategy = ticket.extras.get("algo_strategy", "")
    return [strategy, *_segment(ticket, "algo_params")] if strategy else [""]


def _margins(preview: MarginPreview | None) -> Fields:
    """Nine margin figures, three commissions and their currency."""
    if preview is None:
        return [UNSET_DOUBLE] * 9 + [""] * 4
    return [
        money(preview.init_before),
        money(preview.maint_before),
        money(preview.equity_before),
        money(preview.init_change),
        money(preview.maint_change),
        money(preview.equity_change),
        money(preview.init_after),
        money(preview.maint_after),
        money(preview.equity_after),
        "" if preview.commission is None else number(preview.commission),
        "" if preview.min_commission is None else number(preview.min_commission),
        "" if preview.max_commission is None else number(preview.max_commission),
        preview.commission_currency,
    ]


def is_peg_bench(version: int, order_type: str) -> bool:
    """Whether five more fields follow in orders of this type; the spelling without a space came with 177."""
    return order_type == "PEG BENCH" or (order_type == "PEGBENCH" and version >= versions.NO_FA_PROFILE)


def _peg_bench(version: int, ticket: OrderTicket) -> Fields:
    if not is_peg_bench(version, ticket.order_type):
        return []
    get = ticket.extras.get
    return [
        get("reference_contract_id") or "0",
        get("is_pegged_change_amount_decrease") or "0",
        get("pegged_change_amount") or "0",
        get("reference_change_amount") or "0",
        get("reference_exchange_id", ""),
    ]


def _conditions(ticket: OrderTicket) -> Fields:
    segment = _segment(ticket, "conditions")
    if segment == ["0"]:
        return segment
    get = ticket.extras.get
    return [*segment, get("conditions_ignore_rth") or "0", get("conditions_cancel_order") or "0"]


def _peg_best_mid(version: int, ticket: OrderTicket) -> Fields:
    if version < versions.PEG_BEST_PEG_MID:
        return []
    get = ticket.extras.get
    return [
        get("min_trade_qty", ""),
        get("min_compete_size", ""),
        get("compete_against_best_offset", ""),
        get("mid_offset_at_whole", ""),
        get("mid_offset_at_half", ""),
    ]


def _completed_at(view: OrderView) -> str:
    at = view.completed_at
    return "" if at is None else f"{at.astimezone(HOME_ZONE):%Y%m%d %H:%M:%S} US/Eastern"
