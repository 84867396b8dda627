"""A program that writes a journal and is killed, runs out of disk, or loses power. Run as a child by the tests.

`journal_child.py MODE STATE_DIR [more]`. It prints a line per step done; in mode `steps` it waits for a line on stdin
before each step, so that the test can kill it anywhere.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ibkr_connector import store
from ibkr_connector.clock import SystemClock
from ibkr_connector.errors import JournalError
from ibkr_connector.orders import journal_file, steps
from ibkr_connector.orders.changes import Change
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.lifecycle import apply
from unit.orders.kit import ACCOUNT, CLIENT_ID, UP, changing, echo, fill, request, sending


def tell(*words: object) -> None:
    print(*words, flush=True)


async def step_by_step(state_dir: str) -> None:
    """One order's whole road, a step per line of input."""
    journal = Journal.open(state_dir, ACCOUNT, SystemClock())
    record = steps.new_record(request(), account=ACCOUNT)

    def keep(changes: list[Change]) -> None:
        for change in changes:
            journal.record(record.ref, change)

    async def commit() -> None:
        await journal.commit_sending([sending()])
        steps.committed(record, order_id=11, client_id=CLIENT_ID, ctx=UP)

    async def change() -> None:
        entry = changing(record, quantity=record.terms.quantity + 50)
        await journal.commit_change(entry)
        steps.modify_sent(record, entry.new, UP)

    async def ack() -> None:
        keep(apply(record, echo(), UP))

    async def executed() -> None:
        keep(apply(record, fill(30), UP))

    async def cancel() -> None:
        keep(steps.cancel_sent(record, UP))

    async def flush() -> None:
        await journal.flush()

    for step in (commit, ack, executed, change, cancel, flush):
        if not sys.stdin.readline():
            return
        await step()
        tell(step.__name__)
    sys.stdin.readline()


async def power(state_dir: str, copies: str, result: str, variant: str) -> None:
    """Commit, and save what the disk holds at the moment of the socket write."""
    from unit.orders.durable_vfs import DurableCopies

    disk = DurableCopies(Path(state_dir), Path(copies))
    if variant == "synchronous-off":
        real = store.set_synchronous

        def off(connection: object, level: object) -> None:
            real(connection, "OFF")  # type: ignore[arg-type]

        for module in (store, journal_file):
            vars(module)["set_synchronous"] = off
    journal = Journal.open(state_dir, ACCOUNT, SystemClock())
    await journal.commit_sending([sending("FIRST", 11)])
    record = steps.new_record(request(order_ref="FIRST"), account=ACCOUNT)
    steps.committed(record, order_id=11, client_id=CLIENT_ID, ctx=UP)
    for change in apply(record, echo(order_ref="FIRST"), UP):
        journal.record("FIRST", change)
    if variant == "commit-after-write":
        disk.save(Path(result))
        await journal.commit_sending([sending("SECOND", 12)])
    else:
        await journal.commit_sending([sending("SECOND", 12)])
        disk.save(Path(result))
    tell("saved", disk.synced)
    os._exit(0)


async def full_disk(state_dir: str) -> None:
    """Run out of space, say what happened, get space again, recover."""
    import resource

    journal = Journal.open(state_dir, ACCOUNT, SystemClock())
    troubles: list[str] = []
    journal.on_trouble(lambda error: troubles.append(type(error).__name__))
    await journal.commit_sending([sending("BEFORE", 1)])
    largest = max(one.stat().st_size for one in (Path(state_dir) / ACCOUNT).iterdir())
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 200_000, hard))
    number = 1
    try:
        while number < 500:
            number += 1
            await journal.commit_sending([sending(f"R{number}", number)])
    except JournalError as error:
        tell("refused", type(error).__name__, journal.writable)
    record = steps.new_record(request(order_ref="BEFORE"), account=ACCOUNT)
    steps.committed(record, order_id=1, client_id=CLIENT_ID, ctx=UP)
    for change in apply(record, fill(30, order_ref="BEFORE"), UP):
        journal.record("BEFORE", change)
    tell("troubles", *troubles)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await journal.flush()
    tell("recovered", journal.writable, number)
    await journal.commit_sending([sending("AFTER", number + 1)])
    assert journal.high_water(CLIENT_ID) == number + 1
    journal.close()


async def leave(state_dir: str, how: str) -> None:
    """End without closing."""
    journal = Journal.open(state_dir, ACCOUNT, SystemClock())
    await journal.commit_sending([sending()])
    record = steps.new_record(request(), account=ACCOUNT)
    steps.committed(record, order_id=11, client_id=CLIENT_ID, ctx=UP)
    for change in apply(record, fill(30), UP):
        journal.record(record.ref, change)
    if how == "raise":
        raise SystemExit(3)
    globals()["kept"] = journal  # alive until the interpreter ends


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    modes: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "steps": step_by_step,
        "power": power,
        "full": full_disk,
        "leave": leave,
    }
    asyncio.run(modes[mode](*arguments))
