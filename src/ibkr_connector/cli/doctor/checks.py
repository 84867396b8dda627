"""The checks of `doctor`: each says what it found and, where something is wrong, how to mend it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ibkr_connector.backends.tws.library import choose_library, describe_installation, load_library
from ibkr_connector.cli.doctor.probe import Findings, Stage
from ibkr_connector.config import Settings
from ibkr_connector.errors import ConfigurationError, JournalError, JournalInUse
from ibkr_connector.identity import is_paper
from ibkr_connector.orders.journal import LOCK_NAME
from ibkr_connector.orders.journal_read import FILE_NAME
from ibkr_connector.store import FileLock

KNOWN_PORTS = {7497: "TWS, paper", 4002: "IB Gateway, paper", 7496: "TWS, live", 4001: "IB Gateway, live"}
_LOW_SPACE = 100 * 1024 * 1024
_SKEW_WARN_S, _SKEW_FAIL_S = 2.0, 30.0
_FARM_DOWN = {2103: "market data", 2105: "history", 2157: "contracts", 2110: "IBKR itself", 1100: "IBKR itself"}


class Verdict(StrEnum):
    """The outcome of one check."""

    OK = "ok"
    WARN = "warn"
    """Works, and somebody should know."""
    FAIL = "fail"
    SKIP = "skip"
    """Could not be looked at, because an earlier check failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was looked at, what was found, what to do."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "verdict": self.verdict.value}


def ok(name: str, found: str) -> Check:
    """Nothing to do."""
    return Check(name=name, verdict=Verdict.OK, found=found)


def warn(name: str, found: str, fix: str) -> Check:
    """Something to know."""
    return Check(name=name, verdict=Verdict.WARN, found=found, fix=fix)


def fail(name: str, found: str, fix: str) -> Check:
    """Something to mend."""
    return Check(name=name, verdict=Verdict.FAIL, found=found, fix=fix)


def skip(name: str, why: str) -> Check:
    """Not looked at."""
    return Check(name=name, verdict=Verdict.SKIP, found=why)


# --- this machine ---------------------------------------------------------------------------------------------------


def settings_check(settings: Settings) -> Check:
    """The settings, which could be read, and what the loader had to say about them."""
    source = "no settings file: defaults and IBKR_* variables" if settings.source is None else str(settings.source)
    if settings.notes:
        return warn("settings", f"{source}; {' '.join(settings.notes)}", "Correct what is named.")
    return ok("settings", source)


async def library_check(settings: Settings) -> Check:
    """The client library, really imported, and the event packages that overwrite each other."""
    installed = describe_installation()
    versions = ", ".join(
        f"{name} {version}"
        for name, version in (("ib_insync", installed.ib_insync), ("ib_async", installed.ib_async))
        if version
    )
    try:
        name = choose_library(settings.connection.tws_library, installed)
        load_library(settings.connection.tws_library)
    except ConfigurationError as error:
        return fail("client library", error.message, error.remedy)
    if installed.problem:
        return warn("client library", f"{versions} ({name} is used); {installed.problem}", installed.remedy)
    return ok("client library", f"{versions}{f', {name} is used' if ',' in versions else ''}")


def state_dir_check(settings: Settings) -> Check:
    """Whether the order journal can be written where it belongs."""
    folder = settings.paths.state_dir.expanduser()
    fix = "Choose a folder you may write to: [paths] state_dir, or IBKR_STATE_DIR."
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        return fail("state directory", f"{nearest} is not a folder", fix)
    try:
        _write_in(folder)
    except OSError as error:
        trouble = "cannot be written" if nearest == folder else f"is not there and cannot be made in {nearest}"
        return fail("state directory", f"{folder} {trouble}: {error.strerror}", fix)
    free = shutil.disk_usage(nearest).free
    if free < _LOW_SPACE:
        return warn(
            "state directory", f"{folder}: {free // 1024**2} MB free", "Make room: without it orders are refused."
        )
    return ok("state directory", f"{folder}{'' if nearest == folder else ' (made at the first connect)'}")


def _write_in(folder: Path) -> None:
    """Write a file in the folder, making it first if need be; all that was made is gone afterwards. Raises OSError."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    made: list[Path] = []
    try:
        for place in reversed(missing):
            place.mkdir(mode=0o700)
            made.append(place)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    finally:
        for place in reversed(made):
            # A program that starts at this moment may have put something there: then it stays.
            with contextlib.suppress(OSError):
                place.rmdir()


def journal_checks(settings: Settings) -> Iterator[Check]:
    """Whether a process holds an order journal."""
    folder = settings.paths.state_dir.expanduser()
    locks = sorted(folder.glob(f"*/{LOCK_NAME}")) if folder.is_dir() else []
    if not locks:
        yield ok("order journal", "there is none yet")
    for path in locks:
        yield _journal_check(path)


def _journal_check(path: Path) -> Check:
    account = path.parent.name
    lock = FileLock(path)
    try:
        lock.acquire()
    except JournalInUse as error:
        return warn(
            "order journal",
            f"{account}: {error.message}",
            "Nothing to do if that is your running program. Orders from elsewhere are refused until it ends.",
        )
    except JournalError as error:
        return fail("order journal", f"{account}: {error.message}", error.remedy)
    lock.release()
    if not (path.parent / FILE_NAME).exists():
        return warn(
            "order journal",
            f"{account}: no journal, although {path.parent} is there",
            f"Nothing to do if {account} is yours: the first connect begins it. If mistyped, remove {path.parent}.",
        )
    return ok("order journal", f"{account}: free")


# --- the gateway ----------------------------------------------------------------------------------------------------


def port_check(settings: Settings, found: Findings, others: list[Findings], *, web: str = "") -> Check:
    """Whether something that speaks the protocol listens where the settings say; if not, where it does.

    `web`: `http` or `https` where a web server listens instead.
    """
    name = "gateway"
    where = f"{found.host}:{found.port}"
    here = KNOWN_PORTS.get(found.port)
    label = f"{where}{f' ({here})' if here else ''}"
    speaking = [other for other in others if other.server_version is not None]
    elsewhere = ", ".join(f"{o.port} ({KNOWN_PORTS.get(o.port, 'other')})" for o in speaking)
    hint = f" A gateway answers on port {elsewhere}: use --port, or set it in the settings." if speaking else ""
    start = (
        "Start TWS or IB Gateway, log in, and enable its API "
        "(Configure > API > Settings > Enable ActiveX and Socket Clients)."
    )
    if found.stage is Stage.REFUSED:
        tip = "" if speaking else " To try without one: `ibkr-connector paper`."
        return fail(name, f"connection refused at {label}", (hint or start).strip() + tip)
    if found.stage is Stage.UNREACHABLE:
        return fail(name, f"{label} cannot be reached: {found.detail}", "Check host, network and firewall." + hint)
    if found.stage is Stage.SILENT and web:
        return fail(
            name,
            f"{label} is a web server, no TWS API port",
            f"If it is the Web API's: backend = web, and [web] url = {web}://{where}/v1/api/.{hint}",
        )
    if found.stage is Stage.SILENT:
        why = found.detail or "no answer to the handshake"
        return fail(
            name,
            f"{label} accepts connections, but is no TWS API port ({why})",
            hint.strip()
            or "Check the port. If it is TWS: add this machine to the trusted IPs, confirm its dialog, or restart it.",
        )
    mode = settings.mode
    if here and mode not in here:
        return warn(
            name, f"{label} answers, version {found.server_version}", f"mode = {mode} and a port of the other kind."
        )
    return ok(name, f"{label} answers, version {found.server_version}")


def client_id_check(found: Findings) -> Check:
    """Whether the configured client id is free."""
    name = "client id"
    if found.id_in_use:
        return warn(
            name,
            f"{found.client_id} is in use by another connection",
            "Nothing to do if that is your running program; else end it, or configure another client_id.",
        )
    if found.stage is Stage.CLOSED:
        return fail(
            name,
            f"the gateway ended the connection of client {found.client_id}: {found.detail}",
            "Confirm its dialog about incoming connections, or add this machine to its trusted IPs.",
        )
    return ok(name, f"{found.client_id} is free")


def account_check(settings: Settings, found: Findings) -> Check:
    """Whether the accounts at the other end are the ones the settings allow."""
    name = "account"
    accounts = found.accounts
    pinned = settings.connection.account_id
    if not accounts:
        return fail(name, "the gateway told no account", "Log in at the gateway.")
    shown = ", ".join(account if is_paper(account) else f"{account[:2]}***{account[-2:]}" for account in accounts)
    if settings.mode == "paper" and not all(map(is_paper, accounts)):
        return fail(name, f"{shown}: not a paper account", "Log in to the paper gateway (TWS 7497, IB Gateway 4002).")
    if pinned and pinned not in accounts:
        return fail(name, f"{shown}: account_id of the settings is not among them", "Correct account_id.")
    if not pinned and len(accounts) > 1:
        return fail(name, f"{shown}: several, and none is chosen", "Set account_id, or give --account.")
    return ok(name, f"{pinned or shown}{' (paper)' if settings.mode == 'paper' else ''}")


def read_only_check(settings: Settings, found: Findings) -> Check:
    """Whether the gateway, or the settings, refuse orders."""
    name = "orders"
    if found.read_only:
        return fail(name, "the gateway's API is read-only", 'Untick "Read-Only API" in Configure > API > Settings.')
    if settings.connection.read_only:
        return warn(name, "refused by the settings (read_only = yes)", "Remove read_only to trade.")
    if found.read_only is None:
        return warn(name, "could not be found out", "If orders are refused with 321: untick Read-Only API.")
    return ok(name, "accepted by the gateway's API settings")


def clock_check(settings: Settings, found: Findings) -> Check:
    """Whether this machine's clock agrees with the gateway's (whole seconds)."""
    name = "clock"
    if found.server_time is None or found.asked_at is None:
        return warn(name, "the gateway did not tell its time", "Try again.")
    skew = abs((found.asked_at - found.server_time).total_seconds())
    if skew <= _SKEW_WARN_S:
        return ok(name, f"{skew:.1f} s from the gateway's")
    text = f"{skew:,.0f} s from the gateway's ({found.server_time:%Y-%m-%d %H:%M:%S} UTC)"
    if settings.mode == "live" and skew > _SKEW_FAIL_S:
        return fail(name, text, "Set this machine's clock (NTP): orders that add risk are refused.")
    return warn(
        name,
        text,
        "Set this machine's clock (NTP), unless this is a paper gateway whose market time is not the real one.",
    )


def farms_check(found: Findings) -> Check:
    """Data farms that are down, and the gateway's own link to IBKR."""
    name = "data farms"
    state: dict[str, tuple[int, str]] = {}
    for code, text in found.notices:
        farm = text.rpartition(":")[2].strip() or text
        state[farm] = (code, text)
    broken = [text for code, text in state.values() if code in _FARM_DOWN]
    if broken:
        return warn(
            name, "; ".join(broken), "Wait: farms come back by themselves. Around 23:45 New York IBKR restarts them."
        )
    if not state:
        return ok(name, "nothing was said")
    return ok(name, ", ".join(sorted(state)))
