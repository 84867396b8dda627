"""A run on real sockets as files: what each process writes while it lives, and reading all of it back for the judge.

One folder per run:

    schedule.json           what was to happen
    faults.toml             its faults, as the gateway was given them
    truth.jsonl             the gateway's truth log
    history-N.jsonl         notes of the Nth process of the connector (a line cut by its kill -9 may be the last)
    outside.jsonl           notes of whoever started, killed and asked the others
    stranger.jsonl          notes of another program in the same account, if there was one
    memory.jsonl            what the agents remember over a crash
    state/                  the connector's state directory, journal and all
    log-N.txt               what the Nth process logged

All stamps are `time.monotonic()`, which is one clock for all processes of a Linux machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from ibkr_connector.models.order import BracketRequest, OrderRequest
from ibkr_connector.paper.truth import TruthEntry, TruthLog
from proof.agent import Memory
from proof.evidence import Evidence, Picture
from proof.history import History, Note
from proof.schedule import from_json
from proof.web_evidence import translate

SCHEDULE = "schedule.json"
FAULTS = "faults.toml"
TRUTH = "truth.jsonl"
OUTSIDE = "outside.jsonl"
STRANGER = "stranger.jsonl"
MEMORY = "memory.jsonl"
STATE = "state"
_DECIMALS = frozenset({
    "quantity", "filled", "remaining", "avg_fill_price", "limit_price", "aux_price", "price", "wrong_price", "cum_qty",
    "amount", "realized_pnl",
})  # fmt: skip
"""Of a truth entry: numbers that JSON carries as text."""
_LISTS = {"problem": "problems", "leftover": "leftovers", "remark": "notes"}


def history_file(folder: Path, number: int) -> Path:
    """Of the connector's process `number`, from 1."""
    return folder / f"history-{number}.jsonl"


# --- writing ---------------------------------------------------------------------------------------------------------


class Lines:
    """Appends lines to a file, each with one write: what a kill -9 finds written stays."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def put(self, data: bytes) -> None:
        """One line."""
        os.write(self._file, data + b"\n")

    def close(self) -> None:
        """The end."""
        os.close(self._file)


class FileHistory(History):
    """A history in a file. Safe from any thread; the lines stand in the order of their times."""

    def __init__(self, path: Path, secret: str = "") -> None:
        super().__init__(time.monotonic, secret)
        self.lines = Lines(path)

    def add(self, kind: str, /, **data: Any) -> None:
        """Note something that happens now."""
        self.add_then(kind, lambda: None, **data)

    def add_then(self, kind: str, then: Callable[[], None], /, **data: Any) -> None:
        """Note something, and do `then` before anybody else can note anything."""
        with self.lines.lock:
            self.lines.put(msgspec.json.encode(Note(time.monotonic(), kind, data)))
            then()

    def close(self) -> None:
        """The end."""
        self.lines.close()


class _Kept(dict[str, Any]):
    """A dict that tells what is put into it."""

    def __init__(self, known: Mapping[str, Any], keep: Callable[[str, Any], None]) -> None:
        super().__init__(known)
        self._keep = keep

    def __setitem__(self, key: str, value: Any) -> None:
        self._keep(key, value)
        super().__setitem__(key, value)


def open_memory(path: Path) -> Memory:
    """What the agents knew when their process died, and from now on keep there, before they act on it."""
    known = Memory()
    for line in _lines(path):
        found = json.loads(line)
        if "next" in found:
            known.next[found["agent"]] = found["next"]
        else:
            known.requests[found["ref"]] = _request(found["orders"])
    file = Lines(path)

    def keep_next(agent: str, index: int) -> None:
        with file.lock:
            file.put(json.dumps({"agent": agent, "next": index}).encode())

    def keep_request(ref: str, asked: OrderRequest | BracketRequest) -> None:
        parts = [asked]
        if isinstance(asked, BracketRequest):
            parts = [asked.entry, asked.take_profit, asked.stop_loss]
        orders = [json.loads(part.model_dump_json()) for part in parts if isinstance(part, OrderRequest)]
        with file.lock:
            file.put(json.dumps({"ref": ref, "orders": orders}).encode())

    return Memory(requests=_Kept(known.requests, keep_request), next=_Kept(known.next, keep_next))


def _request(orders: list[Any]) -> OrderRequest | BracketRequest:
    made = [OrderRequest.model_validate_json(json.dumps(one)) for one in orders]
    if len(made) == 1:
        return made[0]
    entry, take_profit, stop_loss = made
    return BracketRequest(entry=entry, take_profit=take_profit, stop_loss=stop_loss)


def to_toml(faults: tuple[dict[str, str | int | float | None], ...]) -> str:
    """Faults as a plan file."""
    parts = ["version = 1\n"]
    for fault in faults:
        lines = [f"{key} = {json.dumps(value)}" for key, value in fault.items() if value is not None]
        parts.append("\n".join(["[[fault]]", *lines]) + "\n")
    return "\n".join(parts)


# --- reading ---------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[bytes]:
    """Complete lines: the last one may have been cut off."""
    if path.exists():
        yield from path.read_bytes().split(b"\n")[:-1]


def read_notes(path: Path) -> list[Note]:
    """The notes of one file, the cut one left out."""
    return [msgspec.json.decode(line, type=Note) for line in _lines(path)]


def read_truth(path: Path) -> TruthLog:
    """A truth log as it was in the gateway's memory."""
    truth = TruthLog()
    for line in _lines(path):
        fields = json.loads(line)
        head = {name: fields.pop(name) for name in ("seq", "at", "wire", "kind")}
        for name in _DECIMALS & fields.keys():
            if isinstance(fields[name], str):
                fields[name] = Decimal(fields[name])
        truth._entries.append(
            TruthEntry(head["seq"], datetime.fromisoformat(head["at"]), head["wire"], head["kind"], fields)
        )
    return truth


def read_evidence(folder: Path) -> Evidence:
    """Everything that a run left in its folder. Raises OSError or ValueError where it is no such folder."""
    schedule = from_json((folder / SCHEDULE).read_bytes())
    history = History(time.monotonic)
    evidence = Evidence(schedule=schedule, history=history, truth=read_truth(folder / TRUTH))
    files = [folder / OUTSIDE, folder / STRANGER, *sorted(folder.glob("history-*.jsonl"))]
    for note in sorted((note for path in files for note in read_notes(path)), key=lambda note: note.at):
        if not _take(note, evidence):
            history.notes.append(note)
    evidence.read_journal(folder / STATE)
    if schedule.backend == "web":
        translate(evidence)
    return evidence


def _take(note: Note, evidence: Evidence) -> bool:
    """Take in what is no part of the history itself."""
    data = note.data
    match note.kind:
        case "picture":
            setattr(evidence, data["name"], msgspec.json.decode(data["picture"], type=Picture))
        case "counted":
            evidence.checkpoints[data["name"]] = data["entries"]
        case "hang":
            evidence.hang = data["text"]
        case "unready":
            evidence.unready = True
        case "lasted":
            evidence.wire_seconds, evidence.market_seconds = data["wire"], data["market"]
        case "problem" | "leftover" | "remark":
            getattr(evidence, _LISTS[note.kind]).append(data["text"])
        case _:
            return False
    return True
