"""Exit codes are a promise to scripts: every error has one, and the documentation lists the same."""

from __future__ import annotations

import inspect

import pytest

from ibkr_connector import errors
from ibkr_connector.cli import exits
from ibkr_connector.cli.exits import ExitCode, exit_code
from ibkr_connector.errors import Outcome, TradingError
from support.cli import Run

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TradingError)]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.OrderInDoubt, 6),
        (errors.CancelInDoubt, 6),
        (errors.ModifyInDoubt, 6),
        (errors.RiskRejected, 4),
        (errors.LiveTradingRefused, 4),
        (errors.OrderRejected, 5),
        (errors.InsufficientFunds, 5),
        (errors.ReadOnlyApi, 5),
        (errors.OrderValidationError, 2),
        (errors.InvalidRequest, 2),
        (errors.ConfigurationError, 2),
        (errors.ContractNotFound, 2),
        (errors.OrderNotFound, 2),
        (errors.ConnectionRefused, 3),
        (errors.ClientIdInUse, 3),
        (errors.CircuitOpen, 3),
        (errors.OrderNotSent, 3),
        (errors.NoMarketData, 1),
        (errors.RequestTimeout, 1),
        (errors.JournalInUse, 1),
    ],
)
def test_an_error_ends_with_its_documented_code(kind: type[TradingError], code: int) -> None:
    assert exit_code(kind("x")) == code


@pytest.mark.parametrize("kind", ALL)
def test_what_may_be_at_the_broker_is_never_told_as_something_else(kind: type[TradingError]) -> None:
    assert (exit_code(kind("x")) is ExitCode.IN_DOUBT) == (kind.outcome is Outcome.UNKNOWN)


@pytest.mark.parametrize("kind", ALL)
def test_no_error_ends_with_success(kind: type[TradingError]) -> None:
    assert exit_code(kind("x")) != 0


def test_every_code_is_documented_where_users_look(repo_dir: object) -> None:
    text = inspect.getdoc(exits) or ""
    for code in ExitCode:
        assert str(int(code)) in text


@pytest.mark.parametrize("json", [False, True])
def test_ctrl_c_in_a_command_without_an_event_loop_is_told_and_has_its_code(
    json: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ibkr_connector.cli.commands.setup.find_config", interrupted)
    ran = run("config", "path", *["--json"] * json)
    assert ran.code == 130
    assert ("interrupted" in ran.err) is not json
    assert ("Interrupted" in ran.out) is json
