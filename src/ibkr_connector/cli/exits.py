"""Exit codes: what a script may rely on.

0    done
1    an error without a code of its own (no data, a timeout, a journal in use)
2    bad input: option, symbol, quantity, price, setting; nothing was sent
3    no usable connection to the gateway, or none behind it to IBKR; an order was not sent
4    refused here: a risk limit, the kill switch, or an account that is not a paper account; nothing was sent
5    refused by the broker
6    in doubt: the order may be at the broker. Do not send it again; `ibkr-connector orders doubt` lists it
130  interrupted with Ctrl-C (143: by SIGTERM)
"""

from __future__ import annotations

from enum import IntEnum

from ibkr_connector.errors import (
    ConfigurationError,
    ContractError,
    GroupIncomplete,
    IBKRConnectionError,
    InvalidRequest,
    LiveTradingRefused,
    ModifyRejected,
    OrderInDoubt,
    OrderNotCancellable,
    OrderNotFound,
    OrderNotSent,
    OrderRejected,
    OrderValidationError,
    ReadOnlyApi,
    RequestRejected,
    RiskRejected,
    TradingError,
)


class ExitCode(IntEnum):
    """How the program ended."""

    OK = 0
    ERROR = 1
    USAGE = 2
    CONNECTION = 3
    RISK = 4
    REJECTED = 5
    IN_DOUBT = 6
    INTERRUPTED = 130
    TERMINATED = 143


_CODES: tuple[tuple[type[TradingError], ExitCode], ...] = (
    (OrderInDoubt, ExitCode.IN_DOUBT),
    (GroupIncomplete, ExitCode.IN_DOUBT),
    (RiskRejected, ExitCode.RISK),
    (LiveTradingRefused, ExitCode.RISK),
    (OrderValidationError, ExitCode.USAGE),
    (InvalidRequest, ExitCode.USAGE),
    (ConfigurationError, ExitCode.USAGE),
    (ContractError, ExitCode.USAGE),
    (OrderNotFound, ExitCode.USAGE),
    (OrderRejected, ExitCode.REJECTED),
    (OrderNotCancellable, ExitCode.REJECTED),
    (ModifyRejected, ExitCode.REJECTED),
    (ReadOnlyApi, ExitCode.REJECTED),
    (RequestRejected, ExitCode.REJECTED),
    (OrderNotSent, ExitCode.CONNECTION),
    (IBKRConnectionError, ExitCode.CONNECTION),
)


def exit_code(error: TradingError) -> ExitCode:
    """The exit code of an error; the first class that fits decides."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.ERROR)
