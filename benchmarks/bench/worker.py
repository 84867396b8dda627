"""One side in a process of its own.

python -m bench.worker raw ib_insync PORT CLIENT_ID FOLDER     (run from the folder `benchmarks`)
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from . import bars, blocked, connect, crowd, gates, machine, memory, orders, pacing, positions, reconnect, ticks
from .processes import serve
from .sides import Commands, ConnectorSide, RawSide, Side

COMMANDS: Commands = {
    **bars.COMMANDS,
    **blocked.COMMANDS,
    **connect.COMMANDS,
    **crowd.COMMANDS,
    **gates.COMMANDS,
    **memory.COMMANDS,
    **orders.COMMANDS,
    **pacing.COMMANDS,
    **positions.COMMANDS,
    **reconnect.COMMANDS,
    **ticks.COMMANDS,
}


async def main(kind: str, library: str, port: int, client_id: int, folder: Path) -> None:
    """Connect, and do what is asked."""
    before = machine.resident_bytes()
    side: Side = RawSide(library, port, client_id) if kind == "raw" else ConnectorSide(library, port, client_id, folder)
    if kind == "paced":  # the connector with the pacing it has by default
        side = ConnectorSide(library, port, client_id, folder, rates={})

    async def handle(command: str, args: dict[str, Any]) -> Any:
        return await COMMANDS[f"{side.kind}.{command}"](side, **args)

    greeting = {"library": machine.version_of(library), "client_id": client_id, "before": before}
    try:
        await side.open()
        await serve(greeting, handle)
    finally:
        await side.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])))
