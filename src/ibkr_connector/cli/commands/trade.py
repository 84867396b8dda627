"""`buy`, `sell`, `cancel`: orders, one at a time.

These commands trade paper accounts only: a live account needs `allow_live=True` in a program's own code (INV-07), and
the command line has no option for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType

from ibkr_connector.backends.base import WhatIf
from ibkr_connector.cli.commands.orders import named, orders_table
from ibkr_connector.cli.common import Cx, command, fail, moment, until
from ibkr_connector.cli.output import facts, money
from ibkr_connector.errors import (
    InvalidRequest,
    OrderError,
    OrderNotFound,
    OrderValidationError,
    Outcome,
    RequestTimeout,
)
from ibkr_connector.models.order import Action, BracketRequest, OrderRequest, OrderSnapshot, OrderType, to_decimal
from ibkr_connector.symbols import parse_symbol

if TYPE_CHECKING:
    from ibkr_connector.connector import IBKRConnector
    from ibkr_connector.orders.handle import Order


class Scope(StrEnum):
    """Whose orders `cancel --all` ends."""

    OWN = "own"
    CLIENT = "client"
    ACCOUNT = "account"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "buy")(buy)
    command(app, "sell")(sell)
    command(app, "cancel")(cancel)


_COMMISSION_S = 1.0
"""How long a commission report is waited for: it follows its fill within moments."""
_Symbol = Annotated[str, typer.Argument(help="AAPL, EUR.USD, ES-202612-CME …")]
_Quantity = Annotated[str, typer.Argument(help="Shares or contracts.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The options of `buy` and `sell`: prices make the kind of order."""

    limit: Annotated[str | None, typer.Option("--limit", "-l", help="Limit price: a limit order.")] = None
    stop: Annotated[str | None, typer.Option(help="Stop price: a stop order (with --limit: stop-limit).")] = None
    trail: Annotated[str | None, typer.Option(help="Trailing stop: distance in currency.")] = None
    trail_percent: Annotated[str | None, typer.Option(help="Trailing stop: distance in percent.")] = None
    take_profit: Annotated[str | None, typer.Option(help="Bracket: target price (with --stop-loss).")] = None
    stop_loss: Annotated[str | None, typer.Option(help="Bracket: stop price (with --take-profit); exits are GTC.")] = (
        None
    )
    tif: Annotated[str, typer.Option(help="DAY, GTC, IOC, FOK, GTD.")] = "DAY"
    good_till: Annotated[str | None, typer.Option(help="With --tif GTD: ISO time with a zone.")] = None
    ttl: Annotated[
        float | None,
        typer.Option(help="The broker ends the order after so many seconds, whatever becomes of this machine (GTD)."),
    ] = None
    outside_rth: Annotated[bool, typer.Option("--outside-rth", help="May fill outside regular trading hours.")] = False
    ref: Annotated[str | None, typer.Option(help="Your own name for the order: the same ref is never sent twice.")] = (
        None
    )
    agent: Annotated[
        str | None, typer.Option(help="Which agent asks: the limits of [agent.NAME] hold beside the account's.")
    ] = None
    preview: Annotated[bool, typer.Option("--preview", help="Margin and commission; nothing is placed.")] = False
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the order's end after it was acknowledged.")
    ] = 0.0

    @property
    def is_bracket(self) -> bool:
        """Whether exits were given."""
        return self.take_profit is not None

    @property
    def order_type(self) -> OrderType:
        """What the prices given mean."""
        if self.trail is not None or self.trail_percent is not None:
            return OrderType.TRAILING_STOP
        if self.stop is not None:
            return OrderType.STOP if self.limit is None else OrderType.STOP_LIMIT
        return OrderType.MARKET if self.limit is None else OrderType.LIMIT

    def check(self) -> None:
        """Refuse prices that contradict each other. Raises OrderValidationError."""
        if (self.take_profit is None) != (self.stop_loss is None):
            raise OrderValidationError(
                "a bracket needs both --take-profit and --stop-loss.", field="stop_loss", legal="both, or neither"
            )
        if self.is_bracket and self.good_till is not None:
            raise OrderValidationError(
                "the entry of a bracket takes no --good-till.", field="good_till", legal="--tif DAY or GTC"
            )
        if self.is_bracket and (self.stop, self.trail, self.trail_percent) != (None, None, None):
            raise OrderValidationError(
                "the entry of a bracket is a market or a limit order: --stop and --trail do not go with it.",
                field="stop",
                legal="--limit, or nothing",
            )

    def request(self, symbol: str, quantity: str, action: Action) -> OrderRequest:
        """The order, checked. Raises OrderValidationError, InvalidRequest."""
        self.check()
        return OrderRequest.make(
            contract=parse_symbol(symbol),
            quantity=quantity,
            action=action.value,
            order_type=self.order_type,
            limit_price=self.limit,
            stop_price=self.stop,
            trail_amount=self.trail,
            trail_percent=self.trail_percent,
            tif=self.tif.upper(),
            good_till=moment(self.good_till, "good_till"),
            order_ttl=self.ttl,
            outside_rth=self.outside_rth,
            order_ref=self.ref,
            agent=self.agent,
        )


def buy(cx: Cx, symbol: _Symbol, quantity: _Quantity, ticket: Ticket) -> None:
    """Buy: a market order, or what the options make of it. Ends when the broker acknowledged it (see --wait)."""
    _trade(cx, ticket.request(symbol, quantity, Action.BUY), ticket)


def sell(cx: Cx, symbol: _Symbol, quantity: _Quantity, ticket: Ticket) -> None:
    """Sell: a market order, or what the options make of it. Ends when the broker acknowledged it (see --wait)."""
    _trade(cx, ticket.request(symbol, quantity, Action.SELL), ticket)


def _trade(cx: Cx, request: OrderRequest, ticket: Ticket) -> None:
    if ticket.preview:
        _preview(cx, request)
    elif ticket.is_bracket:
        _bracket(cx, request, ticket)
    else:
        _single(cx, request, ticket.wait)


def _preview(cx: Cx, request: OrderRequest) -> None:
    async def work() -> WhatIf:
        async with cx.trading() as connector:
            return await connector.preview_order(request)

    told = cx.run(work)
    pairs = [(name, getattr(told, name)) for name in told.__dataclass_fields__]
    cx.out.result(
        dict(pairs),
        lambda: facts(
            (name.replace("_", " "), money(value) if isinstance(value, Decimal) else value) for name, value in pairs
        ),
    )


def _single(cx: Cx, request: OrderRequest, wait: float) -> None:
    async def place(connector: IBKRConnector) -> list[Order]:
        return [await connector.orders.place(request, timeout=cx.options.timeout)]

    _place(cx, place, wait)


def _bracket(cx: Cx, request: OrderRequest, ticket: Ticket) -> None:
    def leg(suffix: str, kind: OrderType, **price: Decimal) -> OrderRequest:
        return OrderRequest.make(
            contract=request.contract,
            quantity=request.quantity,
            action=request.action.opposite.value,
            order_type=kind,
            tif="GTC",
            outside_rth=request.outside_rth,
            agent=request.agent,
            order_ref=f"{request.order_ref}{suffix}",
            **price,
        )

    legs = BracketRequest(
        entry=request,
        take_profit=leg(".tp", OrderType.LIMIT, limit_price=to_decimal(ticket.take_profit, "take_profit")),
        stop_loss=leg(".sl", OrderType.STOP, stop_price=to_decimal(ticket.stop_loss, "stop_loss")),
    )

    async def place(connector: IBKRConnector) -> list[Order]:
        return list((await connector.orders.place_bracket(legs, timeout=cx.options.timeout)).legs)

    _place(cx, place, ticket.wait)


def _place(cx: Cx, place: Callable[[IBKRConnector], Awaitable[list[Order]]], wait: float) -> None:
    """Place what `place` places, wait for the first of it and its commission if asked to, and tell the orders."""

    async def work() -> tuple[list[OrderSnapshot], OrderError | RequestTimeout | None]:
        async with cx.trading() as connector:
            placed = await place(connector)
            cx.under_way = lambda: [order.snapshot for order in placed]
            try:
                if wait:
                    await placed[0].filled(wait)
                    await until(lambda: placed[0].commission is not None, _COMMISSION_S)
            except (OrderError, RequestTimeout) as error:
                return cx.under_way(), error
            return cx.under_way(), None

    snapshots, error = cx.run(work)
    _tell_order(cx, snapshots, error)


def _tell_order(cx: Cx, found: list[OrderSnapshot], error: OrderError | RequestTimeout | None) -> None:
    """Show the order, whatever came of waiting for it; in JSON one document, with the error inside."""
    if error is None:
        cx.out.result(found[0].to_dict() if len(found) == 1 else [o.to_dict() for o in found], lambda: _drawn(found))
        return
    if cx.options.json:
        from ibkr_connector.cli.exits import exit_code

        code = exit_code(error)
        cx.out.document({**error.to_dict(), "exit_code": int(code), "orders": [o.to_dict() for o in found]})
        raise typer.Exit(code)
    cx.out.console.print(_drawn(found))
    fail(error, cx)


def _drawn(found: list[OrderSnapshot]) -> RenderableType:
    fills: list[tuple[str, Any]] = [
        (_time(fill.at), f"{fill.quantity.normalize():f} at {fill.price.normalize():f} on {fill.venue or '-'}")
        for order in found
        for fill in order.fills
    ]
    parts: list[RenderableType] = [orders_table(found)]
    if fills:
        parts.append(facts(fills, title="fills"))
    return Group(*parts)


def _time(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"


def cancel(
    cx: Cx,
    orders: Annotated[list[str] | None, typer.Argument(help="Order refs or order ids.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Cancel all orders of --scope.")] = False,
    scope: Annotated[
        Scope, typer.Option(help="own: this journal's; client: this client id's; account: everything, manual ones too.")
    ] = Scope.OWN,
    keep_exits: Annotated[
        bool,
        typer.Option("--keep-exits", help="With --all: leave stops and targets that can only close positions."),
    ] = False,
) -> None:
    """Cancel orders and wait for their end: cancelled, or filled if that was faster."""
    legal = "order refs, order ids, or --all"
    if orders and all_:
        raise InvalidRequest(
            f"cancel takes orders ({', '.join(orders)}) or --all, not both.",
            field="orders",
            value=orders,
            legal=legal,
            remedy="To cancel these alone leave out --all; to cancel all orders of --scope leave out their names.",
        )
    if not orders and not all_:
        raise InvalidRequest("name the orders to cancel, or say --all.", field="orders", legal=legal)
    if orders and scope is not Scope.OWN:
        raise InvalidRequest(
            f"--scope {scope.value} goes with --all: orders that are named are own ones.",
            field="scope",
            value=scope.value,
            legal="with --all",
            remedy="Leave out --scope. Orders of other programs: `ibkr-connector cancel --all --scope account`.",
        )
    if keep_exits and (not all_ or scope is not Scope.OWN):
        raise InvalidRequest(
            "--keep-exits goes with --all, and with own orders alone.", field="keep_exits", legal="--all --scope own"
        )

    async def increasing() -> list[OrderSnapshot]:
        async with cx.trading() as connector:
            working = await connector.get_open_orders(refresh=True)
            own = [await connector.get_order(order.order_ref) for order in working if order.ours]
            cx.under_way = lambda: [order.snapshot for order in own if not order.is_done]
            await connector.close(open_orders="cancel_increasing")
            return [order.snapshot for order in own if order.is_done]

    async def everything() -> list[OrderSnapshot]:
        # Needs no journal and no client id of its own: it works beside a running program, whatever state that is in.
        async with cx.reading() as connector:
            return await connector.cancel_all_orders("account", timeout=cx.options.timeout)

    async def work() -> list[OrderSnapshot]:
        async with cx.trading() as connector:
            if all_:
                return await connector.cancel_all_orders(scope.value, timeout=cx.options.timeout)
            try:
                wanted = [await connector.get_order(key) for key in orders or ()]
            except OrderNotFound as error:  # by its class the broker's answer to a cancel; here none was sent
                raise typer.Exit(cx.out.failed(error, Outcome.NOT_SENT)) from None
            cx.under_way = lambda: [order.snapshot for order in wanted if not order.is_done]
            return [await order.cancel(cx.options.timeout) for order in wanted]

    chosen = everything if all_ and scope is Scope.ACCOUNT else increasing if keep_exits else work
    found = named(cx, cx.run(chosen))
    cx.out.result(
        [o.to_dict() for o in found], lambda: orders_table(found) if found else "There was no order to cancel."
    )
