"""`buy`, `sell`, `cancel`: orders, one at a time.

These commands trade paper accounts only: a live account needs `allow_live=True` in a program's own code (INV-07), and
the command line has no option for it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from ibkr_connector.backends.base import WhatIf
from ibkr_connector.cli.commands.orders import orders_table
from ibkr_connector.cli.common import Cx, command, fail
from ibkr_connector.cli.output import facts, money
from ibkr_connector.errors import InvalidRequest, OrderError, OrderValidationError, RequestTimeout
from ibkr_connector.models.order import Action, OrderRequest, OrderSnapshot, OrderType
from ibkr_connector.symbols import parse_symbol


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


_Symbol = Annotated[str, typer.Argument(help="AAPL, EUR.USD, ES-202612-CME …")]
_Quantity = Annotated[str, typer.Argument(help="Shares or contracts.")]
_Limit = Annotated[str | None, typer.Option("--limit", "-l", help="Limit price: a limit order.")]
_Stop = Annotated[str | None, typer.Option("--stop", help="Stop price: a stop order (with --limit: stop-limit).")]
_Trail = Annotated[str | None, typer.Option("--trail", help="Trailing stop: distance in currency.")]
_TrailPercent = Annotated[str | None, typer.Option("--trail-percent", help="Trailing stop: distance in percent.")]
_Target = Annotated[str | None, typer.Option("--take-profit", help="Bracket: target price (needs --stop-loss).")]
_Protect = Annotated[str | None, typer.Option("--stop-loss", help="Bracket: stop price (needs --take-profit).")]
_Tif = Annotated[str, typer.Option(help="DAY, GTC, IOC, FOK.")]
_Outside = Annotated[bool, typer.Option("--outside-rth", help="May fill outside regular trading hours.")]
_Ref = Annotated[str | None, typer.Option(help="Your own name for the order: the same ref is never sent twice.")]
_Preview = Annotated[bool, typer.Option("--preview", help="Margin and commission; nothing is placed.")]
_Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the order's end after it was acknowledged.")]


def buy(
    cx: Cx,
    symbol: _Symbol,
    quantity: _Quantity,
    limit: _Limit = None,
    stop: _Stop = None,
    trail: _Trail = None,
    trail_percent: _TrailPercent = None,
    take_profit: _Target = None,
    stop_loss: _Protect = None,
    tif: _Tif = "DAY",
    outside_rth: _Outside = False,
    ref: _Ref = None,
    preview: _Preview = False,
    wait: _Wait = 0.0,
) -> None:
    """Buy: a market order, or what the options make of it. Ends when the broker acknowledged it (see --wait)."""
    prices = _Prices(limit, stop, trail, trail_percent, take_profit, stop_loss)
    _trade(cx, Action.BUY, symbol, quantity, prices, tif, ref, outside_rth=outside_rth, preview=preview, wait=wait)


def sell(
    cx: Cx,
    symbol: _Symbol,
    quantity: _Quantity,
    limit: _Limit = None,
    stop: _Stop = None,
    trail: _Trail = None,
    trail_percent: _TrailPercent = None,
    take_profit: _Target = None,
    stop_loss: _Protect = None,
    tif: _Tif = "DAY",
    outside_rth: _Outside = False,
    ref: _Ref = None,
    preview: _Preview = False,
    wait: _Wait = 0.0,
) -> None:
    """Sell: a market order, or what the options make of it. Ends when the broker acknowledged it (see --wait)."""
    prices = _Prices(limit, stop, trail, trail_percent, take_profit, stop_loss)
    _trade(cx, Action.SELL, symbol, quantity, prices, tif, ref, outside_rth=outside_rth, preview=preview, wait=wait)


class _Prices:
    """The prices of the command line, and the kind of order they make."""

    def __init__(
        self,
        limit: str | None,
        stop: str | None,
        trail: str | None,
        trail_percent: str | None,
        take_profit: str | None,
        stop_loss: str | None,
    ) -> None:
        self.limit, self.stop, self.trail, self.trail_percent = limit, stop, trail, trail_percent
        self.take_profit, self.stop_loss = take_profit, stop_loss
        if (take_profit is None) != (stop_loss is None):
            raise OrderValidationError(
                "a bracket needs both --take-profit and --stop-loss.", field="stop_loss", legal="both, or neither"
            )
        if self.is_bracket and (stop, trail, trail_percent) != (None, None, None):
            raise OrderValidationError(
                "the entry of a bracket is a market or a limit order: --stop and --trail do not go with it.",
                field="stop",
                legal="--limit, or nothing",
            )
        if (trail is not None or trail_percent is not None) and limit is not None:
            raise OrderValidationError(
                "a trailing stop has no --limit.", field="limit", legal="--trail or --trail-percent, and maybe --stop"
            )

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


def _trade(
    cx: Cx,
    action: Action,
    symbol: str,
    quantity: str,
    prices: _Prices,
    tif: str,
    ref: str | None,
    *,
    outside_rth: bool,
    preview: bool,
    wait: float,
) -> None:
    # Everything is checked here, before a connection is made.
    request = OrderRequest.make(
        contract=parse_symbol(symbol),
        quantity=quantity,
        action=action.value,
        order_type=prices.order_type,
        limit_price=prices.limit,
        stop_price=prices.stop,
        trail_amount=prices.trail,
        trail_percent=prices.trail_percent,
        tif=tif.upper(),
        outside_rth=outside_rth,
        order_ref=ref,
    )
    if preview:
        _preview(cx, request)
    elif prices.is_bracket:
        _bracket(cx, request, prices, wait)
    else:
        _single(cx, request, wait)


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
    async def work() -> tuple[OrderSnapshot, OrderError | RequestTimeout | None]:
        async with cx.trading() as connector:
            order = await connector.orders.place(request, timeout=cx.options.timeout)
            try:
                if wait:
                    await order.filled(wait)
            except (OrderError, RequestTimeout) as error:
                return order.snapshot, error
            return order.snapshot, None

    snapshot, error = cx.run(work)
    _tell_order(cx, [snapshot], error)


def _bracket(cx: Cx, request: OrderRequest, prices: _Prices, wait: float) -> None:
    async def work() -> tuple[list[OrderSnapshot], OrderError | RequestTimeout | None]:
        async with cx.trading() as connector:
            bracket = await connector.orders.bracket(
                request.contract,
                request.quantity,
                request.action.value,
                entry_price=request.limit_price,
                take_profit_price=prices.take_profit,
                stop_loss_price=prices.stop_loss,
                order_ref=request.order_ref,
                tif=request.tif.value,
                outside_rth=request.outside_rth,
            )
            error = None
            try:
                if wait:
                    await bracket.entry.filled(wait)
            except (OrderError, RequestTimeout) as problem:
                error = problem
            return [leg.snapshot for leg in bracket.legs], error

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
) -> None:
    """Cancel orders and wait for their end: cancelled, or filled if that was faster."""
    if bool(orders) == all_:
        raise InvalidRequest(
            "name the orders to cancel, or say --all.", field="orders", legal="order refs, order ids, or --all"
        )

    async def work() -> list[OrderSnapshot]:
        async with cx.trading() as connector:
            if all_:
                return await connector.cancel_all_orders(scope.value, timeout=cx.options.timeout)
            wanted = [await connector.get_order(key) for key in orders or ()]
            return [await order.cancel(cx.options.timeout) for order in wanted]

    found = cx.run(work)
    cx.out.result(
        [o.to_dict() for o in found], lambda: orders_table(found) if found else "There was no order to cancel."
    )
