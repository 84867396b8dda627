"""Portfolio analyst: performance and transactions. Days before the gateway began had no profit and no trades."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from .. import sessions
from ..exchange.types import Execution
from ..sessions import NEW_YORK
from .calls import Call, Endpoint, Fields, Json, bad_request
from .figures import Figures
from .hub import WebHub

PERIODS: Final = {"1D": 1, "7D": 5, "MTD": 21, "1M": 21, "3M": 63, "6M": 126, "12M": 252, "YTD": 252, "1Y": 252}
"""Period -> sessions it has at most."""
MAX_ACCOUNTS: Final = 50
MAX_DAYS: Final = 365


class PerformanceDesk:
    """Answers below pa."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._began = hub.clock.now().astimezone(NEW_YORK).date()
        self._start = {name: self._value(name) for name in hub.exchange.accounts}

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        return [
            Endpoint("POST", "pa/performance", "pa_performance", self._performance, "login"),
            Endpoint("POST", "pa/summary", "pa_summary", self._summary, "login"),
            Endpoint("POST", "pa/allperiods", "pa_allperiods", self._all_periods, "login"),
            Endpoint("POST", "pa/transactions", "pa_transactions", self._transactions, "login"),
        ]

    def _accounts(self, call: Call) -> list[str]:
        names = Fields(call.object()).texts("acctIds", MAX_ACCOUNTS)
        if not names:
            raise bad_request("acctIds is empty")
        return [self._hub.account(name) for name in names]

    def _value(self, account: str) -> Decimal:
        return Figures(account, self._hub.exchange.account_values(account)).get("NetLiquidation")

    def _days(self, count: int) -> list[date]:
        """The last sessions of the stock market, today's included."""
        day = sessions.last_session_on_or_before("XNYS", self._hub.clock.now().astimezone(NEW_YORK).date())
        found = [day]
        while len(found) < count:
            found.append(sessions.last_session_on_or_before("XNYS", found[-1] - timedelta(days=1)))
        return found[::-1]

    def _values(self, account: str, days: list[date]) -> list[float]:
        """What the account was worth: what it began with, and on the last day what it is worth now."""
        start, now = self._start[account], self._value(account)
        return [float(now if day == days[-1] else start) for day in days]

    def _performance(self, call: Call) -> Json:
        accounts = self._accounts(call)
        period = Fields(call.object()).text("period", default="1M").upper()
        if period not in PERIODS:
            raise bad_request(f"period must be one of {', '.join(PERIODS)}")
        days = self._days(PERIODS[period])
        names = [f"{day:%Y%m%d}" for day in days]
        months = list(dict.fromkeys(name[:6] for name in names))
        head = {"start": names[0], "end": names[-1]}
        returns, navs, monthly = [], [], []
        for account in accounts:
            start, values = float(self._start[account]), self._values(account, days)
            cumulative = [round(value / start - 1, 8) for value in values]
            common = {"id": account, "idType": "acctid", **head}
            returns.append({**common, "returns": cumulative, "baseCurrency": "USD"})
            by_month = [0.0] * (len(months) - 1) + [cumulative[-1]]
            monthly.append({**common, "returns": by_month, "baseCurrency": "USD"})
            before = sessions.last_session_on_or_before("XNYS", days[0] - timedelta(days=1))
            first = {"date": f"{before:%Y%m%d}", "val": start}
            navs.append({**common, "startNAV": first, "navs": values, "baseCurrency": "USD"})
        return {
            "currencyType": "base",
            "pm": "TWR",
            "nd": len(days),
            "id": "getPerformanceData",
            "included": accounts,
            "cps": {"freq": "D", "dates": names, "data": returns},
            "tpps": {"freq": "M", "dates": months, "data": monthly},
            "nav": {"freq": "D", "dates": names, "data": navs},
        }

    def _all_periods(self, call: Call) -> Json:
        accounts = self._accounts(call)
        body: dict[str, Json] = {
            "pm": "TWR",
            "nd": len(self._days(PERIODS["1M"])),
            "id": "getPerformanceAllPeriods",
            "currencyType": "base",
            "view": accounts,
            "included": accounts,
        }
        for account in accounts:
            periods: dict[str, Json] = {}
            for name in ("1D", "7D", "1M"):
                days = self._days(PERIODS[name])
                start, values = float(self._start[account]), self._values(account, days)
                before = sessions.last_session_on_or_before("XNYS", days[0] - timedelta(days=1))
                periods[name] = {
                    "freq": "D",
                    "startNAV": {"date": f"{before:%Y%m%d}", "val": start},
                    "dates": [f"{day:%Y%m%d}" for day in days],
                    "nav": values,
                    "cps": [round(value / start - 1, 8) for value in values],
                }
            days = self._days(PERIODS["1M"])
            body[account] = {
                **periods,
                "baseCurrency": "USD",
                "start": f"{days[0]:%Y%m%d}",
                "end": f"{days[-1]:%Y%m%d}",
                "periods": list(periods),
                "lastSuccessfulUpdate": f"{self._hub.clock.now().astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}",
            }
        return body

    def _summary(self, call: Call) -> Json:
        total = sum((self._value(account) for account in self._accounts(call)), Decimal(0))
        return {"total": {"netLiquidationValue": {"amount": float(total), "currency": "USD", "isNull": False}}}

    def _transactions(self, call: Call) -> Json:
        fields = Fields(call.object())
        accounts = self._accounts(call)
        con_ids = {int(text) for text in fields.texts("conids", 10) if text.isdigit()}
        if not con_ids:
            raise bad_request("conids is empty")
        days = fields.integer("days") or 90
        if not 1 <= days <= MAX_DAYS:
            raise bad_request(f"days must be 1 to {MAX_DAYS}")
        now = self._hub.clock.now()
        found = [
            (execution, commission)
            for execution, commission in self._hub.exchange.executions(days=days)
            if execution.account in accounts and execution.instrument.con_id in con_ids
        ]
        realized = sum((c.realized_pnl or Decimal(0) for _, c in found if c is not None), Decimal(0))
        first = datetime.combine(now.date() - timedelta(days=days), time(), UTC)
        return {
            "nd": days,
            "rpnl": {"data": [], "amt": f"{realized:.1f}"},
            "currency": "USD",
            "from": int(first.timestamp() * 1000),
            "id": "getTransactions",
            "to": int(now.timestamp() * 1000),
            "transactions": [_transaction(execution) for execution, _ in found],
        }


def _transaction(execution: Execution) -> Json:
    item, bought = execution.instrument, execution.side == "BOT"
    local = execution.at.astimezone(NEW_YORK)
    midnight = datetime.combine(local.date(), time(), NEW_YORK)
    shares = execution.shares if bought else -execution.shares
    value = shares * execution.price * item.multiplier
    return {
        "cur": item.currency,
        "date": f"{midnight:%a %b %d %H:%M:%S} {midnight.tzname()} {midnight:%Y}",
        "rawDate": f"{local:%Y%m%d}",
        "fxRate": 1.0,
        "pr": float(execution.price),
        "qty": float(shares),
        "acctid": execution.account,
        "amt": round(float(-value), 2),
        "conid": item.con_id,
        "type": "Buy" if bought else "Sell",
        "desc": item.long_name,
    }
