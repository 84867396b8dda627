"""The websocket: ibind's client in its own threads, its events brought to the session's loop in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibkr_connector.backends.web.shared import WebRoom

Frame = Any
"""One event of ibind's websocket client."""
Listener = Callable[[Frame], None]
"""Called on the session loop, in the order the frames came."""


class Socket:
    """One websocket of one backend. `on_status` hears what it says of the brokerage session."""

    def __init__(self, room: WebRoom, *, on_status: Callable[[str], None]) -> None:
        self._room = room
        self._on_status = on_status

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`."""

    def back(self) -> None:
        """See `Part`."""

    def listen(self, event: type[Any], listener: Listener) -> Callable[[], None]:
        """Give events of this class to `listener`; call the result to stop."""
        return lambda: None

    def subscribe(self, subscription: Any) -> Callable[[], None]:
        """Ask for a topic (one of ibind's subscriptions), now and after every reconnect; call the result to end it."""
        return lambda: None

    def on_gap(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after frames may have been missed: what they told must be read again over REST."""
        return lambda: None
