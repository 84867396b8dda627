"""Loggers and redaction: no secret reaches a log record (INV-13), and the application decides where records go.

`get_logger(__name__)` gives a structlog logger around the standard library's logger of that name. The package only
adds a handler that writes nothing; levels, handlers and formats are the application's (or the command line's).
structlog itself is imported at the first record somebody wants to see, so a quiet program does not pay for it.

Redaction knows two things: values that were registered (every `Secret`), in the forms in which they show up in text;
and texts that look like a credential (`password=…`, `Authorization: Bearer …`).
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import MutableMapping
from typing import Any, Protocol
from urllib.parse import quote, quote_plus

PACKAGE = "ibkr_connector"
FOREIGN_LOGGERS = ("ibind", "ibind_fh", "ib_insync", "ib_async", "ibapi", "eventkit", "urllib3", "websocket")
"""Libraries that log requests, headers or messages of ours."""
MASK = "[redacted]"

_SHORT = 4
"""Shorter secrets are masked as whole words only: masking every "a" would destroy the log and hide nothing."""

_KEYS = (
    r"password|passwd|passphrase|pwd|secret|token|signature|api[_-]?key|private[_-]?key"
    r"|authorization|cookie|set-cookie|credential|x-sess-uuid|session[_-]?id"
)
_KEY_NAME = re.compile(rf"(?:{_KEYS})s?$", re.IGNORECASE)
_LOOKS_SECRET = re.compile(
    rf"""(?P<key>(?:{_KEYS})s?["']?\s{{0,8}}[:=]\s{{0,8}})(?!\[redacted\])"""
    r"""(?P<value>(?:bearer|basic|oauth)\s+[^\s"',;]+|"[^"]*"|'[^']*'|[^\s"',;&)}\]]+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<key>bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


class _Registry:
    """The secret values known to this process, as one pattern."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        if not value.strip():
            return
        forms = {
            value,
            repr(value)[1:-1],
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
            quote(value),
            quote(value, safe=""),
            quote_plus(value),
        }
        with self._lock:
            if forms <= self._forms:
                return
            self._forms |= forms
            # The longest first: a secret that contains another is masked whole.
            ordered = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(self._one(form) for form in ordered))

    @staticmethod
    def _one(form: str) -> str:
        escaped = re.escape(form)
        return escaped if len(form) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"

    def mask(self, text: str) -> str:
        pattern = self._pattern
        return pattern.sub(MASK, text) if pattern else text


_registry = _Registry()


def register_secret(value: str) -> None:
    """Mask this value in every record from now on, also where it appears escaped or URL-encoded."""
    _registry.add(value)


def redact(text: str) -> str:
    """The text without registered secrets and without what looks like a credential."""
    text = _registry.mask(text)
    text = _LOOKS_SECRET.sub(lambda match: f"{match['key']}{MASK}", text)
    return _BEARER.sub(lambda match: f"{match['key']} {MASK}", text)


def redact_value(key: str, value: object) -> object:
    """A field of a record: masked whole if its name says so, else with the secrets in its text masked."""
    if _KEY_NAME.search(key) and value not in (None, "", True, False):
        return MASK
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict):
        return {inner: redact_value(str(inner), content) for inner, content in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(redact_value("", item) for item in value)  # type: ignore[call-arg, attr-defined]
    text = str(value)
    clean = redact(text)
    return value if clean == text else clean


# --- redaction of standard library records ----------------------------------------------------------------------------


class RedactionFilter(logging.Filter):
    """Masks secrets in a record: message, arguments, extra fields, traceback. Lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record in place."""
        scrub(record)
        return True


class RedactingHandler(logging.NullHandler):
    """Writes nothing; masks secrets in the records that pass on their way up to the application's handlers.

    A filter on a logger does not see the records of the loggers below it; a handler does.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Clean the record in place."""
        scrub(record)
        return True


_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_formatter = logging.Formatter()


def scrub(record: logging.LogRecord) -> None:
    """Mask secrets in a record, in place. A record without any stays as it was."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError):
        # A broken format string: the handler would print the raw arguments. Show them masked instead.
        text = f"{record.msg} {record.args}"
        record.msg, record.args = text, ()
    clean = redact(text)
    if clean != text:
        record.msg, record.args = clean, ()
    for key in vars(record).keys() - _STANDARD_FIELDS:
        value = getattr(record, key)
        if key == "ibkr_fields":  # ours, cleaned by the processor already
            continue
        setattr(record, key, redact_value(key, value))
    if record.stack_info:
        record.stack_info = redact(record.stack_info)
    if record.exc_text:
        record.exc_text = redact(record.exc_text)
    if record.exc_info and record.exc_info[0] is not None:
        trace = _formatter.formatException(record.exc_info)
        clean = redact(trace)
        if clean != trace:
            # Formatters take the text when there is one; dropping the exception keeps the others from it.
            record.exc_text, record.exc_info = clean, None


def install_redaction(*names: str) -> None:
    """Mask secrets in what the named libraries log (default: all that see our traffic). Repeating it changes nothing.

    Call it after importing such a library: loggers of its modules that exist by then are filtered at the source,
    later ones on their way up.
    """
    wanted = names or FOREIGN_LOGGERS
    existing = list(logging.root.manager.loggerDict)
    for name in wanted:
        _attach(logging.getLogger(name))
        for child in existing:
            if child.startswith(f"{name}."):
                logger = logging.getLogger(child)
                if not any(isinstance(item, RedactionFilter) for item in logger.filters):
                    logger.addFilter(RedactionFilter())


def _attach(logger: logging.Logger) -> None:
    if not any(isinstance(item, RedactionFilter) for item in logger.filters):
        logger.addFilter(RedactionFilter())
    if not any(isinstance(item, RedactingHandler) for item in logger.handlers):
        logger.handlers.insert(0, RedactingHandler())


_attach(logging.getLogger(PACKAGE))


# --- our own loggers --------------------------------------------------------------------------------------------------


class Logger(Protocol):
    """What the rooms log with: an event in a few words, and its facts as fields."""

    def bind(self, **fields: object) -> Logger:
        """A logger that adds these fields to each of its records."""
        ...

    def is_enabled_for(self, level: int) -> bool:
        """Whether a record of this level would be seen by anybody."""
        ...

    def debug(self, event: str, **fields: object) -> None:
        """Log for somebody who looks for a fault."""
        ...

    def info(self, event: str, **fields: object) -> None:
        """Log what an operator wants to have read."""
        ...

    def warning(self, event: str, **fields: object) -> None:
        """Log what may need somebody's attention."""
        ...

    def error(self, event: str, **fields: object) -> None:
        """Log a failure. `exc_info=True` adds the traceback."""
        ...

    def exception(self, event: str, **fields: object) -> None:
        """Log a failure with the traceback of the exception being handled."""
        ...

    def critical(self, event: str, **fields: object) -> None:
        """Log what endangers money now."""
        ...


class _LazyLogger:
    """A logger that imports structlog with its first visible record."""

    __slots__ = ("_bound", "_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: dict[str, object]) -> None:
        self._logger = logger
        self._fields = fields
        self._bound: Any = None

    def bind(self, **fields: object) -> _LazyLogger:
        return _LazyLogger(self._logger, {**self._fields, **fields})

    def is_enabled_for(self, level: int) -> bool:
        return self._logger.isEnabledFor(level)

    def debug(self, event: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._structlog().debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            self._structlog().info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.WARNING):
            self._structlog().warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.ERROR):
            self._structlog().error(event, **fields)

    def exception(self, event: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.ERROR):
            self._structlog().error(event, **{"exc_info": True, **fields})

    def critical(self, event: str, **fields: object) -> None:
        if self._logger.isEnabledFor(logging.CRITICAL):
            self._structlog().critical(event, **fields)

    def _structlog(self) -> Any:
        if self._bound is None:
            import structlog

            self._bound = structlog.wrap_logger(
                self._logger,
                processors=[structlog.contextvars.merge_contextvars, redact_event, render_event],
                wrapper_class=structlog.stdlib.BoundLogger,
                cache_logger_on_first_use=True,
            ).bind(**self._fields)
        return self._bound


def redact_event(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> dict[str, Any]:
    """Mask secrets in a structlog event; the processor of our loggers, usable in an application's chain as well."""
    return {
        key: value if key in ("exc_info", "stack_info") else redact_value("" if key == "event" else key, value)
        for key, value in event_dict.items()
    }


# From the standard library's call up to our caller: structlog's methods and the one of _LazyLogger.
_STACK_LEVEL = 5


def render_event(
    _logger: object, _method: str, event_dict: MutableMapping[str, Any]
) -> tuple[tuple[str, str], dict[str, Any]]:
    """Turn an event into a standard record: `event key=value …` to read, `ibkr_event` and `ibkr_fields` to process."""
    options: dict[str, Any] = {key: event_dict.pop(key) for key in ("exc_info", "stack_info") if key in event_dict}
    event = str(event_dict.pop("event", ""))
    text = " ".join([event, *(f"{key}={_shown(value)}" for key, value in event_dict.items())])
    extra = {"ibkr_event": event, "ibkr_fields": dict(event_dict)}
    return ("%s", text), {"extra": extra, "stacklevel": _STACK_LEVEL, **options}


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if text and not re.search(r"[\s=\"']", text) else json.dumps(text, ensure_ascii=False)


def get_logger(name: str) -> Logger:
    """Make the logger of a module; pass `__name__`. Never log in a path that runs per tick."""
    return _LazyLogger(logging.getLogger(name), {})
