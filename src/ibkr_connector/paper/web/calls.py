"""What joins the server and the desks: a request as it was understood, the endpoint it is for, and answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias

Json: TypeAlias = Any
"""What `json.dumps` takes, and Decimals."""

Needs = Literal["nothing", "login", "brokerage"]
"""What must have happened before an endpoint answers."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_NUMBER_LIMIT: Final = 40
TEXT_LIMIT: Final = 512
"""Characters of a single value: longer ones mean nothing to any endpoint."""
_ABSENT: Final = object()


class WebError(Exception):
    """The request is answered with this status and IBKR's usual error object."""

    def __init__(self, status: int, text: str, body: Json | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.body: Json = {"error": text, "statusCode": status} if body is None else body


def bad_request(text: str) -> WebError:
    """400: the request makes no sense."""
    return WebError(HTTPStatus.BAD_REQUEST, f"Bad Request: {text}")


NO_BRIDGE: Final = "Bad Request: no bridge"
"""What /iserver endpoints answer, with status 400, while there is no brokerage session."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status or a form of its own. A `text` is sent as it is."""

    body: Json = None
    status: int = 200
    text: str | None = None
    cookies: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Call:
    """One request."""

    name: str
    path: Mapping[str, str]
    """What stood in the places of the path's braces."""
    query: Mapping[str, str]
    body: Json = None
    """The decoded JSON, None without one."""
    remote: str = ""
    authorization: str = field(default="", repr=False)
    """The header of that name."""

    # --- the query ---

    def text(self, name: str, default: str | None = None) -> str:
        """A value of the query or the path. 400 if it is missing and there is no default."""
        value = self.path.get(name, self.query.get(name))
        if value is None:
            if default is None:
                raise bad_request(f"{name} is missing")
            return default
        if len(value) > TEXT_LIMIT:
            raise bad_request(f"{name} is too long")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number of the query or the path."""
        value = self.text(name, None if default is None else str(default))
        if not _INTEGER.fullmatch(value):
            raise bad_request(f"{name} is not a number")
        return int(value)

    def flag(self, name: str) -> bool:
        """True for true, True, 1. Clients send Python's spelling."""
        return self.text(name, "").lower() in {"true", "1"}

    def conids(self, name: str = "conids", limit: int = 100) -> list[int]:
        """A list of contract ids separated by commas."""
        # A list of several hundred ids may be longer than any other value.
        raw = self.query.get(name, "")
        parts = [part.strip().partition("@")[0] for part in raw.split(",")] if raw else []
        if not parts or len(parts) > limit or not all(_INTEGER.fullmatch(part) for part in parts):
            raise bad_request(f"{name} must be 1 to {limit} contract ids")
        return [int(part) for part in parts]

    # --- the body ---

    def object(self) -> dict[str, Json]:
        """The body as an object. 400 if it is something else."""
        if not isinstance(self.body, dict):
            raise bad_request("a JSON object is expected")
        return self.body


class Fields:
    """Typed reading of an object a client sent: what is wrong is said with the field's name."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        self.values = values

    def _get(self, names: Iterable[str]) -> Json:
        for name in names:
            value = self.values.get(name, _ABSENT)
            if value is not _ABSENT and value is not None:
                return value
        return None

    def text(self, *names: str, default: str = "") -> str:
        """A text; numbers are taken as their text, as IBKR does."""
        value = self._get(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > TEXT_LIMIT:
            raise bad_request(f"{names[0]} must be a text")
        return str(value)

    def integer(self, *names: str) -> int | None:
        """A whole number, also as a text."""
        value = self._get(names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int) or not _INTEGER.fullmatch(str(value)):
            raise bad_request(f"{names[0]} must be a whole number")
        return int(value)

    def decimal(self, *names: str) -> Decimal | None:
        """A number, also as a text. Empty texts count as missing."""
        value = self._get(names)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > _NUMBER_LIMIT:
            raise bad_request(f"{names[0]} must be a number")
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        # Neither IBKR nor the exchange deals in numbers beyond these; an exponent could make them costly.
        if not number.is_finite() or number.adjusted() > 15 or number.adjusted() < -12:
            raise bad_request(f"{names[0]} must be a number")
        return number

    def flag(self, *names: str) -> bool:
        """A truth value, also as a text."""
        value = self._get(names)
        if isinstance(value, str):
            return value.lower() == "true"
        return value is True

    def objects(self, name: str, limit: int) -> list[dict[str, Json]]:
        """A list of objects."""
        value = self.values.get(name)
        if not isinstance(value, list) or not value or len(value) > limit:
            raise bad_request(f"{name} must be a list of 1 to {limit}")
        if not all(isinstance(entry, dict) for entry in value):
            raise bad_request(f"{name} must be a list of objects")
        return value

    def texts(self, name: str, limit: int) -> list[str]:
        """A list of texts; numbers are taken as their text."""
        value = self.values.get(name)
        if not isinstance(value, list) or len(value) > limit:
            raise bad_request(f"{name} must be a list of at most {limit}")
        if not all(isinstance(entry, str | int) and len(str(entry)) <= TEXT_LIMIT for entry in value):
            raise bad_request(f"{name} must be a list of texts")
        return [str(entry) for entry in value]


Handler: TypeAlias = Callable[[Call], "Json | Reply | Awaitable[Json | Reply]"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method and path below /v1/api."""

    methods: str
    """`GET`, or several separated by blanks."""
    path: str
    """Like `iserver/account/{account}/orders`."""
    name: str
    """What fault plans and limits call it."""
    handler: Handler
    needs: Needs = "brokerage"
