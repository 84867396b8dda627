"""What joins a session and its desks: routes from message ids to handlers, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from .fields import Cursor
from .texts import Error


@dataclass(frozen=True, slots=True)
class Route:
    """Who reads a request, and at which field its request id stands (None: errors about it carry -1)."""

    handle: Callable[[Cursor], None]
    id_at: int | None = None


Routes: TypeAlias = Mapping[int, Route]


class Refusal(Exception):
    """The request is answered with an error and nothing else."""

    def __init__(self, request_id: int, error: Error) -> None:
        super().__init__(f"{error[0]} {error[1]}")
        self.request_id = request_id
        self.error = error
