"""Names people write, and the contracts they mean.

    AAPL                                   stock, SMART, USD
    AAPL-STK-SMART-USD                     the same in full (later parts may be left out)
    EUR.USD or EUR.USD-CASH-IDEALPRO       currency pair
    VIX-IND-CBOE                           index
    ES-202412-CME[-USD[-50]]               future; also ES-FUT-CME-USD-202412[-50]
    SPY-20241220-SMART-USD-500-C[-100]     option; also SPY-OPT-SMART-USD-20241220-500-C[-100]
    ES-202412-CME-USD-4000-C[-50]          option on a future; also ES-FOP-CME-USD-202412-4000-C[-50]

The grammar is the one of Backtrader's Interactive Brokers store, so its names go on working; a symbol that holds a `-`
cannot be written this way (use a `Contract`).
"""

from __future__ import annotations

import re
from dataclasses import replace

from ibkr_connector.errors import InvalidRequest
from ibkr_connector.models.arguments import is_plain_number, kept, shown, wrong
from ibkr_connector.models.contract import Contract

_SEC_TYPES = frozenset({"STK", "CASH", "FUT", "OPT", "FOP", "IND", "CFD", "BOND", "FUND", "CRYPTO", "CONTFUT", "CMDTY"})
_EXPIRY = re.compile(r"[0-9]{6}([0-9]{2})?")
_MONTH_DIGITS = 6
_PAIR = re.compile(r"([A-Z]{3})[./]([A-Z]{3})")
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./^]{0,23}")
_LONGEST = 100
"""Characters of a name, or of one field of a contract; IBKR's longest are half of it."""
_HIGHEST_ID = 2**63
_HIGHEST_STRIKE = 1e12
_TEXTS = (
    "symbol",
    "sec_type",
    "exchange",
    "currency",
    "primary_exchange",
    "expiry",
    "right",
    "multiplier",
    "local_symbol",
    "trading_class",
)
_OLD_EXCHANGES = {"GLOBEX": "CME"}
"""IBKR renamed it in 2022; the old name still stands in many scripts."""


def parse_symbol(name: str | Contract) -> Contract:
    """The contract that `name` means. Raises `InvalidRequest` naming what is wrong with it."""
    if isinstance(name, Contract):
        return _checked(name)
    given: object = name
    if not isinstance(given, str) or not given.strip():
        raise wrong("symbol", name, "e.g. AAPL or EUR.USD", why="is not a symbol")
    if len(name) > _LONGEST or not name.isascii() or not name.isprintable():
        raise _bad(name, f"at most {_LONGEST} printable ASCII characters")
    parts = [part.strip() for part in name.strip().split("-")]
    symbol, rest = parts[0], parts[1:]
    if not _SYMBOL.fullmatch(symbol) or any(not part for part in rest):
        raise _bad(name, "letters, digits, dots and blanks, then parts joined by '-'")
    if rest and _EXPIRY.fullmatch(rest[0]):
        return _dated(name, symbol.upper(), rest)
    if rest and rest[0].upper() in _SEC_TYPES:
        return _typed(name, symbol.upper(), rest)
    if rest:
        raise _bad(name, f"the part after the symbol must be one of {', '.join(sorted(_SEC_TYPES))} or an expiry")
    pair = _PAIR.fullmatch(symbol.upper())
    if pair:
        return Contract(symbol=pair[1], sec_type="CASH", exchange="IDEALPRO", currency=pair[2])
    return Contract.stock(symbol.upper())


def format_symbol(contract: Contract) -> str:
    """The shortest name that `parse_symbol` reads back as this contract (without its con_id)."""
    if contract.sec_type == "CASH":
        pair = f"{contract.symbol}.{contract.currency}"
        return pair if contract.exchange == "IDEALPRO" else f"{pair}-CASH-{contract.exchange}"
    if contract.sec_type in ("FUT", "OPT", "FOP"):
        parts = [contract.symbol, contract.sec_type, contract.exchange, contract.currency, contract.expiry]
        if contract.sec_type != "FUT":
            parts += [f"{contract.strike:g}", contract.right]
        if contract.multiplier:
            parts.append(contract.multiplier)
        return "-".join(parts)
    if (contract.sec_type, contract.exchange, contract.currency) == ("STK", "SMART", "USD"):
        return contract.symbol
    return f"{contract.symbol}-{contract.sec_type}-{contract.exchange}-{contract.currency}"


def _typed(name: str, symbol: str, rest: list[str]) -> Contract:
    sec_type = rest[0].upper()
    exchange = _exchange(rest[1]) if len(rest) > 1 else ("IDEALPRO" if sec_type == "CASH" else "SMART")
    if sec_type == "CASH":
        pair = _PAIR.fullmatch(symbol)
        currency = rest[2].upper() if len(rest) > 2 else "USD"
        base, quote = (pair[1], pair[2]) if pair else (symbol, currency)
        return Contract(symbol=base, sec_type="CASH", exchange=exchange, currency=quote)
    currency = rest[2].upper() if len(rest) > 2 else "USD"
    base = Contract(symbol=symbol, sec_type=sec_type, exchange=exchange, currency=currency)
    tail = rest[3:]
    if sec_type == "FUT":
        return _with(name, base, tail, needs=1)
    if sec_type in ("OPT", "FOP"):
        return _with(name, base, tail, needs=3)
    if tail:
        raise _bad(name, f"nothing may follow the currency of a {sec_type}")
    return base


def _dated(name: str, symbol: str, rest: list[str]) -> Contract:
    expiry, tail = rest[0], rest[1:]
    exchange = _exchange(tail[0]) if tail else ""
    if not exchange:
        raise _bad(name, "an expiry is followed by the exchange, e.g. ES-202412-CME")
    currency = tail[1].upper() if len(tail) > 1 else "USD"
    more = tail[2:]
    has_right = len(more) > 1
    if has_right:
        sec_type = "FOP" if len(expiry) == _MONTH_DIGITS else "OPT"
        base = Contract(symbol=symbol, sec_type=sec_type, exchange=exchange, currency=currency)
        return _with(name, base, [expiry, *more], needs=3)
    base = Contract(symbol=symbol, sec_type="FUT", exchange=exchange, currency=currency)
    return _with(name, base, [expiry, *more], needs=1)


def _with(name: str, base: Contract, tail: list[str], *, needs: int) -> Contract:
    """Add expiry (and strike, right) and the optional multiplier."""
    if not needs <= len(tail) <= needs + 1 or not _EXPIRY.fullmatch(tail[0]):
        wanted = "expiry (YYYYMM or YYYYMMDD)" + (", strike, right" if needs > 1 else "")
        raise _bad(name, f"a {base.sec_type} needs {wanted}, then at most a multiplier")
    contract = replace(base, expiry=tail[0], multiplier=tail[needs] if len(tail) > needs else "")
    if needs == 1:
        return contract
    right = tail[2].upper()[:1]
    strike = float(tail[1]) if is_plain_number(tail[1]) else 0.0
    if not 0 < strike < _HIGHEST_STRIKE or right not in ("C", "P"):
        raise _bad(name, "the strike must be a number > 0 and the right C or P")
    return replace(contract, strike=strike, right=right)


def _exchange(text: str) -> str:
    upper = text.upper()
    return _OLD_EXCHANGES.get(upper, upper)


def _bad(name: str, legal: str) -> InvalidRequest:
    return InvalidRequest(
        f"symbol={shown(name)} cannot be read: {legal}.", field="symbol", value=kept(name), legal=legal
    )


def _checked(contract: Contract) -> Contract:
    """A caller's own contract, if its fields are what they should be."""
    for field in _TEXTS:
        value: object = getattr(contract, field)
        if not isinstance(value, str) or len(value) > _LONGEST or not value.isascii() or not value.isprintable():
            raise wrong(field, value, f"text of at most {_LONGEST} printable ASCII characters")
    con_id: object = contract.con_id
    if isinstance(con_id, bool) or not isinstance(con_id, int) or not 0 <= con_id < _HIGHEST_ID:
        raise wrong("con_id", con_id, "IBKR's contract id, a whole number; 0 when it is not known")
    strike: object = contract.strike
    if isinstance(strike, bool) or not isinstance(strike, int | float) or not 0 <= strike < _HIGHEST_STRIKE:
        raise wrong("strike", strike, f"a number from 0 to {_HIGHEST_STRIKE:.0f}")
    if not (con_id or contract.symbol or contract.local_symbol):
        raise wrong("contract", contract, "a contract with a con_id, a symbol or a local_symbol", why="names nothing")
    return contract
