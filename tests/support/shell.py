"""Running the command line in processes of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any


class Shell:
    """Runs commands in processes of their own, with the settings of the test."""

    def __init__(self, port: int, folder: Path) -> None:
        home = str(folder / "home")
        named = {"IBKR_STATE_DIR": str(folder / "state"), "IBKR_PORT": str(port), "HOME": home, "XDG_CONFIG_HOME": home}
        self.environment = {**os.environ, **named}
        self.folder = folder

    async def run(self, *words: str, code: int = 0) -> Any:
        """What the command says in JSON; it must end with `code`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ibkr_connector.cli", *words, "--json"),
            env=self.environment,
            cwd=self.folder,
            stdout=PIPE,
            stderr=PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode == code, (out, err)
        return json.loads(out)
