"""What the backend asks for leave before it writes a request: the session's pace, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from ibkr_connector.errors import PacingError


class Leave(Protocol):
    """Leave to write one request, for the length of a block that is left when its answer is there."""

    def sent(self) -> None:
        """It is being written now."""
        ...

    def unused(self) -> None:
        """It was not and will not be written."""
        ...


class Pace(Protocol):
    """How fast requests may be made."""

    def request(self, method: str, path: str, timeout: float) -> AbstractAsyncContextManager[Leave]:
        """Wait for leave to write a request, at most `timeout` seconds. Raises `PacingTimeout`."""
        ...

    def exit(self, *, again: bool = False) -> AbstractAsyncContextManager[Leave]:
        """Wait for leave to write a cancel, however long it takes; `again`: it was written before."""
        ...

    def exit_answered(self) -> None:
        """A cancel was answered, and not with status 429."""
        ...

    def late(self, path: str) -> None:
        """What had its leave long before was written just now."""
        ...

    def limited(self, error: PacingError) -> None:
        """An answer with status 429: IBKR counts too many requests."""
        ...


class Unpaced:
    """No pacing: for tools, and for tests of the backend alone."""

    @asynccontextmanager
    async def request(self, method: str, path: str, timeout: float) -> AsyncIterator[Leave]:
        """At once."""
        yield self

    @asynccontextmanager
    async def exit(self, *, again: bool = False) -> AsyncIterator[Leave]:
        """At once."""
        yield self

    def exit_answered(self) -> None:
        """See `Pace`."""

    def sent(self) -> None:
        """See `Leave`."""

    def unused(self) -> None:
        """See `Leave`."""

    def late(self, path: str) -> None:
        """See `Pace`."""

    def limited(self, error: PacingError) -> None:
        """See `Pace`."""
