"""What a number was measured on: machine, interpreter, libraries, disk."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

LIBRARIES = ("ib_insync", "ib_async")


def describe(folder: Path, command: str, versions: dict[str, str], load: float | None) -> dict[str, str]:
    """The lines above the tables.

    folder: where the journals lie. versions: of the libraries measured. load: `load_average` from before the run.
    """
    others = "unknown" if load is None else f"{load:.1f} processes wanted a core in the minute before"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {cpu_model()}, {memory()} of memory",
        "load": others,
        "system": f"{platform.system()}, journals on {filesystem(folder)}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version}" for name, version in versions.items()) or "none",
        "command": f"`{command}`",
    }


def version_of(distribution: str) -> str:
    """The installed version; empty where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def cpu_model() -> str:
    """The processor's name."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory() -> str:
    """Physical memory, in GB."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 1024**2:.0f} GB"
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GB"
    except (AttributeError, ValueError, OSError):
        return "an unknown amount"


def load_average() -> float | None:
    """How many processes wanted a core in the last minute, on average; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows
        return None


def filesystem(folder: Path) -> str:
    """The kind of file system `folder` lies on: a journal in memory would cost nothing, and prove nothing."""
    best, kind = "", "an unknown file system"
    path = str(folder.resolve())
    for line in _lines("/proc/mounts"):
        words = line.split()
        if len(words) > 2 and len(words[1]) >= len(best) and (path + "/").startswith(words[1].rstrip("/") + "/"):
            best, kind = words[1], words[2]
    return kind


def in_memory(folder: Path) -> bool:
    """Whether what is written there never reaches a disk."""
    return filesystem(folder) in {"tmpfs", "ramfs"}


def resident_bytes() -> int:
    """Resident memory of this process now; where the system does not tell, its peak."""
    for line in _lines("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
