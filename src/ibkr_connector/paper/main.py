"""The gateway as a program: options, one line of JSON when it is ready, a clean stop on SIGINT and SIGTERM.

Exit codes: 0 stopped as asked, 1 could not start (port taken, file not writable), 2 an option makes no sense.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from .clock import NEW_YORK, ClockMode

if TYPE_CHECKING:
    from .web.options import WebOptions

DEFAULT_ACCOUNT: Final = "DU1234567"
DEFAULT_PORT: Final = 7497
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOptions:
    """Everything `ibkr-connector paper` can be told."""

    tws_port: int = DEFAULT_PORT
    host: str = "127.0.0.1"
    accounts: tuple[str, ...] = (DEFAULT_ACCOUNT,)
    market: str = "synthetic"
    clock: ClockMode = "session"
    start: datetime | None = None
    speed: float = 1.0
    seed: int = 0
    truth: Path | None = None
    append: bool = False
    """Whether the truth of an earlier run may stand in the same file."""
    control_port: int | None = None
    initial_cash: Decimal = Decimal(1_000_000)
    faults: Path | None = None
    web_port: int | None = None
    tls: bool = False
    oauth: Path | None = None
    oauth_strict: bool = False
    web_url: str | None = None


async def serve(options: PaperOptions, out: TextIO) -> None:
    """Run a gateway until SIGINT, SIGTERM or the control port's `shutdown`.

    When it accepts connections, exactly one line is written to `out`: {"event": "ready", "tws_port": ..., ...}.
    Raises ValueError for options that make no sense and OSError where a port or file cannot be had.
    """
    from .gateway import PaperGateway

    for option, path in (("--truth", options.truth), ("--faults", options.faults)):
        if path is not None and (wrong := _why_no_file(path, must_exist=option == "--faults")):
            raise ValueError(f"{option} {path}: {wrong}")
    if options.truth is not None and not options.append and _holds_something(options.truth):
        raise ValueError(f"{options.truth} holds the truth of an earlier run: name a new file, or add --append")
    gateway = PaperGateway(
        tws_port=options.tws_port,
        host=options.host,
        accounts=options.accounts,
        market=options.market,
        clock=options.clock,
        start=options.start,
        speed=options.speed,
        seed=options.seed,
        truth=options.truth,
        control_port=options.control_port,
        initial_cash=options.initial_cash,
        faults=options.faults if options.faults is not None else (),
        web_port=options.web_port,
        web=_web_options(options),
    )
    with _stopping(gateway.request_shutdown):
        async with gateway:
            ready = {
                "event": "ready",
                "host": gateway.host,
                "tws_port": gateway.tws_port,
                "accounts": list(options.accounts),
                "market_time": gateway.clock.now().isoformat(),
            }
            if gateway.web_port is not None:
                ready |= {"web_port": gateway.web_port, "web_url": gateway.web.url}
            if gateway.control_port is not None:
                ready["control_port"] = gateway.control_port
            out.write(json.dumps(ready) + "\n")
            out.flush()
            await gateway.wait_closed()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gateway with command line arguments and return the exit code."""
    from .market.base import MarketDataFileError

    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["oauth-keys"]:
        from . import oauth_command

        return oauth_command.main(words[1:])
    options = parse(words)
    try:
        asyncio.run(serve(options, sys.stdout))
    except (ValueError, MarketDataFileError) as error:
        sys.stderr.write(f"ibkr-connector paper: {error}\n")
        return EXIT_USAGE
    except OSError as error:
        sys.stderr.write(f"ibkr-connector paper: {error}\n{_advice(error, options)}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        # Where signal handlers cannot be installed (Windows), Ctrl-C arrives like this, after everything was closed.
        return EXIT_OK
    return EXIT_OK


def _why_no_file(path: Path, *, must_exist: bool) -> str:
    """Why this cannot be the file that is meant; empty when it can."""
    if path.is_dir():
        return "that is a folder, name a file"
    if must_exist and not path.exists():
        return "there is no such file"
    if not path.absolute().parent.is_dir():
        return f"there is no folder {path.absolute().parent}: make it first"
    return ""


def parse(argv: Sequence[str] | None = None) -> PaperOptions:
    """Read the command line. Exits with code 2 and a message where it makes no sense."""
    parser = make_parser()
    values = parser.parse_args(argv)
    if values.web_port is None and (values.tls or values.oauth or values.oauth_strict or values.web_url):
        parser.error("--tls, --oauth, --oauth-strict and --web-url belong to the Web API: give its --web-port")
    if values.append and values.truth is None:
        parser.error("--append is about the truth log: name its --truth FILE")
    if values.oauth_strict and values.oauth is None:
        parser.error("--oauth-strict is about signatures: give the folder with the keys, --oauth DIR")
    return PaperOptions(
        tws_port=values.tws_port,
        host=values.host,
        accounts=tuple(values.account or (DEFAULT_ACCOUNT,)),
        market=values.market,
        clock=values.clock,
        start=values.start,
        speed=values.speed,
        seed=values.seed,
        truth=values.truth,
        append=values.append,
        control_port=values.control_port,
        initial_cash=values.initial_cash,
        faults=values.faults,
        web_port=values.web_port,
        tls=values.tls,
        oauth=values.oauth,
        oauth_strict=values.oauth_strict,
        web_url=values.web_url,
    )


def make_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = argparse.ArgumentParser(
        prog="ibkr-connector paper",
        description="A paper gateway: real TWS and Web API clients connect to it, no IBKR account is needed.",
        epilog="`ibkr-connector paper oauth-keys DIR` writes test keys for --oauth.",
    )
    add = parser.add_argument
    add("--tws-port", type=_port, default=DEFAULT_PORT, metavar="N", help="port to listen on, 0 = any (default 7497)")
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1; beyond loopback anybody can trade)",
    )
    add("--account", action="append", type=_account, metavar="CODE", help="account code; repeat for several")
    add("--market", default="synthetic", metavar="SPEC", help="synthetic, csv:DIR or lean:DIR (default synthetic)")
    add("--clock", choices=("session", "real"), default="session", help="session: starts at 10:00 New York (default)")
    add("--start", type=_moment, metavar="ISO", help="market time to start at; without a zone New York's")
    add("--speed", type=_speed, default=1.0, metavar="N", help="market seconds per second (default 1)")
    add("--seed", type=int, default=0, metavar="N", help="same seed, same market (default 0)")
    add("--truth", type=Path, metavar="FILE", help="write what really happened as JSON lines; FILE must be new")
    add("--append", action="store_true", help="let --truth go on with a FILE that exists (each run counts from 1)")
    add("--control-port", type=_port, metavar="N", help="listen for control commands on this loopback port, 0 = any")
    add("--faults", type=Path, metavar="FILE", help="let go wrong what this plan (TOML) says")
    add("--initial-cash", type=_cash, default=Decimal(1_000_000), metavar="USD", help="per account (default 1000000)")
    add("--web-port", type=_port, metavar="N", help="serve the Client Portal Web API on this port as well, 0 = any")
    add("--tls", action="store_true", help="the Web API over https, with a certificate made at start")
    add("--oauth", type=Path, metavar="DIR", help="ask for OAuth 1.0a signatures; the keys are in DIR (see oauth-keys)")
    add("--oauth-strict", action="store_true", help="accept signatures of IBKR's documented form only, no nonce twice")
    add("--web-url", type=_url, metavar="URL", help="the base URL clients use and sign, where it is another one")
    return parser


def _web_options(options: PaperOptions) -> WebOptions | None:
    if options.web_port is None:
        return None
    from .web import require

    require()
    from .web.oauth import keys
    from .web.options import WebOptions

    return WebOptions(
        tls=options.tls,
        oauth=None if options.oauth is None else keys.load(options.oauth),
        oauth_strict=options.oauth_strict,
        public_url=options.web_url,
    )


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or not text.rstrip("/").endswith("/v1/api"):
        raise argparse.ArgumentTypeError(f"{text!r} is no base URL: give one like http://gateway:5000/v1/api/")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give 0 to 65535")
    return int(text)


def _account(text: str) -> str:
    if not (text.isascii() and text.isalnum()):
        raise argparse.ArgumentTypeError(f"{text!r} is no account code: letters and digits, such as DU1234567")
    return text


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO time, such as 2013-10-07T10:00:00-04:00") from None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=NEW_YORK)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: give a positive number, 1 = real time")
    return speed


def _cash(text: str) -> Decimal:
    try:
        cash = Decimal(text)
    except InvalidOperation:
        cash = Decimal("NaN")
    if not (cash.is_finite() and cash > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount: give a positive number of US dollars")
    return cash


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


@contextlib.contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGINT and SIGTERM while inside."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not available on Windows, nor in threads other than the main one: there Ctrl-C cancels asyncio.run instead.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _advice(error: OSError, options: PaperOptions) -> str:
    import errno

    if error.errno == errno.EADDRINUSE:
        web = "" if options.web_port is None else f" or --web-port 0 (was {options.web_port})"
        return f"Another program listens on the port: stop it, or choose --tws-port 0 (was {options.tws_port}){web}.\n"
    return ""
