"""Power loss, honestly: a copy of SQLite's files that holds what was synced to the disk and nothing else.

SQLite's own file layer is used as it is; only its `xOpen`, `xSync` and `xDelete` are wrapped, in this process (a child
of the test). Whenever SQLite syncs a file and the operating system confirms, the file's content is copied; whatever it
wrote and did not sync is not in the copies. That is the worst a loss of power can leave of a disk that keeps its
promises.
"""

from __future__ import annotations

import ctypes
import shutil
import sqlite3
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_void_p
from pathlib import Path
from typing import Any

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_METHODS = 19  # pointers in sqlite3_io_methods (version 3) after the version number
_SYNC_AT = 4  # xClose, xRead, xWrite, xTruncate, xSync


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("max_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
    ]


class _IoMethods(ctypes.Structure):
    _fields_ = [("version", c_int), ("functions", c_void_p * _METHODS)]


class _File(ctypes.Structure):
    _fields_ = [("methods", POINTER(_IoMethods))]


def library() -> ctypes.CDLL | None:
    """The SQLite that Python's own module uses; None where it cannot be reached (linked in, no /proc)."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    sqlite3.connect(":memory:").close()
    lines = maps.read_text().splitlines()
    for path in sorted({line.split()[-1] for line in lines if "sqlite3" in line and "/" in line}):
        found = ctypes.CDLL(path)
        if hasattr(found, "sqlite3_vfs_find"):
            return found
    return None


class DurableCopies:
    """From here on, what is synced under `root` is copied to `copies`. For a process that ends soon: it stays so."""

    def __init__(self, root: Path, copies: Path) -> None:
        self.root = root.resolve()
        self.copies = copies
        self.synced = 0
        self._names: dict[int, Path] = {}
        self._wrapped: dict[int, Any] = {}
        self._keep: list[Any] = []
        sqlite = library()
        if sqlite is None:
            raise RuntimeError
        sqlite.sqlite3_vfs_find.restype = POINTER(_Vfs)
        vfs = sqlite.sqlite3_vfs_find(None).contents
        real_open, real_delete = _OPEN(vfs.open), _DELETE(vfs.delete)

        def opened(this: int, name: int, file: int, flags: int, out: int) -> int:
            code: int = real_open(this, name, file, flags, out)
            if code == 0 and name:
                self._names[file] = Path(ctypes.string_at(name).decode())
                self._wrap(file)
            return code

        def deleted(this: int, name: bytes, sync: int) -> int:
            code: int = real_delete(this, name, sync)
            copy = self._copy_of(Path(name.decode()))
            if code == 0 and copy is not None:
                copy.unlink(missing_ok=True)
            return code

        self._keep += [real_open, real_delete, _OPEN(opened), _DELETE(deleted)]
        vfs.open = ctypes.cast(self._keep[2], c_void_p).value
        vfs.delete = ctypes.cast(self._keep[3], c_void_p).value

    def save(self, target: Path) -> None:
        """What the disk would hold if the power failed now."""
        shutil.copytree(self.copies, target)

    def _copy_of(self, path: Path) -> Path | None:
        path = path.resolve()
        return self.copies / path.relative_to(self.root) if path.is_relative_to(self.root) else None

    def _wrap(self, file: int) -> None:
        """Give this file a table of methods in which only the sync is ours."""
        methods = ctypes.cast(file, POINTER(_File)).contents
        address = ctypes.addressof(methods.methods.contents)
        if address not in self._wrapped:
            mine = _IoMethods.from_buffer_copy(ctypes.string_at(address, ctypes.sizeof(_IoMethods)))
            real_sync = _SYNC(mine.functions[_SYNC_AT])

            def synced(this: int, flags: int) -> int:
                code: int = real_sync(this, flags)
                path = self._names.get(this)
                copy = None if path is None else self._copy_of(path)
                if code == 0 and path is not None and copy is not None:
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
                    self.synced += 1
                return code

            wrapper = _SYNC(synced)
            mine.functions[_SYNC_AT] = ctypes.cast(wrapper, c_void_p).value
            self._keep += [real_sync, wrapper, mine]
            self._wrapped[address] = mine
            self._wrapped[ctypes.addressof(mine)] = mine
        methods.methods = ctypes.pointer(self._wrapped[address])
