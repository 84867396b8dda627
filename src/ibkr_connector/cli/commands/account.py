"""`status`, `account`, `positions`: what is there."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ibkr_connector.backends.factory import with_endpoint
from ibkr_connector.cli.common import Cx, command
from ibkr_connector.cli.output import facts, money, table
from ibkr_connector.clock import system_clock
from ibkr_connector.models.account import AccountSummary, PortfolioPnL, Position

_DAILY_S = 2.0
"""How long the day's profit and loss is waited for: IBKR tells it about once a second."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "status")(status)
    command(app, "account")(account)
    command(app, "positions")(positions)


def status(cx: Cx) -> None:
    """Connect, and show the state of link, gateway and account."""

    async def work() -> dict[str, Any]:
        async with cx.reading() as connector:
            where = with_endpoint(connector.settings).connection
            told = await connector.get_server_time()
            return {
                **connector.get_connection_status(),
                "host": where.host,
                "port": where.port,
                "client_id": where.client_id,
                "mode": where.mode,
                "library": connector.capabilities.library,
                "server_time": told.isoformat(),
            }

    data = cx.run(work)
    first = ("connected", "account_id", "mode", "host", "port", "client_id", "library", "server_version", "server_time")
    names = [*first, *(name for name in data if name not in first)]
    cx.out.result(data, lambda: facts((name.replace("_", " "), _readable(data[name])) for name in names))


def _readable(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name} {'up' if up else 'down'}" for name, up in value.items()) or None
    return value


def account(cx: Cx) -> None:
    """Show net liquidation, cash, buying power, margins, and the profit and loss."""

    async def work() -> tuple[AccountSummary, PortfolioPnL]:
        async with cx.reading() as connector:
            summary, pnl = await connector.get_account_summary(), await connector.get_portfolio_pnl()
            deadline = system_clock.monotonic() + _DAILY_S
            while pnl.daily is None and system_clock.monotonic() < deadline:
                await system_clock.sleep(0.05)
                pnl = await connector.get_portfolio_pnl()
            return summary, pnl

    summary, pnl = cx.run(work)
    unit = summary.currency
    cx.out.result(
        {**summary.to_dict(), "pnl": pnl.to_dict()},
        lambda: facts(
            (
                ("account", summary.account_id),
                ("net liquidation", money(summary.net_liquidation, unit)),
                ("cash", money(summary.total_cash, unit)),
                ("buying power", money(summary.buying_power, unit)),
                ("available funds", money(summary.available_funds, unit)),
                ("initial margin", money(summary.init_margin, unit)),
                ("maintenance margin", money(summary.maint_margin, unit)),
                ("unrealised P&L", money(pnl.unrealized, unit)),
                ("realised P&L", money(pnl.realized, unit)),
                ("P&L of the day", money(pnl.daily, unit)),
                ("positions", pnl.positions_count),
            )
        ),
    )


def positions(
    cx: Cx,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the broker again after connecting.")] = False,
) -> None:
    """Show the open positions; an empty list is the broker's own word."""

    async def work() -> list[Position]:
        async with cx.reading() as connector:
            return await connector.get_positions(refresh=refresh)

    found = cx.run(work)
    cx.out.result(
        [position.to_dict() for position in found],
        lambda: positions_table(found) if found else Text("No open positions."),
    )


def positions_table(found: list[Position]) -> Table:
    """Positions, one a line, figures in each contract's currency."""
    columns = ("symbol", "type", "quantity", "average cost", "price", "value", "unrealised", "realised", "currency")
    return table(
        columns,
        [
            (
                p.contract.local_symbol or p.contract.symbol,
                p.contract.sec_type,
                p.quantity,
                round(p.avg_cost, 4),
                p.market_price,
                money(p.market_value),
                money(p.unrealized_pnl),
                money(p.realized_pnl),
                p.contract.currency,
            )
            for p in found
        ],
        right="quantity, average cost, price, value, unrealised, realised",
    )
