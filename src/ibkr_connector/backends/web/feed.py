"""Account values, positions and P&L as facts while they change."""

from __future__ import annotations

from ibkr_connector.backends.web.reads import Reads
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.backends.web.ws import Socket


class Feed:
    """The account feed of `Backend`. `reads` answers what has to be read again after a gap."""

    def __init__(self, room: WebRoom, socket: Socket, reads: Reads) -> None:
        self._room = room
        self._socket = socket
        self._reads = reads

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`."""

    def back(self) -> None:
        """See `Part`."""

    def subscribe_account(self, account: str) -> None:
        """See `Backend.subscribe_account`."""

    def unsubscribe_account(self, account: str) -> None:
        """See `Backend.unsubscribe_account`."""
