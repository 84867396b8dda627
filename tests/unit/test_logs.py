"""Logs: no secret in any record whatever road it takes (INV-13), the application decides, our caller is named."""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given, strategies as st

from ibkr_connector.logs import (
    MASK,
    RedactingHandler,
    RedactionFilter,
    get_logger,
    install_redaction,
    redact,
    redact_event,
    register_secret,
)


class Capture(logging.Handler):
    """An application's handler at the root: what it formats is what would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(funcName)s %(message)s"))
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n".join(str(vars(record)) for record in self.records)


@pytest.fixture
def log() -> Iterator[Capture]:
    """The root logger at DEBUG with one capturing handler."""
    root = logging.getLogger()
    level, capture = root.level, Capture()
    root.addHandler(capture)
    root.setLevel(logging.DEBUG)
    yield capture
    root.removeHandler(capture)
    root.setLevel(level)


@pytest.fixture
def secret() -> str:
    """A registered secret with characters that change when escaped."""
    value = f"s3 '\\\"%&{secrets.token_hex(8)}é"
    register_secret(value)
    return value


def fragments(secret: str) -> list[str]:
    """The part of a secret that no escaping changes: it may appear nowhere."""
    return [secret[7:-1]]


def test_a_record_reads_as_event_and_fields_and_names_our_caller(log: Capture) -> None:
    get_logger("ibkr_connector.test").bind(ref="abc").info("order acknowledged", order_id=7, text="two words", empty="")
    line = 'order acknowledged ref=abc order_id=7 text="two words" empty=""'
    assert log.lines == [
        f"ibkr_connector.test INFO test_a_record_reads_as_event_and_fields_and_names_our_caller {line}"
    ]
    record = log.records[0]
    assert vars(record)["ibkr_event"] == "order acknowledged"
    assert vars(record)["ibkr_fields"] == {"ref": "abc", "order_id": 7, "text": "two words", "empty": ""}


def test_every_level_arrives_with_its_own_caller(log: Capture) -> None:
    logger = get_logger("ibkr_connector.test")
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, name)("event")
    assert [record.levelname for record in log.records] == ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    assert {record.filename for record in log.records} == {"test_logs.py"}


def test_exceptions_carry_their_traceback(log: Capture) -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        get_logger("ibkr_connector.test").exception("failed")
    assert "KeyError: 'gone'" in log.lines[0]
    assert log.records[0].levelname == "ERROR"


def test_context_variables_of_the_application_are_fields(log: Capture) -> None:
    with structlog.contextvars.bound_contextvars(strategy="momentum"):
        get_logger("ibkr_connector.test").info("event")
    assert log.lines[0].endswith("event strategy=momentum")


def test_a_percent_sign_in_an_event_is_text(log: Capture) -> None:
    get_logger("ibkr_connector.test").info("50%s full", share="%d")
    assert log.lines[0].endswith("50%s full share=%d")


def test_a_level_nobody_wants_is_not_logged_and_can_be_asked_for(log: Capture) -> None:
    logger = get_logger("ibkr_connector.test.level")
    logging.getLogger("ibkr_connector.test.level").setLevel(logging.ERROR)
    logger.warning("quiet")
    assert log.lines == []
    assert [logger.is_enabled_for(level) for level in (logging.WARNING, logging.ERROR)] == [False, True]


# --- INV-13 -----------------------------------------------------------------------------------------------------------


def test_our_own_records_show_no_secret_in_any_field_or_traceback(log: Capture, secret: str) -> None:
    logger = get_logger("ibkr_connector.test").bind(bound=secret)
    try:
        raise ValueError(f"bad {secret}")
    except ValueError as error:
        logger.exception(f"event {secret}", error=error, nested={"a": [secret, (secret,)], "password": "plain"})
    logging.getLogger("ibkr_connector.plain").warning("plain %r", secret, extra={"more": secret})
    assert not [part for part in fragments(secret) if part in log.text]
    assert "'plain'" not in log.text.replace("ibkr_connector.plain", "")
    assert log.text.count(MASK) >= 6


@pytest.mark.parametrize(
    "name", ["ibind", "ibind_fh.x", "ib_insync.client", "ib_async.wrapper", "urllib3.new", "websocket"]
)
def test_the_libraries_records_show_no_secret(name: str, log: Capture, secret: str) -> None:
    install_redaction()
    logger = logging.getLogger(name)
    logger.error("sent %s", secret)
    logger.error("dict %(a)s", {"a": secret})
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        logger.exception("failed", extra={"headers": {"Authorization": "OAuth abc", "x": secret}})
    logger.error("stack", stack_info=True, extra={"obj": [secret]})
    assert len(log.records) == 4
    assert not [part for part in fragments(secret) if part in log.text]
    assert "OAuth abc" not in log.text


def test_a_library_s_own_handler_gets_the_masked_record_too(secret: str) -> None:
    logger = logging.getLogger("ibind_fh.file")
    own = Capture()
    logger.addHandler(own)
    try:
        install_redaction("ibind_fh")
        logger.warning("to a file %s", secret)
    finally:
        logger.removeHandler(own)
    assert not [part for part in fragments(secret) if part in own.text]


def test_a_broken_format_string_does_not_spill_its_arguments(log: Capture, secret: str) -> None:
    broken = "%d and %d"
    logging.getLogger("ibkr_connector.test").warning(broken, secret)
    assert len(log.lines) == 1
    assert not [part for part in fragments(secret) if part in log.text]


def test_installing_twice_attaches_once() -> None:
    install_redaction()
    install_redaction()
    logger = logging.getLogger("ibind")
    assert len([item for item in logger.filters if isinstance(item, RedactionFilter)]) == 1
    assert len([item for item in logger.handlers if isinstance(item, RedactingHandler)]) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2 next", f"password={MASK} next"),
        ("{'access_token': 'abc def', 'n': 1}", f"{{'access_token': {MASK}, 'n': 1}}"),
        ('{"password": "a\'b"}', f'{{"password": {MASK}}}'),
        ("Authorization: Bearer abc.def-ghi", f"Authorization: {MASK}"),
        ("sent Bearer abcdefgh12345", f"sent Bearer {MASK}"),
        ("oauth_signature=aB%2F&oauth_nonce=7", f"oauth_signature={MASK}&oauth_nonce=7"),
        ("Cookie: x-sess-uuid=0.abc", f"Cookie: {MASK}"),
        ("no secret: token bucket has 5 left", None),
        ("the author is signed in", None),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, expected: str | None) -> None:
    if text.startswith("no secret"):
        expected = f"no secret: {MASK} bucket has 5 left"
    assert redact(text) == (expected or text)


@given(st.text(min_size=4, max_size=40).filter(lambda text: bool(text.strip()) and MASK not in text))
def test_a_registered_secret_survives_in_no_common_form(value: str) -> None:
    import json
    from urllib.parse import quote, quote_plus

    register_secret(value)
    for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value), quote_plus(value)):
        assert form not in redact(f"<{form}>").replace(MASK, "")


def test_a_short_secret_is_masked_as_a_word_and_leaves_the_text_alone() -> None:
    register_secret("zqx")
    assert redact("zqx=zqx azqxb") == f"{MASK}={MASK} azqxb"


def test_a_secret_that_begins_with_another_is_masked_whole() -> None:
    register_secret("base-0091")
    register_secret("base-0091-and-more")
    assert redact("x base-0091-and-more y base-0091") == f"x {MASK} y {MASK}"


def test_a_stack_shows_no_secret(secret: str) -> None:
    record = logging.makeLogRecord({"msg": "m", "stack_info": f'  File "x.py"\n    login("{secret}")'})
    assert RedactionFilter().filter(record)
    assert not [part for part in fragments(secret) if part in str(record.stack_info)]


def test_masking_twice_changes_nothing(secret: str) -> None:
    once = redact(f"password={secret} token: abc Bearer abcdefghijk {secret}")
    assert redact(once) == once


def test_redaction_of_a_long_line_is_quick() -> None:
    assert redact("a" * 500_000 + "-" * 500_000).endswith("-")


def test_the_processor_fits_an_application_s_own_chain() -> None:
    event = redact_event(None, "info", {"event": "x password=1", "api_key": "k", "n": 1, "flag": True, "none": None})
    assert event == {"event": f"x password={MASK}", "api_key": MASK, "n": 1, "flag": True, "none": None}


def test_importing_logs_does_not_import_structlog_and_writes_nothing() -> None:
    code = (
        "import sys; from ibkr_connector.logs import get_logger; log = get_logger('ibkr_connector.x');"
        "log.debug('quiet'); assert 'structlog' not in sys.modules; log.warning('loud');"
        "assert 'structlog' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
