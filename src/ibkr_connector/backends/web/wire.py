"""One HTTP request, exactly: written once or not at all, bounded in time and size, and followed by what is known of it.

ibind hands its requests to a session of `requests`; this is the session it is given. It notes whether a byte of the
request may have left (`Attempt.written`), follows no redirect (a redirected POST would be written a second time), reads
no more than is allowed, and takes no credentials from a `.netrc`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CHUNK = 64 * 1024


class GivenUp(Exception):
    """The request was given up while its connection was being made: no byte of it leaves any more."""


class AnswerTooLarge(Exception):
    """The body is longer than allowed."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One request on its way, noted by the thread that makes it; read by others when it has ended."""

    until: float
    """Monotonic seconds at which it is given up."""
    limit: int
    """Bytes of the answer's body."""
    written: bool = False
    """Whether a byte of it may have left this machine."""
    status: int = 0
    """The HTTP status; 0 = no answer."""
    date: str = ""
    """The answer's Date header."""
    body: bytes = b""
    connection: Any = field(default=None, repr=False)
    """The connection it was written on."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _begun: bool = False
    _abandoned: bool = False

    @property
    def begun(self) -> bool:
        """Whether a thread has taken it up."""
        return self._begun

    def begin(self) -> bool:
        """A thread takes it up; False where nobody wants it any more."""
        with self._lock:
            self._begun = not self._abandoned
            return self._begun

    def write(self, connection: Any = None) -> None:
        """The next bytes are about to leave. Raises `GivenUp` before the first one where nobody wants it any more."""
        with self._lock:
            if self._abandoned and not self.written:
                raise GivenUp("it was given up before it was written")
            self.written = True
            self.connection = connection

    def cut(self) -> None:
        """End its connection, from another thread: whoever waits for the answer does not wait any longer."""
        sock = None if self.connection is None else self.connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> bool:
        """Nobody waits any more. Whether it is certain that nothing was or will be written."""
        with self._lock:
            self._abandoned = True
            return not self.written


_here = threading.local()


def making(attempt: Attempt | None) -> None:
    """From now on, requests of this thread are `attempt`."""
    _here.attempt = attempt


def _attempt() -> Attempt:
    attempt = getattr(_here, "attempt", None)
    if not isinstance(attempt, Attempt):
        raise RuntimeError("a request outside of an attempt")  # noqa: TRY004 - our own bug, not a wrong type
    return attempt


class _Watched:
    """Notes the first byte of a request."""

    sock: Any

    def send(self, data: Any) -> Any:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        _attempt().write(self)
        return super().send(data)  # type: ignore[misc]


class _Plain(_Watched, HTTPConnection):
    pass


class _Secure(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure

    def _validate_conn(self, conn: Any) -> None:
        """Connect. No warning with every request of a certificate that is not checked: the settings say so, and only
        of a gateway on this machine.
        """
        if conn.is_closed:
            conn.connect()


class _Adapter(HTTPAdapter):
    """Connections of our own kind, and no retries of urllib3."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}


class ExactSession(requests.Session):
    """The session that ibind is given. `monotonic` tells the time that `Attempt.until` is in."""

    def __init__(self, monotonic: Callable[[], float], *, proxies_from_environment: bool) -> None:
        super().__init__()
        self._monotonic = monotonic
        self.trust_env = proxies_from_environment
        self.auth = _as_it_is  # else `requests` looks for a password in ~/.netrc, and replaces the signature by it
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(max_retries=0))

    def close(self) -> None:
        """End the idle connections, now: left to themselves they end when nobody refers to them any more."""
        for adapter in self.adapters.values():
            pools = adapter.poolmanager.pools  # type: ignore[attr-defined]
            for key in list(pools.keys()):
                pool = pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()

    def request(self, method: Any, url: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Make the request of this thread's attempt."""
        attempt = _attempt()
        left = attempt.until - self._monotonic()
        if left <= 0:
            raise requests.ConnectTimeout("the time was over before the request was made")
        kwargs.update(timeout=left, allow_redirects=False, stream=True)
        response = super().request(method, url, **kwargs)
        attempt.date = response.headers.get("Date", "")
        try:
            response._content = self._body(response, attempt)
            response._content_consumed = True
        except BaseException:
            response.close()
            raise
        attempt.status, attempt.body = response.status_code, response.content
        return response

    def _body(self, response: requests.Response, attempt: Attempt) -> bytes:
        parts, size = [], 0
        for chunk in response.iter_content(CHUNK):
            size += len(chunk)
            if size > attempt.limit:
                raise AnswerTooLarge(f"more than {attempt.limit} bytes")
            if self._monotonic() > attempt.until:
                raise requests.ReadTimeout("the answer did not end in time")
            parts.append(chunk)
        return b"".join(parts)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
