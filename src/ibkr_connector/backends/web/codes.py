"""Failures of HTTP requests as typed errors: what status and text say, and whether the request can have arrived.

A request about an order that may have left and was not answered clearly is in doubt: silence, an end of the connection,
any 5xx, and an answer that cannot be read. A refusal is one only when the answer says so.

Sources: recorded answers (401 without a login, 400 "no bridge" without a brokerage session, 410 for a token that is
gone, 429 over the limits), IBKR's Web API documentation.
"""

from __future__ import annotations

import json
from typing import Any

from ibkr_connector.backends.web.wire import AnswerTooLarge, Attempt
from ibkr_connector.errors import (
    AuthenticationError,
    BrokerLinkLost,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    ContractNotFound,
    HistoricalDataError,
    NoMarketData,
    OrderInDoubt,
    OrderNotFound,
    PacingError,
    ProtocolError,
    RequestRejected,
    RequestTimeout,
    TradingError,
)

TEXT_LIMIT = 300
_NO_CONTRACT = ("no symbol found", "no contracts retrieved", "conid is not valid", "contract not found")
LOG_IN_AGAIN = "Log in at the gateway again (IBeam does it by itself); with OAuth check keys, tokens and the clock."


def error_text(body: Any) -> str:
    """What an answer says went wrong; empty when it says nothing of the kind. Bounded."""
    if isinstance(body, dict):
        for key in ("error", "failure"):
            if isinstance(body.get(key), str) and body[key]:
                return str(body[key])[:TEXT_LIMIT]
    return ""


def read_body(attempt: Attempt) -> Any:
    """The body as JSON; None where it is none."""
    try:
        return json.loads(attempt.body)
    except (ValueError, RecursionError):
        return None


def refused(what: str, status: int, text: str) -> TradingError:
    """The error of an answer that came and says no. `status` 200 for "200 with an error"."""
    said = f"{what}: {text or f'HTTP {status}'}"
    low = text.lower()
    if status in (401, 410):
        return AuthenticationError(f"{said}.", code=status, remedy=LOG_IN_AGAIN, retryable=True)
    if status == 429:
        return PacingError(f"{said}: too many requests.", code=status, retry_after=600.0)
    if "no bridge" in low or "not authenticated" in low:
        return BrokerLinkLost(f"{said}: there is no brokerage session.", code=status)
    if status == 404 or any(words in low for words in _NO_CONTRACT):
        return ContractNotFound(f"{said}.", code=status)
    if "doesn't exist" in low:
        return OrderNotFound(f"{said}.", code=status)
    if low.startswith("no data"):
        return NoMarketData(f"{said}.", code=status)
    if "history" in low or "chart data" in low:
        return HistoricalDataError(f"{said}.", code=status)
    return RequestRejected(f"{said}.", code=status)


def failed(what: str, attempt: Attempt, cause: BaseException | None, *, order: bool) -> TradingError:
    """The error of a request that did not bring a usable answer."""
    if attempt.status:
        body = read_body(attempt)
        text = error_text(body) or attempt.body[:TEXT_LIMIT].decode("utf-8", "replace").strip()
        if 400 <= attempt.status < 500:
            return refused(what, attempt.status, text)
        why = f"HTTP {attempt.status}: {text}" if attempt.status >= 300 else "the answer cannot be read"
        if order:
            return OrderInDoubt(f"{what}: {why}.", status=attempt.status)
        if attempt.status >= 500:
            return _of_the_server(what, attempt.status, text)
        return ProtocolError(f"{what}: {why}.", status=attempt.status)
    if not attempt.written:
        return _not_written(what, cause)
    if order:
        return OrderInDoubt(f"{what}: {_why(cause)}.")
    if isinstance(cause, AnswerTooLarge):
        return ProtocolError(f"{what}: the answer has {cause}.")
    if _is_timeout(cause):
        return RequestTimeout(f"no answer in time to: {what}.", what=what)
    return ConnectionLost(f"{what}: {_why(cause)}.")


def given_up(what: str, timeout: float, *, unwritten: bool, order: bool) -> TradingError:
    """The error of a request that nobody waited for any longer."""
    if unwritten:
        return ConnectTimeout(f"{what}: it was not its turn in {timeout:g} s; nothing was sent.")
    if order:
        return OrderInDoubt(f"{what}: no answer in {timeout:g} s.")
    return RequestTimeout(f"no answer in {timeout:g} s to: {what}.", what=what, timeout=timeout)


def _of_the_server(what: str, status: int, text: str) -> TradingError:
    low = text.lower()
    if any(words in low for words in _NO_CONTRACT):
        return ContractNotFound(f"{what}: {text}.", code=status)
    if "no data" in low:
        return NoMarketData(f"{what}: {text}.", code=status)
    if "history" in low or "chart data" in low:
        return HistoricalDataError(f"{what}: {text}.", code=status)
    return RequestRejected(f"{what}: HTTP {status}: {text or 'no reason told'}.", code=status, retryable=True)


def _not_written(what: str, cause: BaseException | None) -> TradingError:
    why = _why(cause)
    if _is_timeout(cause):
        return ConnectTimeout(f"{what}: no connection in time; nothing was sent.")
    remedy = None
    if "CERTIFICATE_VERIFY_FAILED" in why:
        why = "the gateway's certificate is not one that is trusted"
        remedy = "Name it as [web] ca_file; on this machine's own address verify_tls = no is possible too."
    return ConnectionRefused(
        f"{what}: {why}; nothing was sent.",
        remedy=remedy or "Start the Client Portal Gateway (or `ibkr-connector paper --web-port`) and check [web] url.",
    )


def _is_timeout(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, TimeoutError) or type(error).__name__.endswith("Timeout"):
            return True
        error = error.__cause__
    return False


def _why(error: BaseException | None) -> str:
    """The innermost cause, in few words and without addresses of objects."""
    if error is None:
        return "no answer"
    while error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__):
        error = error.__cause__ or error.__context__
        assert error is not None  # noqa: S101 - the loop's own condition
    return f"{type(error).__name__}: {error}"[:TEXT_LIMIT]
