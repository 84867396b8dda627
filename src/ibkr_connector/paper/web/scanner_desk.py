"""Scanners: a few real scans over the contracts the gateway lists."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from ..instruments import Instrument
from .calls import Call, Endpoint, Fields, Json, WebError, bad_request
from .contract_rows import listing
from .hub import WebHub
from .quote_fields import Picture

MAX_ROWS: Final = 50
_ZERO: Final = Decimal(0)


def _change(picture: Picture) -> Decimal:
    change, close = picture.change(), picture.stats.close
    return _ZERO if change is None or not close else change / close * 100


def _volume(picture: Picture) -> Decimal:
    return picture.stats.volume


SCANS: Final[dict[str, tuple[str, str, Callable[[Picture], Decimal], bool]]] = {
    "TOP_PERC_GAIN": ("Top % Gainers", "Chg%", _change, True),
    "TOP_PERC_LOSE": ("Top % Losers", "Chg%", _change, False),
    "MOST_ACTIVE": ("Most Active", "Volume", _volume, True),
    "HOT_BY_VOLUME": ("Hot Contracts by Volume", "Volume", _volume, True),
}
"""Code -> name, column, what it is sorted by, and whether the most comes first."""
_FILTERS: Final = {
    "priceAbove": "Price Above",
    "priceBelow": "Price Below",
    "volumeAbove": "Volume Above",
}


class ScannerDesk:
    """Answers below iserver/scanner and hmds/scanner."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        return [
            Endpoint("GET", "iserver/scanner/params", "scanner_params", self._params),
            Endpoint("POST", "iserver/scanner/run", "scanner_run", self._run),
            Endpoint("GET", "hmds/scanner/params", "hmds_scanner", self._hmds),
            Endpoint("POST", "hmds/scanner", "hmds_scanner", self._hmds),
            Endpoint("POST", "hmds/scanner/run", "hmds_scanner", self._hmds),
        ]

    def _hmds(self, call: Call) -> Json:
        raise WebError(404, "Resource not found")

    def _params(self, call: Call) -> Json:
        instruments = [("US Stocks", "STK"), ("US Equity ETFs", "ETF.EQ.US")]
        return {
            "scan_type_list": [
                {"display_name": name, "code": code, "instruments": ["STK", "ETF.EQ.US"]}
                for code, (name, *_) in SCANS.items()
            ],
            "instrument_list": [
                {"display_name": name, "type": kind, "filters": list(_FILTERS)} for name, kind in instruments
            ],
            "filter_list": [
                {"group": code, "display_name": name, "code": code, "type": "non-range"}
                for code, name in _FILTERS.items()
            ],
            "location_tree": [
                {
                    "display_name": "US Stocks",
                    "type": "STK.US",
                    "locations": [{"display_name": "US Major", "type": "STK.US.MAJOR", "locations": []}],
                }
            ],
        }

    def _run(self, call: Call) -> Json:
        fields = Fields(call.object())
        scan = SCANS.get(fields.text("type"))
        kind = fields.text("instrument", default="STK")
        if scan is None or kind not in {"STK", "ETF.EQ.US"}:
            raise bad_request("the scanner is not valid: see scanner/params")
        _, column, key, most_first = scan
        wanted = "ETF" if kind == "ETF.EQ.US" else "COMMON"
        items = [i for i in self._hub.instruments if i.sec_type == "STK" and i.stock_type == wanted]
        pictures = [picture for picture in (Picture(self._hub, item) for item in items) if picture.last is not None]
        pictures = [picture for picture in pictures if self._passes(picture, call)]
        ranked = sorted(pictures, key=key, reverse=most_first)[:MAX_ROWS]
        rows = [self._row(number, picture.item) for number, picture in enumerate(ranked)]
        if rows:
            rows[0] = {**rows[0], "column_name": column}
        return {"contracts": rows, "scan_data_column_name": column}

    def _passes(self, picture: Picture, call: Call) -> bool:
        filters = call.object().get("filter") or []
        if not isinstance(filters, list):
            raise bad_request("filter must be a list")
        for each in filters[:20]:
            if not isinstance(each, dict):
                raise bad_request("filter must be a list of objects")
            fields = Fields(each)
            code, value = fields.text("code"), fields.decimal("value") or _ZERO
            if code not in _FILTERS:
                raise bad_request(f"unknown filter {code}")
            price = picture.last or _ZERO
            fits = {
                "priceAbove": price > value,
                "priceBelow": price < value,
                "volumeAbove": picture.stats.volume > value,
            }
            if not fits[code]:
                return False
        return True

    @staticmethod
    def _row(number: int, item: Instrument) -> dict[str, Json]:
        return {
            "server_id": str(number),
            "symbol": item.symbol,
            "conidex": str(item.con_id),
            "con_id": item.con_id,
            "available_chart_periods": "#R|1",
            "company_name": item.long_name,
            "contract_description_1": item.symbol,
            "listing_exchange": listing(item),
            "sec_type": item.sec_type,
        }
