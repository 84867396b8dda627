"""`demo`: start a gateway, play the script, judge the result."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ibkr_connector.cli.common import Cx, command, head_of
from ibkr_connector.cli.demo.child import GatewayProcess, gateway_process
from ibkr_connector.cli.demo.script import RECORDED_GAP_S, Outcome, Script
from ibkr_connector.cli.demo.story import Story
from ibkr_connector.cli.demo.verify import Evidence, QuoteAt, TopOfBook, Verified, verify
from ibkr_connector.cli.demo.ways import CONFIRMED, Front, Way, check, make_way
from ibkr_connector.cli.exits import ExitCode
from ibkr_connector.cli.output import facts, money, table
from ibkr_connector.clock import system_clock
from ibkr_connector.errors import InvalidRequest

_NEW_YORK = ZoneInfo("America/New_York")
_ACCOUNT = "DU1234567"
_ABOUT = "A paper gateway runs in a process of its own: a market, an exchange and {} No IBKR account takes part."


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "demo", local=True)(demo)


def demo(
    cx: Cx,
    *,
    backend: Annotated[
        Front, typer.Option(help="tws: TWS's protocol; web: the Web API (needs the extra paper-web).")
    ] = Front.TWS,
    oauth: Annotated[
        bool, typer.Option("--oauth", help="With web: headless with OAuth 1.0a and test keys (needs the extra oauth).")
    ] = False,
    market: Annotated[str, typer.Option(help="synthetic, csv:DIR or lean:DIR.")] = "synthetic",
    symbol: Annotated[str | None, typer.Option(help="What to trade (synthetic: AAPL, recorded data: SPY).")] = None,
    start: Annotated[
        str | None, typer.Option(help="Market time to start at, ISO; without a zone it is New York's.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Market seconds per second (synthetic: 1, recorded data: 60).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same synthetic market.")] = 7,
    fast: Annotated[bool, typer.Option("--fast", help="No pauses between the steps.")] = False,
) -> None:
    """Trade a minute on the paper gateway: bars, quotes, market, limit and bracket orders; ends flat, and proves it.

    Exit code 0 only if the account is flat and the gateway's own log confirms every claim.
    """
    check(backend, oauth=oauth)
    recorded = market != "synthetic"
    moment = _moment(start)
    rate = speed if speed is not None else (60.0 if recorded else 1.0)
    options = ["--account", _ACCOUNT, "--market", market, "--seed", str(seed), "--speed", f"{rate:g}"]
    if moment is not None:
        options += ["--start", moment.isoformat()]
    pause = 0.0 if fast or cx.options.json or not cx.out.console.is_terminal else 1.0
    story = Story(cx.out, pause=pause, web=backend is Front.WEB)
    demo_run = _Demo(cx, story, symbol or ("SPY" if recorded else "AAPL"), market, seed, rate)
    data = cx.run(lambda: demo_run.run(options, backend, oauth=oauth))
    if cx.options.json:
        cx.out.document(data)
    if not data["ok"]:
        raise typer.Exit(ExitCode.ERROR)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"start={text!r} is no ISO time.", field="start", value=text, legal="e.g. 2013-10-07T10:00"
        ) from None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=_NEW_YORK)


class _Demo:
    """One run."""

    def __init__(self, cx: Cx, story: Story, symbol: str, market: str, seed: int, speed: float) -> None:
        self._cx, self._story, self._symbol = cx, story, symbol
        self._market, self._seed, self._speed = market, seed, speed

    async def run(self, options: list[str], front: Front, *, oauth: bool) -> dict[str, Any]:
        """Everything, from the gateway's start to the judgement; temporary files and processes are gone afterwards."""
        begin = system_clock.monotonic()
        with tempfile.TemporaryDirectory(prefix="ibkr-demo-") as name:
            folder = Path(name)
            way = await asyncio.to_thread(make_way, front, oauth=oauth, folder=folder, account=_ACCOUNT)
            self._story.begin("ibkr-connector demo", _ABOUT.format(way.about))
            async with contextlib.AsyncExitStack() as stack:
                with self._cx.out.busy("starting the paper gateway …"):
                    process = gateway_process([*options, *way.options], folder / "truth.jsonl")
                    gateway = await stack.enter_async_context(process)
                outcome = await self._play(gateway, way, folder / "state")
                exit_code = await gateway.stop()
            checks = verify(self._evidence(gateway, way, outcome, self._quotes()))
        checks.append(
            Verified(
                claim="the gateway stopped when asked", holds=exit_code == 0, detail=f"its exit code was {exit_code}"
            )
        )
        seconds = system_clock.monotonic() - begin
        self._story.show(_drawn(outcome, checks, seconds))
        return {
            "ok": all(check.holds for check in checks),
            "backend": front.value,
            "oauth": oauth,
            "market": self._market,
            "symbol": self._symbol,
            "seconds": round(seconds, 1),
            "account": outcome.account,
            "audit_head": outcome.audit_head,
            "pnl": {
                "realized": outcome.realized,
                "commissions": outcome.commissions,
                "cash_before": outcome.cash_before,
                "cash_after": outcome.cash_after,
            },
            "fills": [execution.to_dict() for execution in outcome.executions],
            "checks": [check.to_dict() for check in checks],
            "steps": self._story.steps,
        }

    async def _play(self, gateway: GatewayProcess, way: Way, state_dir: Path) -> Outcome:
        from ibkr_connector.testing import paper_connector

        settings = {"time_scale": self._speed, "account_id": _ACCOUNT, **way.settings(gateway)}
        async with paper_connector(gateway.port, state_dir=state_dir, connect=False, **settings) as connector:
            gap = RECORDED_GAP_S / self._speed if self._market != "synthetic" else 0.0
            outcome = await Script(connector, gateway, self._story, self._symbol, gap=gap, way=way).play()
        outcome.audit_head["stop"] = head_of(connector.settings, _ACCOUNT)
        return outcome

    def _quotes(self) -> QuoteAt:
        """The market's own data, opened here a second time: the judge does not ask the exchange."""
        from ibkr_connector.paper.instruments import InstrumentBook
        from ibkr_connector.paper.market import parse_market

        source = parse_market(self._market, seed=self._seed)

        def quote_at(con_id: int, at: datetime) -> TopOfBook | None:
            found = InstrumentBook(at.date).by_con_id(con_id)
            return None if found is None else source.quote_at(found, at)

        return quote_at

    @staticmethod
    def _evidence(gateway: GatewayProcess, way: Way, outcome: Outcome, quote_at: QuoteAt) -> Evidence:
        return Evidence(
            truth=gateway.truth.read(),
            placed=outcome.placed,
            executions=outcome.executions,
            positions=outcome.positions,
            open_orders=outcome.open_orders,
            in_doubt=outcome.in_doubt,
            cash_before=outcome.cash_before,
            cash_after=outcome.cash_after,
            realized=outcome.realized,
            quote_at=quote_at,
            allowed=CONFIRMED if way.web else None,
            signed=way.oauth,
        )


def _drawn(outcome: Outcome, checks: list[Verified], seconds: float) -> RenderableType:
    fills = table(
        ("time (market)", "side", "quantity", "price", "commission", "realised"),
        [
            (f"{e.at:%H:%M:%S} UTC", e.side, e.quantity, e.price, e.commission, money(e.realized_pnl))
            for e in outcome.executions
        ],
        title="Fills",
        right="quantity, price, commission, realised",
    )
    result = facts(
        (
            ("cash before", money(outcome.cash_before)),
            ("cash after", money(outcome.cash_after)),
            ("commissions", money(outcome.commissions)),
            ("realised P&L", money(outcome.realized)),
            *((f"audit_head at {when}", head or "-") for when, head in outcome.audit_head.items()),
        ),
        title="Result",
    )
    judged = table(
        ("", "claim", "by the gateway's own log"),
        [(Text("holds", "green") if c.holds else Text("FAILS", "bold red"), c.claim, c.detail) for c in checks],
        title="Checked",
        fold="claim, by the gateway's own log",
    )
    good = all(check.holds for check in checks)
    last = (
        Text(f"Flat, and every claim holds ({seconds:.1f} s).", "bold green") if good else Text("Failed.", "bold red")
    )
    return Group(Text(""), fills, Text(""), result, Text(""), judged, last)
