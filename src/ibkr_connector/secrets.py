"""Where secrets come from, and the wrapper that keeps them out of sight.

A `Secret` shows a mask wherever text is made of it: `str`, `repr`, f-strings, `%s`, JSON of a `to_dict`. Only
`reveal()` gives the value. From its creation on the value is masked in every log record too (`logs.register_secret`).
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Protocol

from .errors import ConfigurationError
from .logs import register_secret

MASK = "********"
MAX_FILE_BYTES = 65_536
"""Larger than any key or password; a secret's file that exceeds it is some other file."""


class Secret:
    """A value that must not be shown. Compare with ==, test with bool(), use with reveal()."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        register_secret(value)

    def reveal(self) -> str:
        """The value itself. Pass it straight to what needs it; keep it in no variable that lives."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __str__(self) -> str:
        return MASK if self._value else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A pickle is a file or a message somewhere: the value would be in it.
        raise TypeError("A Secret is not pickled or copied: pass its source, or reveal() it where it is used.")


class SecretSource(Protocol):
    """Something that may know a secret by its name."""

    def get(self, name: str) -> Secret | None:
        """The secret, or None where this source does not have it."""
        ...


class EnvironmentSecrets:
    """Secrets from environment variables; NAME_FILE may name a file holding the value (Docker's convention)."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def get(self, name: str) -> Secret | None:
        """The value of the variable, or of the file its NAME_FILE twin names. Empty counts as absent."""
        value = self._environ.get(name)
        if value:
            return Secret(value)
        file = self._environ.get(f"{name}_FILE")
        return read_secret_file(file) if file else None


class DirectorySecrets:
    """Secrets from a folder with one file per name (`/run/secrets`, a Kubernetes volume)."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder).expanduser()

    def get(self, name: str) -> Secret | None:
        """The content of the file of that name (also in lower case), or None where there is none."""
        if not name or name != Path(name).name:
            return None
        for candidate in (name, name.lower()):
            path = self._folder / candidate
            if path.is_file():
                return read_secret_file(path)
        return None


def find_secret(name: str, *sources: SecretSource) -> Secret | None:
    """The first source's answer; the environment alone when no source is given."""
    for source in sources or (EnvironmentSecrets(),):
        secret = source.get(name)
        if secret is not None:
            return secret
    return None


def read_secret_file(path: str | os.PathLike[str]) -> Secret:
    """Read a secret from a file that only its owner may read; one trailing line break is not part of it.

    Raises ConfigurationError: no such file, not a regular file, readable or writable by others (POSIX), not ours, too
    large, empty, not UTF-8 text. The content never appears in the error.
    """
    file = Path(path).expanduser()
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise _refuse(file, f"cannot be read: {error.strerror}", "Check the path and its permissions.") from error
    try:
        # The checks look at the open file: what is read is what was checked.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refuse(file, "is not a regular file", "Name the file itself.")
        if os.name == "posix":
            _check_owner(file, status)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(raw) > MAX_FILE_BYTES:
        raise _refuse(file, f"is larger than {MAX_FILE_BYTES} bytes", "Is this the right file?")
    try:
        value = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _refuse(file, "is not UTF-8 text", "Save the secret as text.") from None
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise _refuse(file, "is empty", "Write the secret into it.")
    return Secret(value)


def _check_owner(file: Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise _refuse(file, "belongs to another user", "Make the user who runs this program its owner.")
    open_to = stat.S_IMODE(status.st_mode)
    # A mounted secret belongs to root and cannot be changed: readable by all is how it reaches a container's user.
    allowed = 0o444 if status.st_uid == 0 and os.geteuid() != 0 else 0o600
    if open_to & 0o077 & ~allowed:
        raise _refuse(
            file, f"is open to other users (mode {open_to:04o})", f"Run `chmod 600 {file}`: only its owner may read it."
        )


def _refuse(file: Path, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"The secret file {file} {problem}.", remedy=remedy, origin=str(file))
