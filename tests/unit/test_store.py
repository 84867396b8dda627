"""The state directory: private, atomic, held once, and a database that is ours or is left alone."""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ibkr_connector import store
from ibkr_connector.errors import (
    InvalidRequest,
    JournalCorrupt,
    JournalFromFuture,
    JournalInUse,
    JournalUnwritable,
)
from ibkr_connector.store import (
    FileLock,
    account_dir,
    account_path,
    make_private,
    open_database,
    translate,
    write_atomic,
)

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and signals of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def held(lock: FileLock) -> bool:
    return lock.held


def first(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE one (x INTEGER)")


def second(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE one ADD COLUMN y INTEGER")


def broken(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO one (x) VALUES (99)")
    connection.execute("CREATE TABLE one (again INTEGER)")


# --- folders and files ------------------------------------------------------------------------------------------------


@posix
def test_the_folder_of_an_account_is_private(tmp_path: Path) -> None:
    folder = account_dir(tmp_path / "state", "DU1")
    assert folder == tmp_path / "state" / "DU1"
    assert mode(folder) == 0o700
    folder.chmod(0o755)
    assert mode(account_dir(tmp_path / "state", "DU1")) == 0o700


@pytest.mark.parametrize("account", ["", ".", "..", "../x", "a/b", "a\\b", "-x", "a b", "a\0b", "x" * 65, "DU1\n"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, account: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        account_dir(tmp_path, account)
    assert caught.value.context["field"] == "account"
    assert list(tmp_path.iterdir()) == []


def test_asking_where_an_account_lies_makes_nothing(tmp_path: Path) -> None:
    assert account_path(tmp_path / "state", "DU1") == tmp_path / "state" / "DU1"
    assert not (tmp_path / "state").exists()
    with pytest.raises(InvalidRequest):
        account_path(tmp_path, "../DU1")


@posix
def test_a_symbolic_link_in_the_accounts_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "DU1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalUnwritable, match="symbolic link"):
        account_dir(tmp_path, "DU1")
    assert mode(tmp_path / "elsewhere") != 0o700


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalUnwritable, match="cannot be used"):
        account_dir(tmp_path / "file", "DU1")


@posix
def test_files_are_private_from_their_first_byte_and_made_private_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert make_private(path)
    assert mode(path) == 0o600
    path.chmod(0o644)
    assert not make_private(path)
    assert mode(path) == 0o600


@posix
def test_an_atomic_write_replaces_the_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


def test_a_failed_atomic_write_leaves_the_old_content_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    (target / "inside").write_text("x")
    with pytest.raises(JournalUnwritable):
        write_atomic(target, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]
    with pytest.raises(JournalUnwritable):
        write_atomic(tmp_path / "nowhere" / "file", b"new")


def test_folders_are_not_synced_where_that_is_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_POSIX", False)
    store.sync_dir(tmp_path / "does not exist")
    path = account_dir(tmp_path, "DU1") / "file"
    assert make_private(path)
    assert not make_private(path)


# --- one holder -------------------------------------------------------------------------------------------------------

HOLD = """
import sys
import tempfile
from pathlib import Path
from ibkr_connector.store import FileLock
lock = FileLock(Path(sys.argv[1])); lock.acquire(); print("held", flush=True); sys.stdin.read()
"""


@posix
def test_a_second_process_is_told_the_holders_pid_and_gets_the_lock_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        lock = FileLock(path)
        with pytest.raises(JournalInUse, match=f"process {child.pid}") as caught:
            lock.acquire()
        assert caught.value.context["pid"] == child.pid
        assert not held(lock)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    lock.acquire()
    assert held(lock)
    lock.acquire()
    lock.release()
    lock.release()
    assert not held(lock)


def test_a_second_holder_in_this_process_is_refused_too(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    with pytest.raises(JournalInUse, match="this very process"):
        FileLock(tmp_path / "lock").acquire()
    lock.release()
    other = FileLock(tmp_path / "lock")
    other.acquire()
    other.release()


def test_a_holder_without_a_readable_pid_is_another_process(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    (tmp_path / "lock").write_text("?")
    with pytest.raises(JournalInUse, match="another process") as caught:
        FileLock(tmp_path / "lock").acquire()
    assert caught.value.context["pid"] is None
    lock.release()


def test_a_lock_file_that_cannot_be_opened_or_locked_is_unwritable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JournalUnwritable):
        FileLock(tmp_path / "nowhere" / "lock").acquire()

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store, "_lock", refuse)
    with pytest.raises(JournalUnwritable, match="No locks available"):
        FileLock(tmp_path / "lock").acquire()


def test_a_full_disk_does_not_prevent_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    lock = FileLock(tmp_path / "lock")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        lock.acquire()
    assert held(lock)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", full)
        with pytest.raises(JournalInUse, match="another process"):
            FileLock(tmp_path / "lock").acquire()
    lock.release()


FORK = """
import os, sys
from pathlib import Path
from ibkr_connector.store import FileLock
lock = FileLock(Path(sys.argv[1])); lock.acquire()
ready, told = os.pipe()
child = os.fork()
if child == 0:
    assert not lock.held
    os.write(told, b"x")
    sys.stdin.read()
    os._exit(0)
os.read(ready, 1)
print(child, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        assert re.fullmatch(r"\d+\n", parent.stdout.readline())
        parent.wait(10)
        lock = FileLock(tmp_path / "lock")
        lock.acquire()  # the child lives (its stdin is open) and must not hold it
        lock.release()


def test_forgetting_a_lock_twice_is_nothing(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    store._forget_locks()
    assert not held(lock)
    lock.forget_after_fork()
    other = FileLock(tmp_path / "lock")
    other.acquire()
    other.release()


# --- SQLite -----------------------------------------------------------------------------------------------------------


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_database_is_private_durable_ours_and_migrated(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = open_database(path, [first, second])
    assert pragma(connection, "journal_mode") == "wal"
    assert pragma(connection, "synchronous") == 2
    assert pragma(connection, "foreign_keys") == 1
    assert pragma(connection, "user_version") == 2
    assert pragma(connection, "application_id") == store.APPLICATION_ID
    connection.execute("INSERT INTO one (x, y) VALUES (1, 2)")
    if os.name == "posix":
        assert {mode(one) for one in tmp_path.iterdir()} == {0o600}
    connection.close()
    again = open_database(path, [first, second])
    assert again.execute("SELECT x, y FROM one").fetchall() == [(1, 2)]
    again.close()


def test_an_older_database_is_migrated_and_keeps_its_content(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "db", [first])
    connection.execute("INSERT INTO one (x) VALUES (1)")
    connection.close()
    connection = open_database(tmp_path / "db", [first, second])
    assert connection.execute("SELECT x, y FROM one").fetchall() == [(1, None)]
    connection.close()


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "db", [first])
    connection.close()
    with pytest.raises(JournalCorrupt, match="already exists"):
        open_database(tmp_path / "db", [first, broken])
    connection = open_database(tmp_path / "db", [first])
    assert connection.execute("SELECT count(*) FROM one").fetchone() == (0,)
    connection.close()


def test_a_migration_that_closed_its_own_transaction_does_not_hide_its_error(tmp_path: Path) -> None:
    def rolls_back(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise ValueError

    with pytest.raises(ValueError):
        open_database(tmp_path / "db", [rolls_back])


def test_a_database_from_the_future_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_database(tmp_path / "db", [first, second]).close()
    before = (tmp_path / "db").read_bytes()
    with pytest.raises(JournalFromFuture, match="format 2") as caught:
        open_database(tmp_path / "db", [first])
    assert caught.value.context["version"] == 2
    assert (tmp_path / "db").read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.commit()
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(JournalCorrupt, match="another program"):
        open_database(path, [first])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to have a header. " * 20, b"SQLite format 3\0" + b"\xff" * 600]
)
def test_a_file_that_is_no_database_is_corrupt_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(JournalCorrupt):
        open_database(path, [first])
    assert path.read_bytes() == content


def test_damaged_pages_are_found_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = open_database(path, [first])
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO one (x) VALUES (?)", [(number,) for number in range(5000)])
    connection.execute("COMMIT")
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 100] = b"\xa5" * 100
    path.write_bytes(content)
    with pytest.raises(JournalCorrupt, match="damaged"):
        open_database(path, [first])
    open_database(path, [first], check=False).close()


def test_an_empty_file_left_by_a_crash_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "db").touch()
    open_database(tmp_path / "db", [first]).close()


def test_a_path_that_cannot_be_opened_is_unwritable(tmp_path: Path) -> None:
    with pytest.raises(JournalUnwritable):
        open_database(tmp_path / "nowhere" / "db", [first])
    with pytest.raises(JournalUnwritable):
        store.connect(tmp_path / "nowhere" / "db")


def test_a_disk_without_write_ahead_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "connect", lambda _: sqlite3.connect(":memory:", isolation_level=None))
    with pytest.raises(JournalUnwritable, match="network disk"):
        open_database(tmp_path / "db", [first])


READ_ONLY = """
import os, sys, encodings.ascii, encodings.idna
from pathlib import Path
from ibkr_connector.errors import JournalError
from ibkr_connector.store import FileLock, account_dir, open_database
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
root = Path(sys.argv[1])
for name, work in (
    ("folder", lambda: account_dir(root / "closed", "DU2")),
    ("lock", lambda: FileLock(root / "closed" / "lock").acquire()),
    ("new", lambda: open_database(root / "closed" / "new", [])),
    ("old", lambda: open_database(root / "open" / "db", [])),
):
    try:
        work()
    except JournalError as error:
        print(name, type(error).__name__, flush=True)
    else:
        print(name, "worked", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX users")
def test_a_read_only_state_directory_is_a_clear_error(tmp_path: Path) -> None:
    root = Path(tempfile.gettempdir()) / f"ibkr-read-only-{os.getpid()}"  # pytest's own folder is closed to other users
    root.mkdir(mode=0o755)
    try:
        for name in ("closed", "open"):
            (root / name).mkdir()
        open_database(root / "open" / "db", []).close()
        (root / "open" / "db").chmod(0o444)
        (root / "closed").chmod(0o555)
        (root / "open").chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(root)], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.stdout.split("\n")[:4] == [
            "folder JournalUnwritable",
            "lock JournalUnwritable",
            "new JournalUnwritable",
            "old JournalUnwritable",
        ], done.stderr
    finally:
        for name in ("closed", "open"):
            (root / name).chmod(0o755)
            for file in (root / name).iterdir():
                file.unlink()
            (root / name).rmdir()
        root.rmdir()


def coded(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("broken")
    error.sqlite_errorcode = code
    error.sqlite_errorname = f"CODE{code}"
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), JournalUnwritable),
        (coded(sqlite3.SQLITE_FULL), JournalUnwritable),
        (coded(sqlite3.SQLITE_IOERR_WRITE), JournalUnwritable),
        (coded(sqlite3.SQLITE_READONLY_DIRECTORY), JournalUnwritable),
        (coded(sqlite3.SQLITE_BUSY), JournalUnwritable),
        (coded(sqlite3.SQLITE_CORRUPT_INDEX), JournalCorrupt),
        (coded(sqlite3.SQLITE_NOTADB), JournalCorrupt),
        (coded(sqlite3.SQLITE_ERROR), JournalCorrupt),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), JournalUnwritable),
    ],
)
def test_failures_are_translated_and_name_the_file(error: OSError | sqlite3.Error, kind: type[Exception]) -> None:
    found = translate(error, Path("/state/DU1/journal.sqlite3"))
    assert type(found) is kind
    assert "/state/DU1/journal.sqlite3" in str(found)


def test_who_holds_a_lock_is_found_out_without_making_writing_or_taking_anything(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    assert lock.holder() is None
    assert not lock.path.exists()
    lock.acquire()
    assert FileLock(lock.path).holder() == os.getpid()
    lock.release()
    lock.path.write_text("something", "utf-8")
    assert FileLock(lock.path).holder() is None
    assert lock.path.read_text("utf-8") == "something"
    lock.acquire()
    lock.release()


def test_a_holder_without_a_pid_is_still_one(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    lock.acquire()
    os.truncate(lock.path, 0)
    assert FileLock(lock.path).holder() == 0
    lock.release()


def test_a_lock_file_that_cannot_be_opened_is_an_error_and_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalUnwritable):
        FileLock(tmp_path / "file" / "a.lock").holder()


@pytest.mark.skipif(os.name != "posix", reason="permissions of folders")
def test_a_folder_that_is_private_already_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk mounted for reading only a chmod fails, also one that would change nothing."""
    account_dir(tmp_path, "DU1")
    monkeypatch.setattr(Path, "chmod", lambda *_: pytest.fail("changed"))
    assert account_dir(tmp_path, "DU1") == tmp_path / "DU1"
