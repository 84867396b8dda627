"""What may be written where a secret belongs: the value itself, or where it is kept.

    file:/run/secrets/token            the content of a file only its owner can read
    env:NAME                           an environment variable
    keyring:service/name               the system's keyring (extra `keyring`)
    vault:mount/path#key               HashiCorp Vault, KV version 1 or 2 (extra `vault`)

A reference is no secret and is shown as it is; anything else is the value, and is never shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from pydantic import SecretStr

Kind = Literal["file", "env", "keyring", "vault"]
_KINDS: tuple[Kind, ...] = ("file", "env", "keyring", "vault")
_FORMS: dict[Kind, tuple[str, str]] = {
    "file": (r"[^\0]+", "file:/path/to/the/file"),
    "env": (r"[A-Za-z_][A-Za-z0-9_]*", "env:NAME"),
    "keyring": (r"[^/\0]+/[^\0]+", "keyring:service/name"),
    "vault": (r"[^/#\s]+(?:/[^/#\s]+)+#[^#\s]+", "vault:mount/path#key"),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is kept; `name` is what its source is asked for."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse_reference(text: str) -> Reference | None:
    """The reference in a setting's text; None where it is the value itself. ValueError: a malformed reference."""
    kind, colon, name = text.strip().partition(":")
    if not colon or kind not in _KINDS:
        return None
    pattern, form = _FORMS[kind]
    if re.fullmatch(pattern, name) is None:
        raise ValueError(f"should look like {form}")
    return Reference(kind, name)


class SecretSpec(SecretStr):
    """A setting that holds a secret, or says where it is. Compared by value, never pickled."""

    @property
    def reference(self) -> Reference | None:
        """Where the secret is kept; None: this is the value itself."""
        try:
            return parse_reference(self.get_secret_value())
        except ValueError:
            return None

    def __copy__(self) -> SecretSpec:
        return self

    def __deepcopy__(self, memo: object) -> SecretSpec:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A pickle is a file or a message somewhere: the value would be in it.
        raise TypeError("Settings with secrets are not pickled: load them where they are used.")
