"""The loss of the day, against the value at the last boundary and by the broker's own figure (the larger one counts),
and the drawdown: how far the value is below the highest one seen.

The boundary is 17:00 New York by default. The value there is the last one seen before it, if it was seen lately; where
the program was not running then, the broker's daily P&L tells how far the value has come. Deposits and withdrawals move
the baseline. The highest value is kept over the days, and begins anew only when somebody resumes trading: closing all
positions does not let the losses begin again. All of it survives a restart; money in the account's base currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ibkr_connector.risk.state import Load, Save

STATE_VERSION = 1
"""Version of what is saved."""

_FRESH = timedelta(hours=1)
"""A value seen this long before the boundary, or less, stands for the value at it."""
_EARLY = timedelta(minutes=10)
"""So long after the boundary the current value still stands for it."""
_SAVE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class DayRecord:
    """What is known about one day."""

    boundary: datetime
    baseline: Decimal | None = None
    source: str = "unknown"
    """`boundary` (seen before it), `start` (seen just after it), `broker` (worked out from its P&L)."""
    seen: Decimal | None = None
    seen_at: datetime | None = None
    tripped: bool = False
    peak: Decimal | None = None
    """The highest value seen since trading was last resumed, over all days."""
    resumes: int = 0
    """How often trading had been resumed (`TradingRecord.resumes`) when this was last looked at."""


@dataclass(frozen=True, slots=True)
class DayFigures:
    """The day's loss as the gate takes it (positive = lost)."""

    loss: Decimal | None
    """None = not known."""
    tripped: bool = False
    by_value: Decimal | None = None
    by_broker: Decimal | None = None
    drawdown: Decimal | None = None
    """How far the value is below the highest one; None = not known."""


def day_boundary(now: datetime, at: time = time(17), zone: str = "America/New_York") -> datetime:
    """The last boundary at or before `now` (aware), in UTC; daylight saving respected."""
    local = now.astimezone(ZoneInfo(zone))
    boundary = datetime.combine(local.date(), at, tzinfo=ZoneInfo(zone))
    if boundary.astimezone(UTC) > now:
        boundary = datetime.combine(local.date() - timedelta(days=1), at, tzinfo=ZoneInfo(zone))
    return boundary.astimezone(UTC)


class DailyLoss:
    """Follows the account over the days. `now` is market time, aware. Not thread-safe: the engine's lock guards it."""

    def __init__(
        self,
        load: Load | None = None,
        save: Save | None = None,
        *,
        at: time = time(17),
        zone: str = "America/New_York",
    ) -> None:
        self._save = save
        self._at = at
        self._zone = zone
        self._record, self.problem = _read(load)
        self._saved_at: datetime | None = None
        self._urgent = False

    @property
    def record(self) -> DayRecord | None:
        """What is known; None before the first observation."""
        return self._record

    def observe(
        self, now: datetime, net_liquidation: Decimal | None, daily_pnl: Decimal | None, resumes: int = 0
    ) -> None:
        """Take in the account's figures; starts a new day when a boundary has passed.

        `resumes` counts how often trading was resumed, in whatever process: a trip of before is over then.
        """
        old = self._record
        record = self._rolled(now, net_liquidation)
        if old is None:
            record = replace(record, resumes=resumes)
        elif record is not old:
            record = replace(record, peak=old.peak, resumes=old.resumes)
        if record.resumes < resumes:
            record = replace(record, resumes=resumes, tripped=False, peak=None)
            self._urgent = True
        if record.baseline is None and net_liquidation is not None and daily_pnl is not None:
            record = replace(record, baseline=net_liquidation - daily_pnl, source="broker")
        if net_liquidation is not None:
            peak = net_liquidation if record.peak is None else max(record.peak, net_liquidation)
            record = replace(record, seen=net_liquidation, seen_at=now, peak=peak)
        self._record = record
        self._urgent |= old is None or old.boundary != record.boundary or old.baseline != record.baseline

    def save_if_due(self, now: datetime) -> None:
        """Save what matters at once, the last value seen once a minute. Raises what saving raises.

        Apart from `observe`, so that checking an order never waits for a disk.
        """
        if self._urgent or self._saved_at is None or not timedelta() <= now - self._saved_at < _SAVE_EVERY:
            self._store(now)

    def _rolled(self, now: datetime, net_liquidation: Decimal | None) -> DayRecord:
        old, boundary = self._record, day_boundary(now, self._at, self._zone)
        if old is not None and boundary <= old.boundary:
            return old  # the same day, or a clock that went back: a day is not begun twice
        if old is not None and old.seen_at is not None and boundary - old.seen_at <= _FRESH:
            return DayRecord(boundary, old.seen, "boundary")
        if net_liquidation is not None and now - boundary <= _EARLY:
            return DayRecord(boundary, net_liquidation, "start")
        return DayRecord(boundary)

    def figures(self, net_liquidation: Decimal | None, daily_pnl: Decimal | None) -> DayFigures:
        """The loss now."""
        record = self._record
        baseline = None if record is None else record.baseline
        by_value = None if baseline is None or net_liquidation is None else baseline - net_liquidation
        by_broker = None if daily_pnl is None else -daily_pnl
        known = [loss for loss in (by_value, by_broker) if loss is not None]
        # Without a baseline of our own the broker's word is enough; without the current value nothing is.
        loss = max(known) if known and net_liquidation is not None else None
        peak = None if record is None else record.peak
        drawdown = None if peak is None or net_liquidation is None else max(peak - net_liquidation, Decimal(0))
        return DayFigures(loss, record is not None and record.tripped, by_value, by_broker, drawdown)

    def adjust(self, amount: Decimal) -> None:
        """A deposit (positive) or withdrawal (negative) of the day: it is neither profit nor loss."""
        record = self._record
        if record is not None:
            self._record = replace(
                record,
                baseline=None if record.baseline is None else record.baseline + amount,
                peak=None if record.peak is None else record.peak + amount,
            )
            self._urgent = True

    def latch(self, *, tripped: bool) -> bool:
        """Remember for the rest of the day that the limit was passed, or forget it; whether that is news."""
        if self._record is None or self._record.tripped is tripped:
            return False
        self._record = replace(self._record, tripped=tripped)
        self._urgent = True
        return True

    def _store(self, now: datetime) -> None:
        record = self._record
        if self._save is None or record is None:
            return
        self._save(
            {
                "version": STATE_VERSION,
                "boundary": record.boundary.isoformat(),
                "baseline": None if record.baseline is None else str(record.baseline),
                "source": record.source,
                "seen": None if record.seen is None else str(record.seen),
                "seen_at": None if record.seen_at is None else record.seen_at.isoformat(),
                "tripped": record.tripped,
                "peak": None if record.peak is None else str(record.peak),
                "resumes": record.resumes,
            }
        )
        self._saved_at = now
        self._urgent = False


def _read(load: Load | None) -> tuple[DayRecord | None, str]:
    if load is None:
        return None, ""
    try:
        stored = load()
        return (None if stored is None else _decode(stored)), ""
    except Exception as error:  # noqa: BLE001 - the figures can be had again from the broker; the problem is told
        return None, f"the stored daily loss cannot be read ({error}); the broker's own P&L is used until the next day"


def _decode(data: Mapping[str, Any]) -> DayRecord:
    if data["version"] != STATE_VERSION:
        raise ValueError(f"version {data['version']!r}, this program knows {STATE_VERSION}")
    seen_at = data["seen_at"]
    return DayRecord(
        boundary=_aware(data["boundary"]),
        baseline=_amount(data["baseline"]),
        source=str(data["source"]),
        seen=_amount(data["seen"]),
        seen_at=None if seen_at is None else _aware(seen_at),
        tripped=bool(data["tripped"]),
        peak=_amount(data.get("peak")),  # records of earlier programs have none
        resumes=int(data.get("resumes", 0)),
    )


def _aware(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return value


def _amount(text: str | None) -> Decimal | None:
    if text is None:
        return None
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(f"{text!r} is no amount")
    return value
