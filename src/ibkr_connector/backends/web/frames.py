"""What a frame of the websocket means to ibind, and what to us. Runs on ibind's runtime thread.

ibind's own router suits its own subscriptions: it drops or refuses frames that real servers send (`ntf` with one notice
instead of a list, `ssd` without the account's code, fields it has no name for), and each frame it cannot place costs a
warning. This one hands every frame on as it is, as one event, and tells ibind only what it needs to know itself: that
the session stands, and that the other side is alive.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ibind import events

from ibkr_connector.logs import get_logger

_log = get_logger(__name__)

FRAME_LIMIT = 8 * 1024 * 1024
"""Characters of the longest frame that is read; longer ones are dropped, and said so."""
WAITING = "waiting for session"


class FrameRouter:
    """ibind's `Router`. Raises nothing: ibind would hand it the same frame five more times."""

    def __init__(self, wall_seconds: Callable[[], float]) -> None:
        self._wall_seconds = wall_seconds

    def route(self, raw: str) -> list[Any]:
        """The events of one frame, in order: ibind's own first."""
        message = read_frame(raw)
        if message is None:
            return []
        found: list[Any] = []
        topic, arguments = message.get("topic"), message.get("args")
        if topic == "system" and "hb" in message:
            # ibind compares the server's clock with this machine's, and would tear a healthy connection down every ten
            # seconds where they differ by twenty. That one came says enough.
            found.append(events.System(data={"topic": "system", "hb": int(self._wall_seconds() * 1000)}))
        elif topic == "sts" and isinstance(arguments, dict):
            authenticated, competing = arguments.get("authenticated"), arguments.get("competing")
            found.append(
                events.AuthenticationStatus(
                    data=arguments,
                    authenticated=authenticated if isinstance(authenticated, bool) else None,
                    # The login keeper hears of it; ibind would log an error at every frame.
                    competing=False if isinstance(competing, bool) else None,
                )
            )
        elif topic is None and message.get("message") == WAITING:
            found.append(events.WaitingForSession())
        found.append(events.GenericIbkrEvent(message=message, topic=topic if isinstance(topic, str) else None))
        return found


def read_frame(raw: object) -> dict[str, Any] | None:
    """The frame as an object of JSON; None for anything else."""
    if not isinstance(raw, str) or len(raw) > FRAME_LIMIT:
        _log.warning("a frame of the websocket is too long, and was dropped")
        return None
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        _log.warning("a frame of the websocket is no JSON, and was dropped")
        return None
    if not isinstance(message, dict):
        _log.warning("a frame of the websocket is no object, and was dropped")
        return None
    return message
