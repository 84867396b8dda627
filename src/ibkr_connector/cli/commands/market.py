"""`quote`, `history`: prices, now and then."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ibkr_connector.cli.common import Cx, command, moment
from ibkr_connector.cli.output import shown, table
from ibkr_connector.errors import InvalidRequest
from ibkr_connector.history.request import history_request
from ibkr_connector.models.market import Bar, BarSeries, Quote
from ibkr_connector.symbols import format_symbol, parse_symbol

if TYPE_CHECKING:
    from ibkr_connector.connector import IBKRConnector

_Item: TypeAlias = tuple[str, Quote | Exception | None]
_COLUMNS = ("symbol", "bid", "ask", "sizes", "last", "volume", "came (UTC)")
_NUMBERS = "bid, ask, last, volume"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "quote")(quote)
    command(app, "history")(history)


# --- quotes ---------------------------------------------------------------------------------------------------------


def quote(
    cx: Cx,
    symbols: Annotated[list[str], typer.Argument(help="AAPL, EUR.USD, ES-202612-CME …")],
    stream: Annotated[bool, typer.Option("--stream", "-s", help="Go on until Ctrl-C.")] = False,
    count: Annotated[int, typer.Option(min=0, help="End a stream after that many quotes (0 = never).")] = 0,
    max_age: Annotated[float, typer.Option(help="Seconds a quote may be old.")] = 5.0,
) -> None:
    """Show quotes: once, or as a live view (`--stream`; JSON: one document per quote; no terminal: one line each)."""
    # A quote knows its contract's symbol alone, which is EUR for EUR.USD and EUR.GBP: its name is what was asked for.
    names = [format_symbol(parse_symbol(symbol)) for symbol in symbols]
    if stream:
        cx.run(lambda: _stream(cx, dict(zip(symbols, names, strict=True)), count), endless=True)
        return

    async def work() -> list[Quote]:
        async with cx.reading() as connector:
            wait = 11.0 if cx.options.timeout is None else cx.options.timeout
            return [await connector.get_live_quote(s, max_age=max_age, timeout=wait) for s in symbols]

    found = list(zip(names, cx.run(work), strict=True))
    cx.out.result([_document(name, q) for name, q in found], lambda: quotes_table(found))


def _document(name: str, item: Quote) -> dict[str, Any]:
    return {"name": name, **item.to_dict()}


async def _stream(cx: Cx, symbols: dict[str, str], count: int) -> None:
    """Show the quotes of the symbols, with their names, as they come."""
    seen = 0
    newest: dict[str, Quote] = {}
    async with cx.reading() as connector, _merged(connector, symbols) as quotes:
        with _view(cx) as live:
            while not count or seen < count:
                name, item = await quotes.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    return
                seen += 1
                newest[name] = item
                if cx.options.json:
                    cx.out.document(_document(name, item))
                elif live is None:
                    cx.out.text(" ".join(shown(cell) for cell in _row(name, item)) + "\n")
                else:
                    live.update(_board(newest, seen))


@contextlib.contextmanager
def _view(cx: Cx) -> Iterator[Live | None]:
    """A board that is drawn over and over, where there is a terminal."""
    if cx.options.json or not cx.out.console.is_terminal:
        yield None
        return
    with Live(console=cx.out.console, refresh_per_second=10) as live:
        yield live


def quotes_table(found: Iterable[tuple[str, Quote]]) -> Table:
    """Named quotes, one a line."""
    return table(_COLUMNS, (_row(name, item) for name, item in found), right=_NUMBERS)


def _board(newest: dict[str, Quote], seen: int) -> Table:
    drawn = quotes_table(sorted(newest.items()))
    drawn.caption = f"{seen} quotes, Ctrl-C ends"
    return drawn


@contextlib.asynccontextmanager
async def _merged(connector: IBKRConnector, symbols: dict[str, str]) -> AsyncIterator[asyncio.Queue[_Item]]:
    """The quotes of several streams, with their names, in one queue; an error, or None at the end of a stream."""
    merged: asyncio.Queue[_Item] = asyncio.Queue(maxsize=1_000)
    async with contextlib.AsyncExitStack() as stack:
        streams = [
            (name, await stack.enter_async_context(connector.stream_quotes(symbol))) for symbol, name in symbols.items()
        ]

        async def pump(name: str, stream: AsyncIterator[Quote]) -> None:
            try:
                async for item in stream:
                    await merged.put((name, item))
                await merged.put((name, None))
            except Exception as error:  # noqa: BLE001 - handed to the reader
                await merged.put((name, error))

        tasks = [asyncio.create_task(pump(name, stream)) for name, stream in streams]
        try:
            yield merged
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _row(name: str, item: Quote) -> tuple[object, ...]:
    flags = " halted" * item.halted + " delayed" * item.delayed
    at = "-" if item.at is None else f"{item.at:%H:%M:%S}"
    return (
        name + flags,
        _price(item.bid),
        _price(item.ask),
        f"{shown(item.bid_size)} × {shown(item.ask_size)}",
        _price(item.last),
        item.volume,
        at,
    )


def _price(value: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.6f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}"


# --- bars -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of `history`."""

    duration: Annotated[str, typer.Option("--duration", "-d", help="Number and unit: `1800 S`, `5 D`, `1 Y`.")] = "1 D"
    bar_size: Annotated[str, typer.Option("--bar-size", "-b", help="`1 min`, `1 hour`, `1 day` …")] = "1 min"
    end: Annotated[str | None, typer.Option(help="Last moment wanted, ISO with a zone (default: now).")] = None
    what: Annotated[str, typer.Option(help="TRADES, MIDPOINT, BID, ASK … (default: what there is).")] = ""
    all_hours: Annotated[bool, typer.Option("--all-hours", help="Outside regular trading hours too.")] = False


def history(
    cx: Cx,
    symbol: Annotated[str, typer.Argument(help="AAPL, EUR.USD, ES-202612-CME …")],
    wanted: Wanted,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout: datetime,open,high,low,close,volume …")] = False,
    tail: Annotated[int, typer.Option(min=1, help="Lines of the table; CSV and JSON have all bars.")] = 20,
) -> None:
    """Download historical bars and show them, or write them as CSV or JSON."""
    if as_csv and cx.options.json:
        raise InvalidRequest("--csv and --json exclude each other.", field="csv", legal="one of the two")
    until = moment(wanted.end, "end")
    # Checked here, before a connection is made.
    history_request(
        parse_symbol(symbol),
        duration=wanted.duration,
        bar_size=wanted.bar_size,
        end=until,
        what_to_show=wanted.what,
        use_rth=not wanted.all_hours,
    )

    async def work() -> BarSeries:
        async with cx.reading() as connector:
            with cx.out.busy(f"downloading {wanted.duration} of {symbol} …"):
                return await connector.get_historical_data(
                    symbol,
                    wanted.duration,
                    wanted.bar_size,
                    end=until,
                    what_to_show=wanted.what,
                    use_rth=not wanted.all_hours,
                )

    series = cx.run(work)
    if as_csv:
        cx.out.text(csv_text(series))
        return
    cx.out.result(
        {
            "symbol": series.contract.symbol,
            "con_id": series.contract.con_id,
            "bar_size": series.bar_size,
            "what_to_show": series.what_to_show,
            "bars": series.to_dicts(),
        },
        lambda: bars_table(series[-tail:], series),
    )
    if not cx.options.json and len(series) > tail:
        cx.out.note(f"the last {tail} of {len(series)} bars; --tail, --csv and --json show more.")


def csv_text(series: BarSeries) -> str:
    """The bars as CSV with a header line."""
    buffer = io.StringIO()
    names = ("datetime", "open", "high", "low", "close", "volume", "wap", "count")
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(series.to_dicts())
    return buffer.getvalue()


def bars_table(bars: tuple[Bar, ...], series: BarSeries) -> Table | Text:
    """Some bars of a series, one a line."""
    if not bars:
        return Text("No bars.")
    columns = ("start (UTC)", "open", "high", "low", "close", "volume", "count")
    rows = [
        (f"{b.start:%Y-%m-%d %H:%M:%S}", *map(_price, (b.open, b.high, b.low, b.close)), b.volume, b.count)
        for b in bars
    ]
    title = f"{format_symbol(series.contract)} {series.bar_size} {series.what_to_show}"
    return table(columns, rows, title=title, right="open, high, low, close, volume, count")
