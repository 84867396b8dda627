"""The client library is found without an import; installations that break each other are named with their repair."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ibkr_connector.backends.tws import library
from ibkr_connector.backends.tws.library import Choice, EventsState, Installation, choose_library
from ibkr_connector.errors import ConfigurationError

SITE = {"ib_insync": "eventkit", "ib_async": "aeventkit"}


def installed(
    *, insync: bool = False, async_: bool = False, eventkit: EventsState = "absent", aeventkit: EventsState = "absent"
) -> Installation:
    return Installation(
        ib_insync="0.9.86" if insync else None,
        ib_async="2.1.0" if async_ else None,
        eventkit=eventkit,
        aeventkit=aeventkit,
        problem="a problem",
        remedy="a repair",
    )


@pytest.mark.parametrize(
    ("found", "choice", "expected"),
    [
        (installed(insync=True, eventkit="intact"), "auto", "ib_insync"),
        (installed(async_=True, aeventkit="intact"), "auto", "ib_async"),
        (installed(insync=True, eventkit="intact"), "ib_insync", "ib_insync"),
        (installed(insync=True, async_=True, eventkit="damaged", aeventkit="intact"), "auto", "ib_async"),
        (installed(insync=True, async_=True, eventkit="damaged", aeventkit="intact"), "ib_insync", "ib_insync"),
        (installed(insync=True, eventkit="intact", aeventkit="damaged"), "auto", "ib_insync"),
    ],
)
def test_auto_takes_what_can_run(found: Installation, choice: Choice, expected: str) -> None:
    assert choose_library(choice, found) == expected


def test_ib_async_on_the_old_event_package_is_used_only_where_that_can_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = installed(insync=True, async_=True, eventkit="intact", aeventkit="damaged")
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert choose_library("auto", found) == "ib_async"
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    assert choose_library("auto", found) == "ib_insync"
    with pytest.raises(ConfigurationError):
        choose_library("ib_async", found)


@pytest.mark.parametrize(
    ("found", "choice"),
    [
        (installed(), "auto"),
        (installed(insync=True, async_=True, eventkit="damaged", aeventkit="damaged"), "auto"),
        (installed(insync=True, eventkit="intact"), "ib_async"),
        (installed(async_=True, aeventkit="intact"), "ib_insync"),
    ],
)
def test_what_cannot_run_is_refused_with_a_repair(found: Installation, choice: Choice) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose_library(choice, found)
    assert caught.value.context["field"] == "tws_library"
    assert "pip" in caught.value.remedy or "repair" in caught.value.remedy


class FakeSite:
    """Distributions with one file each in the shared folder, as the package metadata tells of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.versions: dict[str, str] = {}
        self.recorded: dict[str, str] = {}

    def install(self, name: str, version: str, content: str | None = None) -> None:
        self.versions[name] = version
        if content is not None:
            self.recorded[name] = content
            (self.root / "eventkit").mkdir(exist_ok=True)
            (self.root / "eventkit" / "event.py").write_text(content)

    def version(self, name: str) -> str:
        if name not in self.versions:
            raise metadata.PackageNotFoundError(name)
        return self.versions[name]

    def files(self, name: str) -> list[metadata.PackagePath]:
        self.version(name)
        digest = hashlib.sha256(self.recorded[name].encode()).digest()
        told = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        paths = []
        for text, spec in (("eventkit/event.py", f"sha256={told}"), ("eventkit/logo.png", "sha256=x"), ("x.py", "")):
            path = metadata.PackagePath(text)
            path.hash = metadata.FileHash(spec) if spec else None
            path.dist = self  # type: ignore[assignment]
            paths.append(path)
        return paths

    def locate_file(self, path: object) -> Path:
        return self.root / str(path)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    fake = FakeSite(tmp_path)
    monkeypatch.setattr(metadata, "version", fake.version)
    monkeypatch.setattr(metadata, "files", fake.files)
    return fake


def test_one_library_with_its_event_package_is_no_problem(site: FakeSite) -> None:
    site.install("ib_insync", "0.9.86")
    site.install("eventkit", "1.0.3", "old = True")
    found = library.describe_installation()
    assert (found.problem, found.remedy, found.mixed) == ("", "", False)
    assert (found.ib_insync, found.eventkit, found.aeventkit) == ("0.9.86", "intact", "absent")


def test_two_event_packages_in_one_folder_are_seen_and_who_came_last_too(site: FakeSite) -> None:
    site.install("ib_insync", "0.9.86")
    site.install("eventkit", "1.0.3", "old = True")
    site.install("ib_async", "2.1.0")
    site.install("aeventkit", "2.1.0", "new = True")
    found = library.describe_installation()
    assert found.mixed
    assert (found.eventkit, found.aeventkit) == ("damaged", "intact")
    assert "same folder" in found.problem
    assert "pip uninstall" in found.remedy


def test_an_event_package_whose_files_were_removed_is_seen(site: FakeSite) -> None:
    site.install("ib_async", "2.1.0")
    site.install("aeventkit", "2.1.0", "new = True")
    (site.root / "eventkit" / "event.py").unlink()
    found = library.describe_installation()
    assert found.aeventkit == "damaged"
    assert "aeventkit" in found.problem
    assert "ib_async" in found.remedy


def test_no_library_at_all_is_a_problem_with_a_remedy(site: FakeSite) -> None:
    found = library.describe_installation()
    assert "no TWS client library" in found.problem
    assert "pip install" in found.remedy
    with pytest.raises(ConfigurationError, match="no TWS client library"):
        choose_library("auto", found)


def test_describing_the_installation_imports_no_library() -> None:
    code = (
        "import sys; from ibkr_connector.backends.tws.library import describe_installation as d; print(d());"
        "assert not {'ib_insync', 'ib_async', 'eventkit', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Installation(" in done.stdout


def test_the_library_is_imported_inside_a_loop_in_any_thread_and_its_failure_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def load() -> library.TwsLibrary:
        return library.load_library("auto")

    loop = asyncio.new_event_loop()
    try:
        loaded = loop.run_until_complete(load())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert loaded.label.startswith(("ib_insync ", "ib_async "))
    assert loaded.order().orderId == 0

    def broken(name: str) -> None:
        raise RuntimeError("There is no current event loop")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ConfigurationError, match="no current event loop") as caught:
        asyncio.run(load())
    assert "pip" in caught.value.remedy
