"""What a place for secrets is: one question, one answer, one kind of error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from ibkr_connector.errors import ConfigurationError
from ibkr_connector.secrets.secret import Secret

_T = TypeVar("_T")
MAX_BYTES = 64 * 1024
"""No secret is longer; a longer answer is something else."""


class SecretSource(Protocol):
    """A place where secrets are kept."""

    kind: str
    """What the audit trail calls it: file, env, keyring, vault."""

    def get(self, name: str) -> Secret:
        """The secret of this name. May block for the source's own time limit.

        Raises ConfigurationError saying what is missing; `retryable` where the same question may go well later.
        """
        ...


def missing(where: str, why: str, remedy: str, *, retryable: bool = False) -> ConfigurationError:
    """The error about a secret that cannot be had. Neither text may hold what a source said: it may be the secret."""
    return ConfigurationError(f"{where} {why}.", remedy=remedy, field=where, retryable=retryable)


def as_secret(where: str, value: object) -> Secret:
    """What a source has answered, as a secret. Raises ConfigurationError where it cannot be one."""
    if not isinstance(value, str) or not value.strip():
        raise missing(where, "holds no text", "Store the secret there, as text.")
    if len(value.encode("utf-8", "surrogatepass")) > MAX_BYTES or "\0" in value:
        raise missing(where, f"holds no secret: more than {MAX_BYTES} bytes, or no text", "Name where the secret is.")
    return Secret(value.strip())


def bounded(work: Callable[[], _T], seconds: float, where: str) -> _T:
    """Do something that may hang, and wait for it so long. Raises what it raises, ConfigurationError when time is up.

    The thread is a daemon: a keyring that waits for a person who is not there does not keep the program alive.
    """
    result: list[_T] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as raised:  # noqa: BLE001 - handed to who waits
            error.append(raised)

    thread = threading.Thread(target=run, name="ibkr-secret", daemon=True)
    thread.start()
    thread.join(seconds)
    if error:
        raise error[0]
    if not result:
        raise missing(
            where,
            f"was not answered in {seconds:g} s",
            "See whether it waits for somebody to unlock it, or is down; [oauth] secret_timeout is the time it has.",
            retryable=True,
        )
    return result[0]


class EnvironmentSource:
    """`env:NAME`."""

    kind = "env"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, name: str) -> Secret:
        """See `SecretSource.get`."""
        value = self._environ.get(name)
        if value is None:
            raise missing(f"env:{name}", "names a variable that is not set", "Set it, or correct the name.")
        return as_secret(f"env:{name}", value)


def import_extra(module: str, extra: str, where: str) -> Any:
    """A module of an extra. Raises ConfigurationError naming what to install."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise missing(
            where,
            f"needs the {module} library, which is not installed",
            f"Install the extra: pip install 'ibkr-connector[{extra}]'.",
        ) from None
