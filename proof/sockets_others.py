"""The other processes of a run on real sockets: the gateway, and another program that trades the same account."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import replace
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import JournalInUse, TradingError
from ibkr_connector.paper import main
from ibkr_connector.paper.faults.shots import Shot
from ibkr_connector.paper.main import parse, serve
from proof.schedule import Asking, Schedule
from proof.sockets_files import FAULTS, STATE, STRANGER, TRUTH, FileHistory

STRANGER_ID = 9
_ANSWER_S = 20.0
_MARKETS = 8
PENALTY_S = 15.0
"""The penalty box of the Web API. IBKR's lasts ten minutes: time is real here."""
_LOGIN_S = 3.0
"""How long it takes until somebody has logged in again."""


# --- the gateway -----------------------------------------------------------------------------------------------------


class _Told(io.TextIOBase):
    """Where the gateway says that it is ready."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def write(self, text: str) -> int:
        self._pipe.send(json.loads(text))
        return len(text)


def gateway_words(schedule: Schedule, folder: Path) -> list[str]:
    """The arguments of `ibkr-connector paper`."""
    return [
        *(("--web-port", "0") if schedule.backend == "web" else ()),
        *("--tws-port", "0", "--control-port", "0", "--account", schedule.account),
        *("--start", schedule.start.isoformat(), "--speed", str(schedule.speed)),
        *("--seed", str(schedule.seed % _MARKETS), "--truth", str(folder / TRUTH), "--faults", str(folder / FAULTS)),
    ]


def gateway_main(words: list[str], asking: Asking | None, pipe: Connection) -> None:
    """The process: what `ibkr-connector paper` is. It ends with whoever started it, however that ended."""
    if asking is not None:
        _preset(asking)

    async def both() -> None:
        loop = asyncio.get_running_loop()

        def alone() -> None:
            loop.remove_reader(pipe.fileno())
            os.kill(os.getpid(), signal.SIGTERM)

        loop.add_reader(pipe.fileno(), alone)
        await serve(parse(words), _Told(pipe))  # type: ignore[arg-type]

    asyncio.run(both())


def _preset(asking: Asking) -> None:
    """The account's order presets, a shorter penalty box; and somebody who logs in again, as IBeam does."""
    from ibkr_connector.paper.faults.web_effects import WebEffects
    from ibkr_connector.paper.web.options import Limits, Precautions, WebOptions

    options, expired = main._web_options, WebEffects.session_expired

    def preset(given: main.PaperOptions) -> WebOptions | None:
        made = options(given)
        rules = Precautions(value=Decimal(asking.value), always=frozenset(asking.always))
        return None if made is None else replace(made, precautions=rules, limits=Limits(penalty=PENALTY_S))

    def session_expired(effects: WebEffects, shot: Shot) -> bool:
        session = effects._front.session
        asyncio.get_running_loop().call_later(_LOGIN_S, lambda: session.log_in(brokerage=True))
        return expired(effects, shot)

    vars(main)["_web_options"] = preset
    setattr(WebEffects, "session_expired", session_expired)  # noqa: B010 - its arguments have names of their own


def control(port: int, command: str) -> dict[str, Any]:
    """One command to the gateway's control port. OSError when nobody answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as talk, talk.makefile("rwb") as file:
        file.write(json.dumps({"command": command}).encode() + b"\n")
        file.flush()
        answer: dict[str, Any] = json.loads(file.readline() or b"{}")
    if not answer.get("ok"):
        raise OSError(f"the gateway said to {command}: {answer}")
    return answer


# --- the stranger ----------------------------------------------------------------------------------------------------


def stranger_main(schedule: Schedule, folder: Path, port: int, symbol: str) -> None:
    """Another program: it may not have the connector's journal, and trades with one of its own, another client id."""
    for name in [name for name in os.environ if name.startswith("IBKR_")]:
        del os.environ[name]
    logging.getLogger("ibkr_connector").setLevel(logging.CRITICAL + 1)
    asyncio.run(_stranger(schedule, folder, port, symbol))


async def _stranger(schedule: Schedule, folder: Path, port: int, symbol: str) -> None:
    history = FileHistory(folder / STRANGER)

    def made(profile: str, state: str) -> IBKRConnector:
        connector: IBKRConnector = IBKRConnector(
            folder / "none.ini",
            profile=profile,
            port=port,
            client_id=STRANGER_ID,
            read_only=False,
            state_dir=folder / state,
            time_scale=schedule.speed,
        )
        return connector

    same = made("same", STATE)
    try:
        await same.connect()
        history.add("stranger", what="holds")
    except JournalInUse as error:
        history.add("stranger", what="refused", text=str(error)[:200])
    except TradingError as error:
        history.add("stranger", what="failed", text=repr(error)[:200])
    finally:
        await same.close()
        history.add("stranger", what="released")
    own = made("own", "elsewhere")
    try:
        await own.connect()
        for step in (own.place_market_order(symbol, 10, "BUY"), own.place_limit_order(symbol, 10, "BUY", 20)):
            with contextlib.suppress(TradingError):
                order = await step
                await asyncio.sleep(2.0)
                await order.cancel(timeout=5.0)
    except TradingError as error:
        history.add("stranger", what="failed", text=repr(error)[:200])
    finally:
        with contextlib.suppress(TradingError):
            await own.close("cancel_all")
    history.add("stranger", what="done")
    history.close()
    sys.stdout.flush()
