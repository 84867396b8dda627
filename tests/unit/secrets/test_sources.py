"""Where secrets are kept: what is refused, what to do about it, and that no error shows a value."""

from __future__ import annotations

import builtins
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets.files import FileSource
from ibkr_connector.secrets.keyring import KeyringSource
from ibkr_connector.secrets.source import MAX_BYTES, EnvironmentSource, bounded, import_extra
from ibkr_connector.secrets.vault import VaultSource

VALUE = "tr0ub4dor-and-3"
posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A secret's file as it should be."""
    path = tmp_path / "the secret"
    path.write_text(f"{VALUE}\n")
    path.chmod(0o600)
    return path


def refused(source: Any, name: str, text: str) -> ConfigurationError:
    """The error of a question that must be refused with these words; it never shows the value."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        source.get(name)
    chain = [
        caught.value,
        caught.value.__cause__,
        None if caught.value.__suppress_context__ else caught.value.__context__,
    ]
    assert not any(VALUE in f"{one!r} {one}" for one in chain)
    return caught.value


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_s_text_is_the_secret_without_the_newline(file: Path) -> None:
    assert FileSource().get(str(file)).reveal() == VALUE


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o601])
def test_a_file_that_others_can_touch_is_refused_with_the_command_to_run(file: Path, mode: int) -> None:
    file.chmod(mode)
    error = refused(FileSource(), str(file), f"mode {mode:04o}")
    assert error.remedy == f"Run `chmod 600 '{file}'`."
    os.system(error.remedy.partition("`")[2].partition("`")[0])  # the command works
    assert FileSource().get(str(file))


@posix
def test_a_link_is_judged_by_what_it_leads_to(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    assert FileSource().get(str(link)).reveal() == VALUE
    file.chmod(0o644)
    assert str(file) in refused(FileSource(), str(link), "mode 0644").remedy
    file.unlink()
    refused(FileSource(), str(link), "leads nowhere")


@posix
def test_a_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert "chown" in refused(FileSource(), str(file), "another user").remedy


@posix
@pytest.mark.parametrize("behind_a_link", [False, True])
def test_a_folder_everybody_may_write_to_is_refused(file: Path, tmp_path: Path, behind_a_link: bool) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    inside = folder / "s"
    file.rename(inside)
    name = inside
    if behind_a_link:
        name = tmp_path / "link"
        name.symlink_to(inside)
    assert "chmod o-w" in refused(FileSource(), str(name), "everybody may put another file").remedy
    folder.chmod(0o1777)
    assert FileSource().get(str(name))


@posix
def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    refused(FileSource(), str(tmp_path / "pipe"), "no ordinary file")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no text"),
        (b" \n", "no text"),
        (b"x" * (MAX_BYTES + 1), "longer than"),
        (b"\xff\xfe\x00", "no text"),
        (b"a\0b", "no text"),
    ],
)
def test_what_is_no_secret_is_refused(file: Path, data: bytes, text: str) -> None:
    file.write_bytes(data)
    refused(FileSource(), str(file), text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(FileSource(), str(tmp_path / "none"), "does not exist")
    refused(FileSource(), str(tmp_path), "no ordinary file|cannot be opened")


# --- environment, limits ----------------------------------------------------------------------------------------------


def test_a_variable_is_read_and_a_missing_one_named() -> None:
    source = EnvironmentSource({"A": VALUE, "EMPTY": " "})
    assert source.get("A").reveal() == VALUE
    refused(source, "B", "env:B names a variable that is not set")
    refused(source, "EMPTY", "holds no text")


def test_a_source_that_hangs_is_given_up_and_may_be_asked_again() -> None:
    go = threading.Event()
    with pytest.raises(ConfigurationError, match=r"not answered in 0\.05 s") as caught:
        bounded(go.wait, 0.05, "vault:a/b#c")
    assert caught.value.retryable
    go.set()
    for thread in threading.enumerate():
        if thread.name == "ibkr-secret":
            thread.join(5)


@pytest.mark.parametrize(("module", "extra"), [("hvac", "vault"), ("keyring", "keyring")])
def test_a_missing_extra_is_named(module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str, package: str | None = None) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(ConfigurationError) as caught:
        import_extra(module, extra, f"{extra}:x")
    assert f"pip install 'ibkr-connector[{extra}]'" in caught.value.remedy


def test_extras_are_loaded_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def watch(name: str, *rest: Any, **more: Any) -> Any:
        assert name.partition(".")[0] not in {"hvac", "keyring"}
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", watch)
    KeyringSource()
    VaultSource({})


# --- keyring ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ring() -> Iterator[Callable[[Any], None]]:
    """Puts a keyring of our own in the place of the system's: a function (service, name) -> secret."""
    keyring = pytest.importorskip("keyring", reason="needs the extra keyring")
    backend = pytest.importorskip("keyring.backend")
    before = keyring.get_keyring()

    def use(answer: Any) -> None:
        class Own(backend.KeyringBackend):  # type: ignore[misc, name-defined]
            priority = 1

            def get_password(self, service: str, username: str) -> Any:
                return answer(service, username)

            def set_password(self, service: str, username: str, password: str) -> None: ...
            def delete_password(self, service: str, username: str) -> None: ...

        keyring.set_keyring(Own())

    yield use
    keyring.set_keyring(before)


def test_a_keyring_is_asked_for_service_and_name(ring: Callable[[Any], None]) -> None:
    kept = {("ibkr", "paper/token"): VALUE}
    ring(lambda service, name: kept.get((service, name)))
    assert KeyringSource().get("ibkr/paper/token").reveal() == VALUE
    assert (
        refused(KeyringSource(), "ibkr/other", "is not in the keyring").remedy == "Store it: `keyring set ibkr other`."
    )


def test_a_keyring_that_fails_shows_nothing_of_what_it_says(ring: Callable[[Any], None]) -> None:
    def locked(service: str, name: str) -> str:
        raise RuntimeError(f"cannot decrypt {VALUE}")

    ring(locked)
    assert refused(KeyringSource(), "a/b", "RuntimeError").retryable


def test_a_keyring_that_waits_for_a_person_is_given_up(ring: Callable[[Any], None]) -> None:
    go = threading.Event()
    ring(lambda service, name: VALUE if go.wait(20) else None)
    assert refused(KeyringSource(0.05), "a/b", "was not answered").retryable
    go.set()
    for thread in threading.enumerate():
        if thread.name == "ibkr-secret":
            thread.join(5)
