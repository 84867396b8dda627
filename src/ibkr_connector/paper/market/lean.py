"""A market from QuantConnect LEAN's data folder: recorded minute trades and quotes, and daily bars.

Layout and units (LEAN's documentation, `Data/README`): `equity/usa/minute/SYM/YYYYMMDD_{trade,quote}.zip` with
milliseconds since midnight New York and prices x 10 000; `equity/usa/daily/SYM.zip` likewise (not adjusted for splits);
`forex/MARKET/minute/PAIR/` and `future/cme/minute/SYM/` with milliseconds since midnight UTC and plain prices, one CSV
per expiry in a future's zip. Rows outside the trading hours of the gateway's calendars are left out. A date without a
minute file is a closed day.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from .. import sessions
from ..instruments import Instrument
from .base import MarketDataFileError
from .rows import ZERO, Ohlc, Row, RowMarket

MINUTE = timedelta(minutes=1)
_EQUITY_SCALE = Decimal("0.0001")
_PLAIN = Decimal(1)
_CENT = Decimal("0.01")
_FOREX_MARKETS = ("oanda", "fxcm")


class _Place(Struct, frozen=True):
    """Where one instrument's files are and how to read them."""

    minute: Path
    daily: Path
    member: str
    """Part of the file name inside a zip that picks the expiry; empty where a zip holds one file."""
    zone: tzinfo
    scale: Decimal


class LeanMarket(RowMarket):
    """The market recorded in a LEAN data folder. Files are read when their day is first asked for."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        rooms = [directory / room for room in ("equity/usa", "forex", "future")]
        if not any(room.is_dir() for room in rooms):
            raise MarketDataFileError(
                f"{directory} is no LEAN data folder: it has none of equity/usa, forex, future. "
                "Give lean: the folder that LEAN calls Data"
            )
        self._days: dict[int, list[date]] = {}
        self._daily: dict[int, dict[date, Row]] = {}

    @property
    def name(self) -> str:
        """`lean:DIR`."""
        return f"lean:{self._directory}"

    @property
    def suggested_start(self) -> datetime | None:
        """10:00 New York of the day with the most recorded stocks (the latest such day)."""
        counts: Counter[date] = Counter()
        for folder in sorted((self._directory / "equity/usa/minute").glob("*")):
            counts.update(_file_dates(folder))
        if not counts:
            return None
        busiest = max(counts, key=lambda day: (counts[day], day))
        return datetime.combine(busiest, time(10), sessions.NEW_YORK).astimezone(UTC)

    def data_days(self, instrument: Instrument) -> Sequence[date]:
        """Sessions with a minute file that has rows inside their hours."""
        known = self._days.get(instrument.con_id)
        if known is None:
            known = self._days[instrument.con_id] = list(self._find_days(instrument))
        return known

    def load_rows(self, instrument: Instrument, session: sessions.Session) -> list[Row]:
        """The minutes of a session, trades and quotes joined."""
        place = self._place(instrument)
        if place is None:
            return []
        trades: dict[datetime, tuple[Ohlc, Decimal]] = {}
        quotes: dict[datetime, Row] = {}
        day = session.start.astimezone(place.zone).date()
        while day <= session.end.astimezone(place.zone).date():
            for start, fields, where in _rows_of(place, day, "trade"):
                if session.start <= start < session.end:
                    trades[start] = _trade_fields(fields, place.scale, where)
            for start, fields, where in _rows_of(place, day, "quote"):
                if session.start <= start < session.end:
                    quotes[start] = _quote_row(start, fields, place.scale, where)
            day += timedelta(days=1)
        return [_joined(start, trades.get(start), quotes.get(start)) for start in sorted({*trades, *quotes})]

    def daily_row(self, instrument: Instrument, session: sessions.Session) -> Row | None:
        """The row of that date in the daily file."""
        return self._daily_rows(instrument).get(session.day)

    def first_daily(self, instrument: Instrument) -> date | None:
        """The first date of the daily file."""
        return min(self._daily_rows(instrument), default=None)

    def _find_days(self, instrument: Instrument) -> Iterator[date]:
        place = self._place(instrument)
        if place is None:
            return
        dates = _file_dates(place.minute)
        if instrument.calendar == "XNYS":
            yield from (day for day in dates if sessions.session_of(instrument, day) is not None)
            return
        # The files of UTC dates hold parts of two sessions.
        for day in sorted({*dates, *(day + timedelta(days=1) for day in dates)}):
            session = sessions.session_of(instrument, day)
            if session is not None and _has_rows(place, session):
                yield day

    def _daily_rows(self, instrument: Instrument) -> dict[date, Row]:
        known = self._daily.get(instrument.con_id)
        if known is None:
            place = self._place(instrument)
            known = {} if place is None else dict(_load_daily(place, instrument))
            self._daily[instrument.con_id] = known
        return known

    def _place(self, instrument: Instrument) -> _Place | None:
        symbol = instrument.symbol.lower()
        if instrument.sec_type == "STK":
            room = self._directory / "equity/usa"
            return _Place(
                room / "minute" / symbol, room / "daily" / f"{symbol}.zip", "", sessions.NEW_YORK, _EQUITY_SCALE
            )
        if instrument.sec_type == "CASH":
            pair = symbol + instrument.currency.lower()
            markets = [self._directory / "forex" / market for market in _FOREX_MARKETS]
            room = next((m for m in markets if (m / "minute" / pair).is_dir()), markets[-1])
            return _Place(room / "minute" / pair, room / "daily" / f"{pair}.zip", "", UTC, _PLAIN)
        if instrument.sec_type == "FUT":
            room = self._directory / "future" / instrument.exchange.lower()
            month = f"_{instrument.contract_month}."
            return _Place(room / "minute" / symbol, room / "daily" / symbol, month, UTC, _PLAIN)
        return None


# --- files ---------------------------------------------------------------------------------------------------------


def _file_dates(folder: Path) -> list[date]:
    """Dates that have a trade or quote file in a minute folder."""
    dates: set[date] = set()
    for kind in ("trade", "quote"):
        for path in folder.glob(f"*_{kind}.zip"):
            text = path.name[:8]
            try:
                dates.add(date(int(text[:4]), int(text[4:6]), int(text[6:8])))
            except ValueError:
                raise MarketDataFileError(
                    f"{path}: the name does not begin with a date (YYYYMMDD_{kind}.zip). Rename or remove the file"
                ) from None
    return sorted(dates)


@lru_cache(maxsize=64)
def _lines(path: Path, member: str) -> tuple[str, ...]:
    """The lines of the file in a zip whose name contains `member`; none when the zip has no such file."""
    if not path.is_file():
        return ()
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv") and member in name]
            if not names:
                return ()
            return tuple(archive.read(names[0]).decode("ascii").splitlines())
    except (zipfile.BadZipFile, UnicodeDecodeError, OSError, EOFError) as error:
        raise MarketDataFileError(f"{path} cannot be read ({error}). Download the file again") from error


def _rows_of(place: _Place, day: date, kind: str) -> Iterator[tuple[datetime, list[str], str]]:
    path = place.minute / f"{day:%Y%m%d}_{kind}.zip"
    midnight = datetime.combine(day, time(0), place.zone).astimezone(UTC)
    previous = -1
    for number, line in enumerate(_lines(path, place.member), start=1):
        fields = line.split(",")
        where = f"{path} row {number}"
        try:
            milliseconds = int(fields[0])
        except ValueError:
            raise _bad_row(where, line, "the first field is not milliseconds since midnight") from None
        if not previous < milliseconds < 90_000_000:
            raise _bad_row(where, line, "its time is not after the row before it, or not in the day")
        previous = milliseconds
        yield midnight + timedelta(milliseconds=milliseconds), fields, where


def _has_rows(place: _Place, session: sessions.Session) -> bool:
    days = sorted({moment.astimezone(place.zone).date() for moment in (session.start, session.end)})
    return any(
        session.start <= start < session.end
        for day in days
        for kind in ("trade", "quote")
        for start, _, _ in _rows_of(place, day, kind)
    )


def _bad_row(where: str, line: str, problem: str) -> MarketDataFileError:
    return MarketDataFileError(f"{where} is not usable: {problem} ({line[:80]!r}). Download the file again")


def _ohlc(fields: Sequence[str], scale: Decimal, where: str) -> Ohlc | None:
    """Four prices; None where the side was not recorded (empty fields)."""
    if not any(fields):
        return None
    try:
        opening, high, low, close = (_plain(Decimal(field) * scale) for field in fields)
    except (InvalidOperation, ValueError):
        raise _bad_row(where, ",".join(fields), "open, high, low, close must be four numbers") from None
    prices = (opening, high, low, close)
    if not all(price.is_finite() and price > 0 for price in prices):
        raise _bad_row(where, ",".join(fields), "a price is not positive")
    if high < max(opening, close) or low > min(opening, close):
        raise _bad_row(where, ",".join(fields), "high and low do not enclose open and close")
    return prices


def _plain(price: Decimal) -> Decimal:
    """The same price with at least two decimals and no superfluous zeros: 167.43, not 167.4300 and not 1.7E+2."""
    if not price.is_finite():
        return price
    rounded = price.quantize(_CENT)
    return rounded if rounded == price else price.normalize()


def _size(text: str, where: str) -> Decimal:
    try:
        size = Decimal(text or "0")
    except InvalidOperation:
        raise _bad_row(where, text, "the size is no number") from None
    if not size.is_finite() or size < 0:
        raise _bad_row(where, text, "the size is negative")
    return size


def _trade_fields(fields: list[str], scale: Decimal, where: str) -> tuple[Ohlc, Decimal]:
    if len(fields) < 6:
        raise _bad_row(where, ",".join(fields), "a trade row has 6 fields")
    ohlc = _ohlc(fields[1:5], scale, where)
    if ohlc is None:
        raise _bad_row(where, ",".join(fields), "a trade row needs prices")
    return ohlc, _size(fields[5], where)


def _quote_row(start: datetime, fields: list[str], scale: Decimal, where: str) -> Row:
    if len(fields) < 11:
        raise _bad_row(where, ",".join(fields), "a quote row has 11 fields")
    return Row(
        start=start,
        end=start + MINUTE,
        bid=_ohlc(fields[1:5], scale, where),
        bid_size=_size(fields[5], where),
        ask=_ohlc(fields[6:10], scale, where),
        ask_size=_size(fields[10], where),
    )


def _joined(start: datetime, trade: tuple[Ohlc, Decimal] | None, quote: Row | None) -> Row:
    ohlc, volume = trade if trade is not None else (None, ZERO)
    if quote is None:
        return Row(start=start, end=start + MINUTE, trade=ohlc, volume=volume)
    return Row(
        start=start,
        end=start + MINUTE,
        trade=ohlc,
        volume=volume,
        bid=quote.bid,
        ask=quote.ask,
        bid_size=quote.bid_size,
        ask_size=quote.ask_size,
    )


def _load_daily(place: _Place, instrument: Instrument) -> Iterator[tuple[date, Row]]:
    if instrument.sec_type == "STK":
        files = {"trade": place.daily}
    elif instrument.sec_type == "CASH":
        files = {"quote": place.daily}
    else:
        files = {kind: place.daily.with_name(f"{place.daily.name}_{kind}.zip") for kind in ("trade", "quote")}
    found: dict[date, Row] = {}
    for kind, path in files.items():
        for number, line in enumerate(_lines(path, place.member), start=1):
            fields = line.split(",")
            where = f"{path} row {number}"
            try:
                day = datetime.strptime(fields[0][:8], "%Y%m%d").date()  # noqa: DTZ007 - a date, no moment
            except ValueError:
                raise _bad_row(where, line, "the first field is not a date") from None
            session = sessions.session_of(instrument, day)
            if session is None:
                continue
            found[day] = _daily_row(session, kind, fields, place.scale, where, found.get(day))
    yield from sorted(found.items())


def _daily_row(
    session: sessions.Session, kind: str, fields: list[str], scale: Decimal, where: str, known: Row | None
) -> Row:
    start, end = session.rth_start, session.rth_end
    if kind == "trade":
        ohlc, volume = _trade_fields(fields, scale, where)
        return Row(start=start, end=end, trade=ohlc, volume=volume)
    quote = _quote_row(start, fields, scale, where)
    return Row(
        start=start,
        end=end,
        trade=known.trade if known is not None else None,
        volume=known.volume if known is not None else ZERO,
        bid=quote.bid,
        ask=quote.ask,
        bid_size=quote.bid_size,
        ask_size=quote.ask_size,
    )
