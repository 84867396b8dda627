"""The HTTP server of the Web front: from bytes to a `Call`, through faults, limits and login, to a desk and back."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from . import BASE
from .calls import NO_BRIDGE, TEXT_LIMIT, Call, Endpoint, Json, Reply, WebError, bad_request
from .encoding import encode
from .hub import WebHub
from .limits import Limiter
from .oauth.verify import Verifier
from .socket import SocketFloor

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of the longest request that is read."""
SHUTDOWN: Final = 1.0
"""Wire seconds requests in progress have when the gateway closes."""
AGAIN: Final = 0.5
"""Wire seconds between two attempts to get the port back."""


class WebServer:
    """Speaks the Client Portal Web API on one port for one exchange."""

    def __init__(self, hub: WebHub, endpoints: list[Endpoint], sockets: SocketFloor, verifier: Verifier | None) -> None:
        self._hub = hub
        self._verifier = verifier
        self._limiter = Limiter(hub.options.limits, hub.loop, oauth=verifier is not None)
        self.sockets = sockets
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self.host = ""
        self._tls: ssl.SSLContext | None = None
        self._closing = False
        self.port = 0
        self._app = web.Application(client_max_size=BODY_LIMIT)
        for endpoint in endpoints:
            # ibind asks for trades with a slash at the end; servers of IBKR take both everywhere.
            for path in (f"{BASE}/{endpoint.path}", f"{BASE}/{endpoint.path}/"):
                for method in endpoint.methods.split():
                    self._app.router.add_route(method, path, partial(self._serve, endpoint))
        self._app.router.add_get(f"{BASE}/ws", self._socket)
        self._app.router.add_route("*", "/sso/Login", self._login_page)
        self._app.router.add_route("*", "/{anything:.*}", self._nothing_here)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        self.host, self._tls = host, tls
        runner = web.AppRunner(self._app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN)
        await runner.setup()
        self._runner = runner
        await self._listen(port)
        if self._verifier is not None:
            self._verifier.serves("https" if tls is not None else "http", shown_host(host), self.port)

    async def _listen(self, port: int) -> None:
        assert self._runner is not None  # noqa: S101 - start() has set it
        assert self._runner.server is not None  # noqa: S101 - setup() has made it
        self._server = await self._hub.loop.create_server(
            self._runner.server, self.host, port, ssl=self._tls, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self._closing = True
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._server is not None:
            self._server.close()
        await self.sockets.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    # --- closed for a while (faults) ---------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Refuse new connections as a port refuses them on which nobody listens."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def listen_again(self) -> None:
        """Accept connections on the same port as before, very soon."""
        if self._server is None and self._opening is None and not self._closing:
            self._opening = self._hub.loop.create_task(self._open_again())

    async def _open_again(self) -> None:
        try:
            await self._listen(self.port)
        except OSError:
            # Somebody was quicker: the port is asked for until it is ours again.
            self._hub.loop.call_later(AGAIN, self.listen_again)
        finally:
            self._opening = None

    def abort_all(self) -> None:
        """Cut every connection without a word, idle ones too."""
        if self._runner is None or self._runner.server is None:
            return
        for connection in tuple(self._runner.server.connections):
            if isinstance(connection.transport, asyncio.Transport):
                connection.transport.abort()

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _serve(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        if self._is_foreign(request):
            return _response(Reply({"error": "requests of web pages are refused", "statusCode": 403}, 403))
        try:
            call = await _read(endpoint, request)
        except WebError as error:
            return _response(Reply(error.body, error.status))
        if endpoint.name in SENT_ON:
            # Every write of a client, also what a fault keeps from the desks.
            self._hub.truth.record("http", request=endpoint.name, order_refs=self._hub.refs_of(call), path=request.path)
        carry_out = partial(self._answer, endpoint, call, request)
        gate = self._hub.gate
        reply = await carry_out() if gate is None else await gate.serve(call, carry_out)
        if reply is None:
            return _end(request)
        response = _response(reply)
        # IBKR's clock, which is what clients take it for: the market's time, as the other front tells it.
        response.headers["Date"] = format_datetime(self._hub.clock.now(), usegmt=True)
        return response

    def _is_foreign(self, request: web.Request) -> bool:
        """Whether a web page of somebody else's made a browser of this machine ask."""
        origin = request.headers.get("Origin")
        if origin is None:
            return False
        own = {"127.0.0.1", "localhost", "::1", self.host}
        if self._hub.options.public_url is not None:
            own.add(urlsplit(self._hub.options.public_url).hostname or "")
        try:
            return urlsplit(origin).hostname not in own
        except ValueError:
            return True

    async def _answer(self, endpoint: Endpoint, call: Call, request: web.Request) -> Reply:
        try:
            with self._limiter.admit(endpoint.name, call.remote):
                self._check_login(endpoint, request)
                # What the market did until now happened before this request.
                self._hub.exchange.advance()
                answer = endpoint.handler(call)
                if inspect.isawaitable(answer):
                    answer = await answer
        except WebError as error:
            return Reply(error.body, error.status)
        return answer if isinstance(answer, Reply) else Reply(answer)

    def _check_login(self, endpoint: Endpoint, request: web.Request) -> None:
        session = self._hub.session
        session.look()
        if self._verifier is not None and endpoint.name != "live_session_token":
            self._verifier.check(request.method, request.raw_path, request.headers.get("Authorization"))
        if endpoint.needs != "nothing" and not session.logged_in:
            raise WebError(HTTPStatus.UNAUTHORIZED, "not authenticated")
        if endpoint.needs == "brokerage" and (
            not session.authenticated or (self._hub.exchange.mishaps.is_cut and endpoint.name not in SENT_ON)
        ):
            raise WebError(HTTPStatus.BAD_REQUEST, NO_BRIDGE)
        session.touch()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self._is_foreign(request):
            return _response(Reply({"error": "requests of web pages are refused", "statusCode": 403}, 403))
        session = self._hub.session
        session.look()
        if self._verifier is not None:
            token = request.query.get("oauth_token", "")
            if not self._verifier.knows_token(token):
                return _response(Reply({"error": "invalid access token", "statusCode": 401}, 401))
        gate = self._hub.gate
        reply = Reply() if gate is None else await gate.admit_socket()
        if reply is None:
            return _end(request)
        if reply.status >= HTTPStatus.BAD_REQUEST:
            return _response(reply)
        return await self.sockets.serve(request)

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        """What a browser does at a real gateway: GET shows a form, POST logs in (any name, any password)."""
        if self._verifier is not None:
            return _response(Reply(text="logins go through OAuth here", status=HTTPStatus.NOT_FOUND))
        if self._is_foreign(request) or request.method != "POST":
            return web.Response(text=_LOGIN_PAGE, content_type="text/html")
        self._hub.session.log_in(brokerage=True)
        self._hub.truth.record("web_login", username=self._hub.options.username)
        return web.Response(text="Client login succeeds")

    async def _nothing_here(self, request: web.Request) -> web.StreamResponse:
        return _response(Reply({"error": "Resource not found", "statusCode": 404}, 404))


def shown_host(host: str) -> str:
    """How a client of this machine writes the address that is listened on."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - everywhere, so also here
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


SENT_ON: Final = frozenset({"place_order", "modify_order", "cancel_order", "reply"})
"""What is passed on to a broker that cannot be reached, and answered by nobody: its outcome is unknown."""

_LOGIN_PAGE: Final = (
    '<!doctype html><title>Paper gateway</title><form method="post"><button>Log in to the paper account</button></form>'
)


async def _read(endpoint: Endpoint, request: web.Request) -> Call:
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if len(name) > TEXT_LIMIT:
            raise bad_request("a parameter's name is too long")
        query.setdefault(name, value)
    try:
        raw = await request.read() if request.can_read_body else b""
    except web.HTTPRequestEntityTooLarge:
        raise WebError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request entity too large") from None
    return Call(
        name=endpoint.name,
        path=dict(request.match_info),
        query=query,
        body=_decode(raw),
        remote=request.remote or "",
        authorization=request.headers.get("Authorization", ""),
    )


def _end(request: web.Request) -> web.Response:
    """End the connection without an answer, as a fault wants it."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)  # nobody is there to read it


def _decode(raw: bytes) -> Json:
    if not raw.strip():
        return None
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise bad_request("the body is not JSON") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _response(reply: Reply) -> web.Response:
    if reply.text is not None:
        response = web.Response(status=reply.status, text=reply.text)
    else:
        response = web.Response(status=reply.status, body=encode(reply.body), content_type="application/json")
    for name, value in reply.cookies.items():
        response.set_cookie(name, value, httponly=True)
    return response
