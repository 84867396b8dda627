"""What every command that talks to a gateway has in common: its options, its connector, its run.

**Client ids.** Reads use the configured client id + 100 (or one of the next nine, should it be taken), open no journal
and can send no order: they run beside a program that trades. Orders use the configured id, because orders, their
journal and the limits that count them belong together; while a program holds the journal, `buy` and `sell` say which
one (`JournalInUse`, or `ClientIdInUse` before that) and send nothing. `--client-id` decides in both cases.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import math
import signal
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from ibkr_connector.cli.exits import ExitCode
from ibkr_connector.cli.output import Output
from ibkr_connector.clock import system_clock
from ibkr_connector.config import Settings, load_settings
from ibkr_connector.errors import ClientIdInUse, InvalidRequest, JournalError, JournalInUse, Outcome, TradingError

if TYPE_CHECKING:
    from ibkr_connector.connector import IBKRConnector
    from ibkr_connector.models.order import OrderSnapshot

_T = TypeVar("_T")
READER_OFFSET = 100
READER_IDS = 10
_PANEL = "Connection"
_OUTPUT_PANEL = "Output"
_BESIDE = (
    "A program trades under this client id: place and cancel its orders there, or end it. Beside it work all reads, "
    "and `ibkr-connector cancel --all --scope account`, which ends everything."
)
_WITHOUT_IT = (
    "To get out without it: `ibkr-connector cancel --all --scope account` ends every order of the account; positions "
    "can be closed in TWS."
)
_LOCAL = ("json", "verbose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of every command that connects; None means: as configured."""

    config: Annotated[
        Path | None,
        typer.Option(help="Settings file (default: the usual places, see `config path`).", rich_help_panel=_PANEL),
    ] = None
    host: Annotated[str | None, typer.Option(help="Host of TWS or IB Gateway.", rich_help_panel=_PANEL)] = None
    port: Annotated[
        int | None,
        typer.Option(help="API port: TWS 7497 paper, IB Gateway 4002 paper.", rich_help_panel=_PANEL),
    ] = None
    client_id: Annotated[
        int | None,
        typer.Option(help="API client id (default: as configured; reads use that + 100).", rich_help_panel=_PANEL),
    ] = None
    profile: Annotated[str, typer.Option(help="Name of the connection, for logs.", rich_help_panel=_PANEL)] = "cli"
    account: Annotated[str | None, typer.Option(help="Account, such as DU1234567.", rich_help_panel=_PANEL)] = None
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds for connecting, and for each answer.", rich_help_panel=_PANEL),
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="JSON on stdout, nothing else.", rich_help_panel=_OUTPUT_PANEL)
    ] = False
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="The library's log on stderr; -vv: every message of the wire too.",
            rich_help_panel=_OUTPUT_PANEL,
        ),
    ] = 0


class Cx:
    """One run of a command: its options, its output, and how it gets a connector."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.out = Output(json_only=options.json)
        self.under_way: Callable[[], list[OrderSnapshot]] = list
        """The orders this run has at the broker: whoever interrupts it is told of them."""
        configure_logging(options.verbose)

    # --- settings --------------------------------------------------------------------------------------------------

    def overrides(self) -> dict[str, Any]:
        """The settings this run's options decide."""
        chosen = self.options
        found: dict[str, Any] = {
            "host": chosen.host,
            "port": chosen.port,
            "client_id": chosen.client_id,
            "account_id": chosen.account,
        }
        if chosen.timeout is not None:
            seconds = chosen.timeout
            if not (math.isfinite(seconds) and seconds > 0):
                raise InvalidRequest(
                    f"--timeout {seconds:g} is no time to wait.", field="timeout", value=seconds, legal="seconds > 0"
                )
            found |= {
                "handshake_timeouts": (seconds, seconds, seconds),
                "sync_timeout": seconds,
                "request_timeout": seconds,
            }
        return {key: value for key, value in found.items() if value is not None}

    def settings(self) -> Settings:
        """The configuration as this run sees it. Raises ConfigurationError."""
        settings = load_settings(self.options.config, overrides=self.overrides())
        for note in settings.notes:
            self.out.note(note, "yellow")
        if settings.connection.backend == "web":
            self._no_tws_address(settings)
        return settings

    def _no_tws_address(self, settings: Settings) -> None:
        """With the Web API --host and --port would be passed over in silence: refuse them."""
        given = [name for name in ("host", "port") if getattr(self.options, name) is not None]
        if given:
            raise InvalidRequest(
                f"--{given[0]} is about TWS, and backend = web ({settings.origin_of('connection.backend')}).",
                field=given[0],
                remedy="The Web API's address is [web] url, or IBKR_WEB_URL; IBKR_BACKEND=tws speaks to TWS.",
            )

    # --- connectors ------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[IBKRConnector]:
        """A connected connector that cannot trade, under a client id beside the configured one."""
        settings = self.settings()
        if self.options.client_id is not None:
            ids = [self.options.client_id]
        else:
            first = settings.connection.client_id + READER_OFFSET
            ids = list(range(first, first + READER_IDS))
        connector = await self._first_free(ids)
        try:
            yield connector
        finally:
            await connector.close()

    async def _first_free(self, ids: list[int]) -> IBKRConnector:
        for client_id in ids:
            connector = self._make(read_only=True, client_id=client_id)
            try:
                await self._connect(connector)
            except ClientIdInUse:
                await connector.close()
                if client_id == ids[-1]:
                    raise
            except BaseException:
                await connector.close()
                raise
            else:
                return connector
        raise AssertionError("there is at least one client id")

    @contextlib.asynccontextmanager
    async def trading(self) -> AsyncIterator[IBKRConnector]:
        """A connected connector that may place orders, under the configured client id."""
        self.settings()
        connector, account = self._make(), ""
        try:
            try:
                await self._connect(connector)
            except ClientIdInUse as error:
                raise ClientIdInUse(error.message, code=error.code, remedy=_BESIDE, **error.context) from None
            except JournalError as error:
                raise with_a_way_out(error) from None
            account = connector.account_id
            self._tell_audit_head(account, "start", connector.get_connection_status()["audit_head"])
            yield connector
        finally:
            await connector.close()
            if account:
                self._tell_audit_head(account, "stop", head_of(connector.settings, account))

    def _tell_audit_head(self, account: str, when: str, head: str | None) -> None:
        """Tell on stderr the last hash of the audit trail of an opened journal: noted, it proves the trail later."""
        if head is not None:
            self.out.note(f"audit_head of {account} at {when}: {head}")

    def _make(self, **extra: Any) -> IBKRConnector:
        from ibkr_connector.registry import get_ibkr_connector

        # A person tries again faster than the connector's own plan would, sees what happens, and is no service: the
        # port of the settings belongs to the program that trades, its targets are not told of every command, and no
        # command restarts the gateway under it.
        here = {
            "connect_attempts": (1, 1, 1),
            "gateway": {"restart_command": None},
            "watch": {"http_port": None},
            "alerts": {"webhook": "", "apprise": ""},
        }
        return get_ibkr_connector(
            self.options.config, profile=self.options.profile, **{**here, **self.overrides(), **extra}
        )

    async def _connect(self, connector: IBKRConnector) -> None:
        settings = connector.settings
        where = f"{settings.connection.host}:{settings.connection.port}"
        if settings.connection.backend == "web":
            from ibkr_connector.backends.factory import web_endpoint

            where = f"{web_endpoint(settings).url} (IBKR's limits make it take ten seconds)"
        with self.out.busy(f"connecting to {where} …"):
            await connector.connect()

    # --- running ---------------------------------------------------------------------------------------------------

    def run(self, work: Callable[[], Coroutine[Any, Any, _T]], *, endless: bool = False) -> _T:
        """Run `work` on an event loop; Ctrl-C and SIGTERM cancel it, so that what it holds is given back.

        Then the orders under way are told, or that nothing was; `endless` work, whose usual end this is, says nothing.
        """
        notes: list[str] = []
        try:
            return asyncio.run(_stoppable(work, notes))
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED  # told here: typer would turn it into an exit without a word
        except _Terminated:
            code = ExitCode.TERMINATED
        if not endless:
            self.interrupted(code, notes)
        raise typer.Exit(code)

    def interrupted(self, code: ExitCode, notes: list[str]) -> None:
        """Say what the interruption left behind: orders at the broker live on."""
        found = self.under_way()
        told = [f"Order {order.order_ref} lives on at the broker: it was {order.state.value}." for order in found]
        refs = " ".join(order.order_ref for order in found)
        if found:
            remedy = f"`ibkr-connector orders` shows what works; `ibkr-connector cancel {refs}` ends it."
        elif notes:
            remedy = "`ibkr-connector orders` shows what works. Do not place it again under another ref."
        else:
            remedy = "Nothing was left under way."
        self.out.refused(
            "Interrupted",
            " ".join(("interrupted.", *told, *notes)),
            remedy,
            code,
            outcome=Outcome.UNKNOWN if found or notes else Outcome.NOT_APPLICABLE,
            orders=[order.to_dict() for order in found],
        )


class _Terminated(BaseException):
    """SIGTERM ended the work; like KeyboardInterrupt no Exception, so that nothing on the way takes it for its own."""


async def _stoppable(work: Callable[[], Coroutine[Any, Any, _T]], notes: list[str]) -> _T:
    """Run `work` until SIGTERM, if it comes; what a cancellation was told about orders is left in `notes`."""
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    terminated = False

    def stop() -> None:
        nonlocal terminated
        terminated = True
        if me is not None:
            me.cancel()

    # Not available on Windows, nor outside the main thread.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        return await work()
    except asyncio.CancelledError as cancelled:
        notes += getattr(cancelled, "__notes__", ())
        if terminated:
            raise _Terminated from None
        raise
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGTERM)


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait at most so many seconds for something that follows by itself; whether it came."""
    deadline = system_clock.monotonic() + seconds
    while not condition():
        if system_clock.monotonic() >= deadline:
            return False
        await system_clock.sleep(0.05)
    return True


def configure_logging(verbose: int) -> None:
    """Only the command line gives the library's loggers a handler: on stderr, errors alone unless `verbose`."""
    from ibkr_connector.logs import PACKAGE, install_redaction

    install_redaction()
    # Said for each request of `verify_tls = no`, which somebody has written into the settings; `doctor` tells it once.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    logger = logging.getLogger(PACKAGE)
    logger.setLevel((logging.ERROR, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    for old in [item for item in logger.handlers if isinstance(item, _StderrHandler)]:
        logger.removeHandler(old)
    logger.addHandler(_StderrHandler())


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to the stderr of the moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))


# --- commands -------------------------------------------------------------------------------------------------------


def command(app: typer.Typer, name: str, *, local: bool = False) -> Callable[[Callable[..., None]], None]:
    """Register `function(cx, …)` as a command: its own parameters, then those of `Options`.

    A parameter whose type is a dataclass stands for one option per field. A `local` command connects to nothing and
    gets only the options about output.
    """

    def register(function: Callable[..., None]) -> None:
        groups: dict[str, type[Any]] = {}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            kind = parameter.annotation
            if kind is Cx:
                continue
            if is_dataclass(kind) and isinstance(kind, type):
                groups[parameter.name] = kind
                parameters += _parameters_of(kind)
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        shared = [p for p in _parameters_of(Options) if not local or p.name in _LOCAL]

        @functools.wraps(function)
        def run(**values: Any) -> None:
            def take(kind: type[Any]) -> Any:
                return kind(**{field.name: values.pop(field.name) for field in fields(kind) if field.name in values})

            cx = Cx(take(Options))
            chosen = {name: take(kind) for name, kind in groups.items()}
            try:
                function(cx, **chosen, **values)
            except KeyboardInterrupt:  # outside `Cx.run`: typer would turn it into an exit without a word
                cx.interrupted(ExitCode.INTERRUPTED, [])
                raise typer.Exit(ExitCode.INTERRUPTED) from None

        everything = [*parameters, *shared]
        run.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in everything}
        app.command(name)(run)

    return register


def _parameters_of(kind: type[Any]) -> list[inspect.Parameter]:
    hints = inspect.get_annotations(kind, eval_str=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    ]


def moment(text: str | None, field: str) -> datetime | None:
    """A time with its zone. Raises InvalidRequest naming the option."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise InvalidRequest(
            f"{field}={text!r} is no ISO time with a zone.",
            field=field,
            value=text,
            legal="e.g. 2026-11-20T16:00:00-05:00",
            remedy="Write it as 2026-11-20T16:00:00-05:00, or with Z for UTC.",
        )
    return found


def head_of(settings: Settings, account: str) -> str | None:
    """The hash of the last line of the audit trail of an account on this machine; None when it cannot be read."""
    from ibkr_connector.orders.journal_read import JournalReader

    try:
        return JournalReader.of(settings.paths.state_dir.expanduser(), account).head()[1]
    except JournalError:
        return None  # what is wrong with it, the connector and the log have told


def with_a_way_out(error: JournalError) -> JournalError:
    """The same error, with what gets out of a market although the state directory cannot be used (INV-12)."""
    if not isinstance(error, JournalInUse):
        error.remedy = f"{error.remedy} {_WITHOUT_IT}"
    return error


def fail(error: TradingError, cx: Cx) -> NoReturn:
    """End the command with this error's exit code, after telling it."""
    raise typer.Exit(cx.out.failed(error))
