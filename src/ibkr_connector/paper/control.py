"""The control port: one JSON object per line in, one per line out, on loopback. For tests and demos.

    {"command": "status"}
    {"command": "advance", "seconds": 3600}            market time forward by so much
    {"command": "jump", "to": "2026-11-20T21:00:00Z"}  market time forward to a moment
    {"command": "inject_error", "code": 1100, "text": "...", "id": -1, "client_id": 7}
    {"command": "drop", "client_id": 7}                without client_id: every client
    {"command": "inject_fault", "fault": {"kind": "restart", "for": 5}}
    {"command": "faults"}                              every fault that was armed
    {"command": "clear_faults"}                        disarm all, end what lasts
    {"command": "shutdown"}

Answers are {"ok": true, ...} or {"ok": false, "error": "what to do"}. The same port answers HTTP for `/faults` (see
`control_http`). Whoever can open a port of this machine can use it: it is off unless asked for, and never listens
beyond loopback.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from . import control_http
from .faults.plan import Fault, make_faults, parse_plan
from .tws import versions

if TYPE_CHECKING:
    from .gateway import PaperGateway

HOST: Final = "127.0.0.1"
LINE_LIMIT: Final = 64 * 1024
MAX_STEP: Final = timedelta(days=3660)

Answer = dict[str, Any]


class CommandError(Exception):
    """The command cannot be done; the text says what would work."""


class ControlServer:
    """Listens for commands about one gateway."""

    def __init__(self, gateway: PaperGateway) -> None:
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: dict[str, Callable[[Answer], Answer]] = {
            "status": self._status,
            "advance": self._advance,
            "jump": self._jump,
            "inject_error": self._inject_error,
            "drop": self._drop,
            "inject_fault": self._inject_fault,
            "faults": self._list_faults,
            "clear_faults": self._clear_faults,
            "shutdown": self._shutdown,
        }

    async def start(self, port: int) -> int:
        """Listen on a loopback port (0 = any) and return it. OSError where it cannot be had."""
        self._server = await asyncio.start_server(self._serve, HOST, port, limit=LINE_LIMIT)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def answer(self, line: bytes) -> Answer:
        """Do one command."""
        try:
            request = json.loads(line)
        except ValueError:
            return _failed("this is not JSON: send one object per line")
        if not isinstance(request, dict):
            return _failed('send an object, for instance {"command": "status"}')
        command = self._commands.get(str(request.get("command")))
        if command is None:
            return _failed(f"unknown command {request.get('command')!r}: use one of {', '.join(self._commands)}")
        try:
            return {"ok": True, **command(request)}
        except (CommandError, ValueError) as error:
            return _failed(str(error))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            while line := await reader.readline():
                if control_http.is_request_line(line):
                    await control_http.serve(line, reader, writer, self.faults_over_http)
                    break
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # gone, or a line beyond the limit: either way this conversation is over
        except asyncio.CancelledError:
            pass  # the gateway closes; the task was made for this connection alone
        finally:
            writer.close()

    # --- commands ----------------------------------------------------------------------------------------------------

    def _status(self, request: Answer) -> Answer:
        del request
        gateway = self._gateway
        return {
            "market_time": gateway.clock.now().isoformat(),
            "speed": gateway.clock.speed,
            "tws_port": gateway.tws_port,
            "web_port": gateway.web_port,
            "server_versions": list(versions.SUPPORTED),
            "accounts": list(gateway.exchange.accounts),
            "clients": gateway.clients,
            "open_orders": len(gateway.exchange.open_orders(None)),
            "truth_entries": len(gateway.truth.entries),
        }

    def _advance(self, request: Answer) -> Answer:
        seconds = request.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
            raise CommandError(f"seconds must be a number from 0 on, not {seconds!r}")
        if seconds > MAX_STEP.total_seconds():
            raise CommandError(f"advance by at most {MAX_STEP.days} days at a time")
        return self._move_to(self._gateway.clock.now() + timedelta(seconds=seconds))

    def _jump(self, request: Answer) -> Answer:
        text = request.get("to")
        if not isinstance(text, str):
            raise CommandError('to must be an ISO time with a zone, for instance "2026-11-20T21:00:00Z"')
        moment = datetime.fromisoformat(text)
        if moment.utcoffset() is None:
            raise CommandError(f"{text} has no time zone: append one, for instance Z or -05:00")
        if moment - self._gateway.clock.now() > MAX_STEP:
            raise CommandError(f"jump at most {MAX_STEP.days} days at a time")
        return self._move_to(moment)

    def _move_to(self, moment: datetime) -> Answer:
        self._gateway.jump(moment)
        return {"market_time": self._gateway.clock.now().isoformat()}

    def _inject_error(self, request: Answer) -> Answer:
        text = request.get("text", "")
        if not isinstance(text, str):
            raise CommandError("text must be a string")
        told = self._gateway.inject_error(
            _integer(request, "code"),
            text,
            request_id=_integer(request, "id", -1),
            client_id=_client_id(request),
        )
        return {"clients": told}

    def _drop(self, request: Answer) -> Answer:
        return {"clients": self._gateway.drop(_client_id(request))}

    def _inject_fault(self, request: Answer) -> Answer:
        return self._arm(make_faults([request.get("fault")], "inject_fault"))

    def _list_faults(self, request: Answer) -> Answer:
        return {"faults": self._gateway.faults.faults()}

    def _clear_faults(self, request: Answer) -> Answer:
        return {"cleared": self._gateway.faults.clear()}

    def _arm(self, faults: list[Fault]) -> Answer:
        return {"numbers": self._gateway.faults.arm(faults)}

    def faults_over_http(self, method: str, content_type: str, body: bytes) -> Answer:
        """GET lists, POST arms (JSON: one fault, or a list; or a plan in TOML), DELETE clears. Raises ValueError."""
        if method == "GET":
            return self._list_faults({})
        if method == "DELETE":
            return self._clear_faults({})
        text = body.decode("utf-8")
        if "toml" in content_type:
            return self._arm(parse_plan(text, "the plan"))
        given = json.loads(text)
        return self._arm(make_faults(given if isinstance(given, list) else [given], "the request"))

    def _shutdown(self, request: Answer) -> Answer:
        del request
        self._gateway.request_shutdown()
        return {}


def _failed(text: str) -> Answer:
    return {"ok": False, "error": text}


def _integer(request: Answer, name: str, default: int | None = None) -> int:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CommandError(f"{name} must be a whole number, not {value!r}")
    return value


def _client_id(request: Answer) -> int | None:
    return None if request.get("client_id") is None else _integer(request, "client_id")
