"""The control port's HTTP: `/faults` for tools that speak nothing else, such as curl.

    curl http://127.0.0.1:PORT/faults                               list
    curl -d '{"kind": "restart", "for": 5}' …/faults                arm one, or a list of them
    curl -H 'Content-Type: application/toml' --data-binary @plan.toml …/faults
    curl -X DELETE …/faults                                         disarm all, end what lasts

Answers are JSON. A request a browser makes for another site's page (it has an `Origin`, or names another host) is
refused: a web page must not be able to disturb a gateway.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

HEADER_LIMIT: Final = 100
BODY_LIMIT: Final = 4 * 1024 * 1024
PATH: Final = "/faults"
_METHODS: Final = ("GET", "POST", "DELETE")
_OURS: Final = frozenset({"127.0.0.1", "localhost"})

Answer = dict[str, Any]
Handler = Callable[[str, str, bytes], Answer]
"""(method, content type, body) -> answer. Raises ValueError for what makes no sense."""


class HttpError(Exception):
    """The request is refused with this status."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


def is_request_line(line: bytes) -> bool:
    """Whether a line begins an HTTP request (a command never does: commands are JSON)."""
    return line.rstrip().endswith((b" HTTP/1.1", b" HTTP/1.0"))


async def serve(line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
    """Answer one request whose first line has been read. The connection is to be closed afterwards."""
    try:
        method, headers = await _read_head(line, reader)
        body = await _read_body(headers, reader)
        answer = {"ok": True, **handle(method, headers.get("content-type", ""), body)}
        status = HTTPStatus.CREATED if method == "POST" else HTTPStatus.OK
    except HttpError as error:
        status, answer = error.status, {"ok": False, "error": str(error)}
    except ValueError as error:
        status, answer = HTTPStatus.BAD_REQUEST, {"ok": False, "error": str(error)}
    content = json.dumps(answer).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + content)
    await writer.drain()


async def _read_head(line: bytes, reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    headers: dict[str, str] = {}
    for _ in range(HEADER_LIMIT):
        text = (await reader.readline()).decode("latin-1").strip()
        if not text:
            break
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    else:
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers")
    words = line.decode("latin-1").split()
    method, target = (words[0], words[1]) if len(words) == 3 else ("", "")
    host = headers.get("host", "localhost").partition(":")[0]
    if "origin" in headers or host not in _OURS:
        raise HttpError(HTTPStatus.FORBIDDEN, "requests from web pages are refused: ask 127.0.0.1 without an Origin")
    if target.partition("?")[0] != PATH:
        raise HttpError(HTTPStatus.NOT_FOUND, f"there is nothing at {target!r}: use {PATH}")
    if method not in _METHODS:
        raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} {PATH} does nothing: use {', '.join(_METHODS)}")
    return method, headers


async def _read_body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "give a Content-Length")
    if len(length) > 9 or int(length) > BODY_LIMIT:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {BODY_LIMIT} bytes")
    try:
        return await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length") from None
