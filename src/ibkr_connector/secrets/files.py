"""`file:/path`: a file that only its owner can read.

What is judged is the file that was opened, not the name: symbolic links are followed, as Kubernetes and systemd mount
secrets behind them, and what they lead to must be right. A folder that everybody may write to (and that is not sticky
as /tmp is) would let anybody put another file there.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from ibkr_connector.secrets.secret import Secret
from ibkr_connector.secrets.source import MAX_BYTES, as_secret, missing

_ROOT = 0


class FileSource:
    """Reads files, and refuses those that others could have read or written."""

    kind = "file"

    def get(self, name: str) -> Secret:
        """See `SecretSource.get`."""
        return as_secret(f"file:{name}", read_private(Path(name).expanduser()))


def read_private(path: Path) -> str:
    """The text of a file after its permissions were checked. Raises ConfigurationError with the command to run."""
    where = f"file:{path}"
    try:
        # Without waiting: opening a named pipe would hang until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        why = "is a symbolic link that leads nowhere" if path.is_symlink() else "does not exist"
        raise missing(where, why, "Correct the path, or write the file there.") from None
    except OSError as error:
        remedy = "Give the file to the user who runs this program (chown), or correct the path."
        raise missing(where, f"cannot be opened: {error.strerror}", remedy) from None
    try:
        _judge(where, path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise missing(where, f"is longer than {MAX_BYTES} bytes: it holds no secret", "Correct the path.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise missing(where, "holds no text", "Store the secret as text; keys in PEM form, not DER.") from None


def _judge(where: str, path: Path, found: os.stat_result) -> None:
    real = Path(os.path.realpath(path))
    if not stat.S_ISREG(found.st_mode):
        raise missing(where, "is no ordinary file", "Name the file itself.")
    if os.name != "posix":
        return
    quoted = shlex.quote(str(real))
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise missing(
            where, "belongs to another user, who can change it", f"Run `chown {os.geteuid()} {quoted}` as root."
        )
    if mode & 0o077:
        raise missing(where, f"can be read by others (mode {mode:04o})", f"Run `chmod 600 {quoted}`.")
    for folder in {path.absolute().parent, real.parent}:
        rights = folder.stat().st_mode
        if rights & stat.S_IWOTH and not rights & stat.S_ISVTX:
            remedy = f"Run `chmod o-w {shlex.quote(str(folder))}`."
            raise missing(where, f"is in {folder}, where everybody may put another file in its place", remedy)
