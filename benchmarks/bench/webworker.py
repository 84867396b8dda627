"""One side of the Web benchmarks in a process of its own.

python -m bench.webworker '{"kind": "raw", "urls": ["http://..."]}'     (run from the folder `benchmarks`)
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from . import machine, web_orders, web_pace, web_positions, web_quotes, web_writes
from .processes import serve
from .sides import Commands
from .webside import LIBRARY, RawWebSide, WebConnectorSide, WebSide

COMMANDS: Commands = {
    **web_quotes.COMMANDS,
    **web_positions.COMMANDS,
    **web_orders.COMMANDS,
    **web_pace.COMMANDS,
    **web_writes.COMMANDS,
}


def side_of(kind: str, urls: list[str], oauth: str, folder: str, options: dict[str, Any]) -> WebSide:
    """What the harness asked for."""
    if kind == "raw":
        return RawWebSide(urls, oauth, options)
    return WebConnectorSide(urls, Path(folder), oauth, options, paced=kind == "paced")


async def main(asked: dict[str, Any]) -> None:
    """Connect, and do what is asked."""
    connects = asked.pop("connects")
    side = side_of(**asked)

    async def handle(command: str, args: dict[str, Any]) -> Any:
        return await COMMANDS[f"{side.kind}.{command}"](side, **args)

    try:
        await side.prepare()
        if connects:
            await side.open()
        await serve({"library": machine.version_of(LIBRARY)}, handle)
    finally:
        await side.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
