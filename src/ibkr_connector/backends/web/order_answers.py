"""What an answer to a written order means. Pure: a question, a row for each order, a refusal, or nothing clear."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ibkr_connector.backends.web.codes import TEXT_LIMIT, error_text
from ibkr_connector.backends.web.convert import integer, text

_REPLY_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_MESSAGE_ID = re.compile(r"[a-z]\d{1,8}")
_TAG = re.compile(r"<[^>]{0,40}>")
_MOST_ROWS = 50
REGISTERED = "already registered"
"""In the refusal of a cOID that was used before: the first writing of it arrived."""


@dataclass(frozen=True, slots=True)
class Question:
    """The broker asks back."""

    reply_id: str
    message_ids: tuple[str, ...]
    """Those that look like message ids."""
    text: str

    @property
    def shown(self) -> str:
        """The question with its ids, for people."""
        return f"{', '.join(self.message_ids) or 'no message id'}: {self.text}"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one order of the request."""

    ref: str
    """Our ref; empty when the broker did not repeat it."""
    perm_id: int
    status: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request was refused as a whole."""

    text: str

    @property
    def is_duplicate(self) -> bool:
        """It proves that an earlier writing of it arrived."""
        return REGISTERED in self.text.lower()


@dataclass(frozen=True, slots=True)
class Unclear:
    """An answer that says nothing that can be relied on."""

    why: str


Answer: TypeAlias = "Question | tuple[Taken, ...] | Refused | Unclear"


def read_answer(body: Any) -> Answer:
    """Read the answer to a POST of orders, a change, or a reply."""
    said = error_text(body)
    if said:
        return Refused(said)
    rows: Sequence[Any] = body if isinstance(body, list) else [body]
    if not rows or len(rows) > _MOST_ROWS or not all(isinstance(row, dict) for row in rows):
        return Unclear("the answer cannot be read")
    if "message" in rows[0] and "id" in rows[0]:
        return _question(rows[0])
    taken = tuple(_taken(row) for row in rows)
    if any(not one.perm_id and not one.error for one in taken):
        return Unclear("the answer names no order")
    return taken


def _question(row: dict[str, Any]) -> Question | Unclear:
    reply_id = row.get("id")
    if not isinstance(reply_id, str) or _REPLY_ID.fullmatch(reply_id) is None:
        return Unclear("a question without a usable id was asked")
    told = row.get("message")
    parts = [one for one in told if isinstance(one, str)] if isinstance(told, list) else [text(told)]
    words = " ".join(_TAG.sub(" ", " ".join(parts)).split())
    named = row.get("messageIds")
    ids = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    return Question(reply_id, tuple(one for one in ids if _MESSAGE_ID.fullmatch(one)), words[:TEXT_LIMIT])


def _taken(row: dict[str, Any]) -> Taken:
    return Taken(
        ref=text(row.get("local_order_id")),
        perm_id=integer(row.get("order_id")),
        status=text(row.get("order_status")),
        error=error_text(row),
    )
