"""An object that notices when its state is touched without its lock: what no number of threads shows for certain."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any


def guard(obj: Any, lock: Any, fields: Iterable[str], *, written: Iterable[str] = ()) -> None:
    """From now on `obj` raises when one of `fields` is read or set, or one of `written` is set, without `lock`.

    `lock` is a Lock or RLock of the threading module; the tests that use this are of one thread.
    """
    base: Any = type(obj)
    guarded, writes = frozenset(fields), frozenset((*fields, *written))
    missing = writes - vars(obj).keys()
    if missing:
        raise AttributeError(f"{base.__name__} has no {', '.join(sorted(missing))}: bring the list up to date")

    def held() -> bool:
        return lock.locked() if isinstance(lock, type(threading.Lock())) else lock._is_owned()

    def get(self: Any, name: str) -> Any:
        if name in guarded and not held():
            raise AssertionError(f"{base.__name__}.{name} is read without the lock")
        return base.__getattribute__(self, name)

    def put(self: Any, name: str, value: object) -> None:
        if name in writes and not held():
            raise AssertionError(f"{base.__name__}.{name} is set without the lock")
        base.__setattr__(self, name, value)

    obj.__class__ = type(f"Guarded{base.__name__}", (base,), {"__getattribute__": get, "__setattr__": put})
