"""The state directory: private files, atomic writes, one holder at a time, SQLite opened for durability.

Everything that must outlive the program lies under `<state_dir>/<account>/`: the folder is 0700, its files 0600. A
holder takes an operating-system lock that ends with the process, however it ends; its pid is written into the lock file
so that a second one can be told whom to ask. Databases carry an application id and a schema version: an older one is
migrated, a newer one is refused, a foreign or damaged one is never written to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
import stat
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ibkr_connector.errors import (
    InvalidRequest,
    JournalCorrupt,
    JournalError,
    JournalFromFuture,
    JournalInUse,
    JournalUnwritable,
)
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)

APPLICATION_ID = 0x49424A31
"""`IBJ1` in SQLite's header: this file is ours."""

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}")
_LOCK_BYTE = 1 << 30
"""Where Windows locks: beyond the text, so that the pid stays readable."""

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""How a system says that another one holds a lock."""

_POSIX = os.name == "posix"
"""Whether folders can be synced and permissions mean something."""

Synchronous = Literal["FULL", "NORMAL", "OFF"]
Migration = Callable[[sqlite3.Connection], None]


# --- folders and files ------------------------------------------------------------------------------------------------


def account_path(state_dir: str | os.PathLike[str], account: str) -> Path:
    """Where the folder of an account is, or would be: for those who look and make nothing.

    Raises: InvalidRequest for a name that is no account id.
    """
    if not _ACCOUNT.fullmatch(account):
        msg = f"account={account!r} cannot name a folder."
        raise InvalidRequest(msg, field="account", value=account, legal="letters, digits, _ and - (as in DU1234567)")
    return Path(state_dir).expanduser() / account


def account_dir(state_dir: str | os.PathLike[str], account: str) -> Path:
    """The private folder of an account, made if need be. Symbolic links in the account's place are refused.

    Raises: InvalidRequest for a name that is no account id; JournalUnwritable when it cannot be made.
    """
    folder = account_path(state_dir, account)
    try:
        # Parents keep the user's own permissions; only what is ours is made private.
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        if folder.is_symlink():
            msg = f"{folder} is a symbolic link; the state of an account must lie in a folder of its own."
            raise JournalUnwritable(msg, path=str(folder))
        if _POSIX and stat.S_IMODE(folder.stat().st_mode) != 0o700:  # a look at a read-only disk must not fail for this
            folder.chmod(0o700)
    except OSError as error:
        raise translate(error, folder) from error
    return folder


def make_private(path: Path) -> bool:
    """Make an empty file only its owner can read, or tighten an existing one; whether it is new."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
    try:
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        if _POSIX:
            path.chmod(0o600)
        return False
    sync_dir(path.parent)
    return True


def sync_dir(folder: Path) -> None:
    """Make the names in a folder durable (nothing to do where folders cannot be synced)."""
    if not _POSIX:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader, or a power loss, meets the old or the new whole; mode 0600.

    Raises: JournalUnwritable.
    """
    name = ""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        name = ""
        sync_dir(path.parent)
    except OSError as error:
        raise translate(error, path) from error
    finally:
        if name:
            with contextlib.suppress(OSError):
                Path(name).unlink()


def names_same_file(path: Path, known: os.stat_result) -> bool:
    """Whether `path` still names the file that `known` tells of: not deleted, not moved away, not replaced.

    Raises: JournalUnwritable when that cannot be found out.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise translate(error, path) from error
    return (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino)


# --- one holder -------------------------------------------------------------------------------------------------------


class FileLock:
    """An exclusive lock that the operating system drops when the process ends, whatever way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle >= 0

    def acquire(self) -> None:
        """Take the lock at once or raise `JournalInUse` naming the holder's pid. Idempotent."""
        if self.held:
            return
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise translate(error, self.path) from error
        try:
            _lock(handle)
        except OSError as error:
            pid = _read_pid(handle)
            os.close(handle)
            if error.errno not in _TAKEN:
                raise translate(error, self.path) from error
            raise self._in_use(pid) from None
        try:
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, str(os.getpid()).encode())
        except OSError:
            # A full disk must not stop us here: the lock is what counts, the pid only makes a better message.
            _log.warning("could not write the pid", file=str(self.path))
        self._handle = handle
        _held.add(self)

    def holder(self) -> int | None:
        """The process that holds it (0: it does not say which); None: nobody. Nothing is made or written.

        Raises: JournalUnwritable when that cannot be found out.
        """
        try:
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translate(error, self.path) from error
        try:
            _lock(handle)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise translate(error, self.path) from error
            return _read_pid(handle) or 0
        finally:
            os.close(handle)
        return None

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        handle, self._handle = self._handle, -1
        _held.discard(self)
        if handle >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
            os.close(handle)

    @property
    def is_exclusive(self) -> bool:
        """Whether it is held, and by the file that others would lock: one that was deleted locks nobody out."""
        return self.held and names_same_file(self.path, os.fstat(self._handle))

    def forget_after_fork(self) -> None:
        """In a forked child: the lock is the parent's; a copy kept open here would outlive the parent."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _in_use(self, pid: int | None) -> JournalInUse:
        who = "another process" if pid is None else f"process {pid}"
        if pid == os.getpid():
            who = f"this very process ({pid})"
        msg = f"The state in {self.path.parent} is held by {who}."
        return JournalInUse(msg, pid=pid, path=str(self.path))


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_locks() -> None:
    for lock in list(_held):
        lock.forget_after_fork()
    _held.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_forget_locks)

if sys.platform == "win32":  # pragma: no cover

    def _lock(handle: int) -> None:
        import msvcrt

        os.lseek(handle, _LOCK_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)

else:

    def _lock(handle: int) -> None:
        import fcntl

        # flock, not lockf: it belongs to the open file, so a second opening in this process is refused too.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_pid(handle: int) -> int | None:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        text = os.read(handle, 32).decode("ascii", "replace").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


# --- SQLite -----------------------------------------------------------------------------------------------------------


def open_database(path: Path, migrations: Sequence[Migration], *, check: bool = True) -> sqlite3.Connection:
    """Open (or make) a database of ours for writing: WAL, synchronous=FULL, foreign keys, migrated.

    `migrations[n]` takes schema version n to n + 1. With `check` the file's integrity is tested first.
    Raises: JournalCorrupt, JournalFromFuture, JournalUnwritable.
    """
    try:
        is_new = make_private(path)
    except OSError as error:
        raise translate(error, path) from error
    connection = connect(path)
    try:
        _verify_ownership(connection, path, len(migrations))
        if check:
            _check_integrity(connection, path)
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            msg = f"{path} cannot be used with a write-ahead log (mode {mode}): is it on a network disk?"
            raise JournalUnwritable(msg, path=str(path))
        set_synchronous(connection, "FULL")
        # macOS: fsync alone leaves the data in the disk's cache. Elsewhere these two do nothing.
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA checkpoint_fullfsync=ON")
        connection.execute("PRAGMA foreign_keys=ON")
        migrate(connection, path, migrations)
        # A read-only database opens without complaint; only a write finds out.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise translate(error, path) from error
    except BaseException:
        connection.close()
        raise
    if is_new:
        sync_dir(path.parent)
    return connection


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A plain connection in autocommit mode, usable from any thread (one at a time). Raises: JournalUnwritable."""
    try:
        connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        if read_only:
            connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def set_synchronous(connection: sqlite3.Connection, level: Synchronous) -> None:
    """How durable commits from here on are: FULL waits for the disk, NORMAL leaves it to the next FULL one."""
    connection.execute(f"PRAGMA synchronous={level}")


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Bring the schema up to date, each step in a transaction of its own with its version number."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for number, step in enumerate(migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _verify_ownership(connection: sqlite3.Connection, path: Path, newest: int) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if owner != APPLICATION_ID and (tables or version or owner):
        msg = f"{path} is a database of another program."
        raise JournalCorrupt(msg, path=str(path))
    if version > newest:
        msg = f"{path} has format {version}; this version of ibkr-connector knows formats up to {newest}."
        raise JournalFromFuture(msg, path=str(path), version=version, newest=newest)


def _check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        msg = f"{path} is damaged: {'; '.join(found)}."
        raise JournalCorrupt(msg, path=str(path), problems=found)


def translate(error: sqlite3.Error | OSError, path: Path) -> JournalError:
    """The journal error that a failure of SQLite or of the operating system means."""
    if isinstance(error, OSError):
        msg = f"{path} cannot be used: {error.strerror or error}."
        return JournalUnwritable(msg, path=str(path), errno=error.errno)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        msg = f"{path} is damaged: {error} ({name})."
        return JournalCorrupt(msg, path=str(path))
    if code in _UNWRITABLE:
        msg = f"{path} cannot be written: {error} ({name})."
        return JournalUnwritable(msg, path=str(path))
    msg = f"{path} cannot be used: {error} ({name})."
    # "no such table" and its like: a file of ours without what must be in it.
    kind = JournalCorrupt if code == sqlite3.SQLITE_ERROR else JournalUnwritable
    return kind(msg, path=str(path))


_UNWRITABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOMEM,
    }
)
