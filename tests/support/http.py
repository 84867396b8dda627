"""Asking a local web server from a test's own event loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any


async def get(port: int, path: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, str]:
    """Status and body."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(10):
            answer = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def get_json(port: int, path: str) -> tuple[int, Any]:
    """Status and document."""
    status, body = await get(port, path)
    return status, json.loads(body)
