"""The INI reader: what it accepts, and that each refusal names its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.config.ini import MAX_BYTES, Entry, parse_ini, read_ini
from ibkr_connector.errors import ConfigurationError

PATH = Path("x.ini")


def test_entries_keep_section_order_and_line() -> None:
    text = "top = 0\n\n# a comment\n[One]\n  Key = v\n; another\n[two]\nkey: w:=x\n"
    assert parse_ini(text, PATH) == [
        Entry("", "top", "0", 1),
        Entry("one", "key", "v", 5),
        Entry("two", "key", "w:=x", 8),
    ]


@pytest.mark.parametrize("password", ["100%", "%(host)s", "a%%b", "a;b#c", "a = b", "'quoted'", "ümläut", "x:y", "[z]"])
def test_a_value_is_taken_as_it_is(password: str) -> None:
    assert parse_ini(f"[connection]\npassword = {password}\n", PATH)[0].value == password


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_any_printable_value_survives(value: str) -> None:
    assert parse_ini(f"[s]\nk = {value}", PATH) == [Entry("s", "k", value, 2)]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[a]\nkey = 1\n   continued\n", 3, "neither a comment"),
        ("[a\n", 1, "form [name]"),
        ("[]\n", 1, "form [name]"),
        ("[a]\n= 1\n", 2, "neither a comment"),
        ("[a]\nk = 1\n\nK = 2\n", 4, "already given in this section on line 2"),
    ],
)
def test_a_malformed_line_is_named(text: str, line: int, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_ini(text, PATH)
    assert problem in str(caught.value)
    assert caught.value.context["origin"] == f"x.ini:{line}"


def test_a_malformed_line_never_shows_its_content() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_ini("[connection]\npassword hunter2\n", PATH)
    assert "hunter2" not in str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_no_content(tmp_path: Path) -> None:
    path = tmp_path / "a.ini"
    path.write_bytes(b"\xef\xbb\xbf[a]\r\nk = v\r\n")
    assert read_ini(path) == [Entry("a", "k", "v", 2)]


@pytest.mark.parametrize(
    ("content", "problem"), [(b"[a]\nk = \xff\n", "not UTF-8"), (b"#" * (MAX_BYTES + 1), "larger than")]
)
def test_a_file_that_is_no_settings_file_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ini"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem):
        read_ini(path)


def test_an_unreadable_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: (Is a directory|Permission denied)"):
        read_ini(tmp_path)
