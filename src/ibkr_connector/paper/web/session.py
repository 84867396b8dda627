"""Who is logged in, and whether the brokerage session is theirs. One username, as a real gateway has one.

A *login* (SSO) lasts a day at most and ends at midnight; portfolio and reference data need no more. A *brokerage
session* needs a login, ends after minutes without a request, and only one program of a username has it: another that
competes takes it away. All of this is real time, whatever the market clock does.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from ..clock import NEW_YORK

if TYPE_CHECKING:
    from ..clock import MarketClock
    from .options import WebOptions

SERVER_NAME: Final = "PaperN1001"
SERVER_VERSION: Final = "Build 10.44.1a, Jan 5, 2026 9:00:00 AM"
"""In the words of a real one: clients parse it."""

Change = dict[str, object]
Listener = Callable[[Change], None]


class LoginSession:
    """The login and the brokerage session of one username."""

    def __init__(self, clock: MarketClock, options: WebOptions, rng: random.Random) -> None:
        self._clock = clock
        self._options = options
        self._rng = rng
        self._listeners: list[Listener] = []
        self.mac = ":".join(f"{rng.randrange(256):02X}" for _ in range(6))
        self.hardware = f"{rng.getrandbits(32):08x}|{self.mac}"
        self.user_id = rng.randrange(100_000_000, 200_000_000)
        self.token = ""
        """What /tickle calls `session`: the same for as long as the login lasts."""
        self.logged_in = False
        self.authenticated = False
        """Whether the brokerage session is ours."""
        self.competing = False
        """Whether another program has it."""
        self.connected = False
        self.message = ""
        self.since: datetime = clock.wall()
        self.expires: datetime = self.since
        self._rival = False
        self._touched = clock.wire()
        if options.logged_in and options.oauth is None:
            self.log_in(brokerage=options.brokerage)

    # --- logging in and out ---

    def log_in(self, *, brokerage: bool, expires: datetime | None = None) -> None:
        """A login has succeeded. `expires` is its end where a token decides it."""
        self.token = f"{self._rng.getrandbits(128):032x}"
        self.logged_in = self.connected = True
        self.message = ""
        self.since = self._clock.wall()
        self.expires = expires if expires is not None else self._end_of_login()
        self.touch()
        if brokerage:
            self.open_brokerage(compete=True)

    def renew(self, expires: datetime) -> None:
        """A token was asked for again: the login goes on under it."""
        if self.logged_in:
            self.expires = expires
        else:
            self.log_in(brokerage=False, expires=expires)

    def log_out(self, message: str = "") -> None:
        """The login has ended, and the brokerage session with it."""
        self.logged_in = self.connected = False
        self.token = ""
        self.lose_brokerage(message)

    def _end_of_login(self) -> datetime:
        end = self.since + timedelta(seconds=self._options.sso_life)
        if self._options.midnight:
            local = self.since.astimezone(NEW_YORK)
            midnight = datetime.combine(local.date() + timedelta(days=1), time(), NEW_YORK)
            end = min(end, midnight.astimezone(self.since.tzinfo))
        return end

    # --- the brokerage session ---

    def open_brokerage(self, *, compete: bool) -> bool:
        """Ask for the brokerage session; with `compete` also where another program has it. Whether it is ours."""
        if self._rival and not compete:
            self.competing = True
            return False
        self._rival = False
        self.authenticated, self.competing, self.connected, self.message = True, False, True, ""
        self.touch()
        self._tell({"authenticated": True, "competing": False, "connected": True, "message": ""})
        return True

    def lose_brokerage(self, message: str = "") -> None:
        """The brokerage session is gone."""
        was = self.authenticated
        self.authenticated, self.message = False, message
        if was:
            self._tell({"authenticated": False})

    def rival(self) -> None:
        """Another program of this username logs in and takes the brokerage session."""
        self._rival = True
        self.competing = True
        self.lose_brokerage()
        self._tell({"competing": True})

    def rival_leaves(self) -> None:
        """The other program is gone. Nobody gets the session back by that."""
        self._rival = self.competing = False

    # --- time ---

    def touch(self) -> None:
        """A request has come: the session is in use."""
        self._touched = self._clock.wire()

    def look(self) -> None:
        """Let what is over be over."""
        if self.logged_in and self._clock.wall() >= self.expires:
            self.log_out()
        elif self.authenticated and self._clock.wire() - self._touched >= self._options.idle_timeout:
            self.lose_brokerage()

    def left_ms(self) -> int:
        """Milliseconds until the login ends."""
        return max(0, int((self.expires - self._clock.wall()).total_seconds() * 1000))

    # --- telling ---

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear what changes, as fragments of a status; call the result to stop."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)

    def status(self) -> dict[str, object]:
        """The status as auth/status, ssodh/init and tickle show it (without `fail`)."""
        if not self.logged_in:
            return {"authenticated": False, "competing": False, "connected": False, "MAC": self.mac}
        return {
            "authenticated": self.authenticated,
            "established": self.authenticated,
            "competing": self.competing,
            "connected": self.connected,
            "message": self.message,
            "MAC": self.mac,
            "serverInfo": {"serverName": SERVER_NAME, "serverVersion": SERVER_VERSION},
            "hardware_info": self.hardware,
        }
