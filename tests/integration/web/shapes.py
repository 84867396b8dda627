"""Comparing answers with recordings and with IBKR's OpenAPI document: names and types, never values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def kind(value: Any) -> str:
    """The JSON type; whole and broken numbers are one."""
    if value is None:
        return "null"
    for name, types in (("boolean", bool), ("number", (int, float)), ("string", str), ("array", list)):
        if isinstance(value, types):
            return name
    return "object"


def body_of(path: Path, account: str) -> Any:
    """The body of a recording, about our account."""
    text = path.read_text("utf-8").replace("U1234567", account).replace(f"D{account}", account)
    body = json.loads(text)["Response"].get("Body")
    return json.loads(body) if isinstance(body, str) and body[:1] in {"{", "["} else body


def differences(recorded: Any, ours: Any, where: str = "") -> Iterator[str]:
    """Names the recording has and ours has not, and values of another type. Nulls fit everything."""
    if recorded is None or ours is None:
        return
    if kind(recorded) != kind(ours):
        yield f"{where or '/'}: recorded {kind(recorded)}, ours {kind(ours)}"
    elif isinstance(recorded, dict):
        for name, value in recorded.items():
            if name not in ours:
                yield f"{where}/{name}: missing"
            else:
                yield from differences(value, ours[name], f"{where}/{name}")
    elif isinstance(recorded, list) and recorded:
        if not ours:
            yield f"{where or '/'}: empty"
        else:
            yield from differences(recorded[0], ours[0], f"{where}[]")


class OpenApi:
    """IBKR's document."""

    def __init__(self, path: Path) -> None:
        self._document = json.loads(path.read_text("utf-8"))

    def template(self, method: str, path: str) -> str | None:
        """The documented path a request's path is one of."""
        parts = path.split("/")
        best: tuple[int, str] | None = None
        for documented, methods in self._document["paths"].items():
            wanted = documented.strip("/").split("/")
            if method.lower() not in methods or len(wanted) != len(parts):
                continue
            if all(w == p or w.startswith("{") for w, p in zip(wanted, parts, strict=True)):
                fixed = sum(not w.startswith("{") for w in wanted)
                best = max(best or (0, ""), (fixed, documented))
        return None if best is None else best[1]

    def schema(self, method: str, path: str) -> dict[str, Any]:
        """What status 200 answers with."""
        answer = self._document["paths"][path][method.lower()]["responses"]["200"]
        schema: dict[str, Any] = answer.get("content", {}).get("application/json", {}).get("schema", {})
        return schema

    def conflicts(self, schema: dict[str, Any], value: Any, where: str = "") -> Iterator[str]:
        """Values of a type the document does not allow."""
        while "$ref" in schema:
            target: Any = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            schema = target
        options = schema.get("oneOf") or schema.get("anyOf")
        if options:
            found = [list(self.conflicts(option, value, where)) for option in options]
            yield from min(found, key=len)
            return
        expected = {"integer": "number"}.get(schema.get("type", ""), schema.get("type", ""))
        if expected and value is not None and kind(value) != expected:
            yield f"{where or '/'}: documented {expected}, ours {kind(value)}"
            return
        if isinstance(value, dict):
            for name, inner in schema.get("properties", {}).items():
                if name in value:
                    yield from self.conflicts(inner, value[name], f"{where}/{name}")
        elif isinstance(value, list) and value and "items" in schema:
            yield from self.conflicts(schema["items"], value[0], f"{where}[]")
