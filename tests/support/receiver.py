"""A local web server that keeps what is posted to it: the far end of alerts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Receiver:
    """Listens on a free port of 127.0.0.1 on a thread of its own. `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.posts: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.hold = threading.Event()
        """Answers wait for it."""
        self.hold.set()
        self._came = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.hold.wait(30)
                with receiver._came:
                    receiver.posts.append(json.loads(body))
                    receiver.paths.append(self.path)
                    receiver._came.notify_all()
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="receiver")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where to post; the path is a secret, as with Slack."""
        return f"http://127.0.0.1:{self.port}/services/T0SECRET/hook-secret-path"

    @property
    def kinds(self) -> list[str]:
        """What was told, in order."""
        return [str(post.get("kind")) for post in self.posts]

    def wait(self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = 20.0) -> None:
        """Block until what was posted fulfils a condition."""
        with self._came:
            if not self._came.wait_for(lambda: condition(self.posts), seconds):
                msg = f"not told in {seconds:g} s; told were {self.kinds}"
                raise AssertionError(msg)

    async def told(self, kind: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait (beside the loop) until an alert of this kind came; the first of them."""
        await asyncio.to_thread(self.wait, lambda posts: any(post.get("kind") == kind for post in posts), seconds)
        return next(post for post in self.posts if post.get("kind") == kind)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
