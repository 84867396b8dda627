"""The session behind the requests: logged in, brokerage session ours, kept alive, and opened again when it is gone.

A *login* is the gateway's affair (a person or IBeam), or with OAuth ours: a live session token. The *brokerage session*
is opened with ssodh/init, is one per user name over all of IBKR's programs, and ends without requests after minutes:
/tickle keeps it. When it goes, that is told like TWS's 1100 (no link to IBKR); when it is back, like 1101:
subscriptions are gone.

Sources: IBKR's Web API documentation (session endpoints); /tickle about once a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ibkr_connector.backends.web.codes import LOG_IN_AGAIN
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import (
    AuthenticationError,
    BrokerLinkLost,
    ConnectTimeout,
    IBKRConnectionError,
    LiveTradingRefused,
    PacingError,
    ProtocolError,
    RequestTimeout,
    TradingError,
)
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)
_GAP = "session"
_ASK_AGAIN_S = 0.5
_BACKOFF_FIRST_S = 1.0
_BACKOFF_MOST_S = 300.0
"""IBKR punishes who asks for sessions again and again."""
_REQUEST_S = 10.0
_MISSES = 2
"""Requests in a row that bring no answer: then the gateway is gone."""
_SUPPRESS_AT_ONCE = 51


@dataclass(frozen=True, slots=True)
class AuthStatus:
    """What auth/status, ssodh/init and /tickle say of the brokerage session."""

    authenticated: bool
    competing: bool
    connected: bool
    message: str

    @classmethod
    def of(cls, body: Any) -> AuthStatus:
        """Read it; what is missing counts as no."""
        fields = body if isinstance(body, dict) else {}
        return cls(
            authenticated=fields.get("authenticated") is True,
            competing=fields.get("competing") is True,
            connected=fields.get("connected") is True,
            message=str(fields.get("message") or fields.get("fail") or "")[:200],
        )

    @property
    def good(self) -> bool:
        """Whether orders and market data can be had."""
        return self.authenticated and self.connected and not self.competing


class Login:
    """Opens and keeps the session of one backend. `on_back` is called when a lost session is there again."""

    def __init__(
        self, room: WebRoom, *, rng: random.Random, on_back: Callable[[], None], on_lost: Callable[[str], None]
    ) -> None:
        self._room = room
        self._calls = room.calls
        self._clock = room.clock
        self._rng = rng
        self._on_back = on_back
        self._on_lost = on_lost
        self._keeper: asyncio.Task[Any] | None = None
        self._wake = asyncio.Event()
        self._doubted = False
        self._asking = False
        self._expires: float | None = None
        self.up = False
        """Whether the brokerage session is known to be ours."""
        self._calls.on_trouble = self._on_trouble

    # --- connecting -----------------------------------------------------------------------------------------------

    async def begin(self, timeout: float) -> None:
        """Log in, open the brokerage session, learn the accounts; all within `timeout` seconds.

        Raises:
            AuthenticationError: nobody is logged in at the gateway, the token was refused, or another program has the
                session and `compete` is off.
            LiveTradingRefused: the login is a live one and the mode is paper.
            ConnectionRefused, ConnectTimeout, ProtocolError.
        """
        until = self._clock.monotonic() + timeout
        self._doubted = False
        self._expires = await self._calls.authenticate(timeout=timeout)
        await self._open(until)
        await self._prepare(until)
        self.up = True

    def keep(self) -> None:
        """The connection stands: keep it from now on."""
        self._wake = asyncio.Event()
        self._keeper = self._room.spawn(self._keep(), "login")

    async def stop(self) -> None:
        """Stop keeping it. The session itself is left open: other programs of the user name may use it."""
        keeper, self._keeper = self._keeper, None
        self.up = False
        if keeper is not None and keeper is not asyncio.current_task():
            keeper.cancel()
            await asyncio.wait([keeper])

    def doubt(self, why: str) -> None:
        """Something says that the session is gone (an answer, a frame): look at once."""
        _log.info("the session is doubted", why=why)
        self._doubted = True
        self._wake.set()

    def _on_trouble(self, error: TradingError) -> None:
        if self._keeper is not None and self.up and not self._asking:
            self.doubt(error.message)

    def _left(self, until: float) -> float:
        left = until - self._clock.monotonic()
        if left <= 0:
            raise ConnectTimeout("the brokerage session was not there in time.")
        return left

    async def _open(self, until: float) -> None:
        """Have the brokerage session, or raise why not."""
        status = AuthStatus.of(await self._calls.post("iserver/auth/status", timeout=self._left(until)))
        compete = self._room.endpoint.compete
        if status.good:
            return
        if not status.connected and not self._calls.signed:
            raise AuthenticationError("nobody is logged in at the gateway.", remedy=LOG_IN_AGAIN, retryable=True)
        body = {"publish": True, "compete": compete}
        status = AuthStatus.of(await self._calls.post("iserver/auth/ssodh/init", body, timeout=self._left(until)))
        while not status.good:
            if status.competing and not compete:
                raise AuthenticationError(
                    "another program of this user name has the brokerage session.",
                    remedy="End the other program, or set compete = yes in [web] to take the session from it.",
                    retryable=True,
                    competing=True,
                )
            await self._clock.sleep(min(_ASK_AGAIN_S, self._left(until)))
            status = AuthStatus.of(await self._calls.post("iserver/auth/status", timeout=self._left(until)))

    async def _prepare(self, until: float) -> None:
        """What must be asked in every brokerage session before anything else works."""
        endpoint = self._room.endpoint
        told = await self._calls.get("iserver/accounts", timeout=self._left(until))
        if not isinstance(told, dict) or not isinstance(told.get("accounts"), list):
            raise ProtocolError("iserver/accounts did not tell the accounts.")
        if endpoint.mode != "live" and told.get("isPaper") is False:
            raise LiveTradingRefused("SAFETY CHECK FAILED: the login at the gateway is not one for paper trading.")
        self._room.accounts = tuple(str(one) for one in told["accounts"] if isinstance(one, str))
        await self._calls.get("portfolio/accounts", timeout=self._left(until))
        for first in range(0, len(endpoint.suppress), _SUPPRESS_AT_ONCE):
            ids = list(endpoint.suppress[first : first + _SUPPRESS_AT_ONCE])
            await self._calls.post("iserver/questions/suppress", {"messageIds": ids}, timeout=self._left(until))
        await self._tickle(self._left(until))

    async def _tickle(self, timeout: float) -> AuthStatus:
        told = await self._calls.post("tickle", timeout=timeout)
        if not isinstance(told, dict):
            raise ProtocolError("the answer to /tickle is no object.")
        self._room.tickle_session = str(told.get("session") or "")
        server = told.get("iserver")
        return AuthStatus.of(server.get("authStatus") if isinstance(server, dict) else None)

    # --- keeping --------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        misses, wait = 0, self._room.endpoint.tickle_every
        while True:
            with contextlib.suppress(TimeoutError):  # its turn, and nobody called
                await self._clock.wait_for(self._wake.wait(), wait)
            self._wake.clear()
            wait = self._room.endpoint.tickle_every
            try:
                self._asking = True
                why = "" if await self._still_good() else "the brokerage session is gone"
                misses = 0
            except (AuthenticationError, BrokerLinkLost) as error:
                why, misses = error.message, 0
            except PacingError as error:
                _log.warning("the session could not be asked about", error=error.message)
                continue
            except TradingError as error:
                misses += 1
                _log.warning("the session could not be asked about", misses=misses, error=error.message)
                if misses < _MISSES:
                    wait = _ASK_AGAIN_S
                    continue
                if isinstance(error, IBKRConnectionError | RequestTimeout):
                    self._on_lost(error.message)
                    return
                why = error.message
            finally:
                self._asking = False
            if why:
                await self._again(why)

    async def _still_good(self) -> bool:
        await self._renew()
        doubted, self._doubted = self._doubted, False
        status = await self._tickle(_REQUEST_S)
        if doubted and status.good:
            status = AuthStatus.of(await self._calls.post("iserver/auth/status", timeout=_REQUEST_S))
        return status.good

    async def _renew(self) -> None:
        """A new token in good time before the old one ends."""
        if self._expires is not None:
            left = self._expires - self._clock.now().timestamp()
            if left < self._room.endpoint.renew_before:
                self._expires = await self._calls.authenticate(timeout=_REQUEST_S)

    async def _again(self, why: str) -> None:
        """The session is gone: tell it, and open it again, patiently."""
        self.up = False
        self._room.gaps.begin(_GAP, why)
        failures = 0
        while True:
            try:
                until = self._clock.monotonic() + 2 * _REQUEST_S
                if self._calls.signed:
                    self._expires = await self._calls.authenticate(timeout=_REQUEST_S)
                await self._open(until)
                await self._prepare(until)
                break
            except TradingError as error:
                wait = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2**failures) * self._rng.uniform(0.75, 1.0)
                failures = min(failures + 1, 10)
                _log.warning("the session is not there yet", error=error.message, again_in=round(wait, 1))
                await self._clock.sleep(wait)
        self.up, self._doubted = True, False
        self._on_back()
        self._room.gaps.end(_GAP)
