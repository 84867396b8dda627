"""The blocking twins are what the generator writes, and the generator misses nothing of the asynchronous classes."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ibkr_connector.api.account import AccountApi
from ibkr_connector.api.contracts import ContractsApi
from ibkr_connector.api.history import HistoryApi
from ibkr_connector.api.market import MarketApi
from ibkr_connector.api.orders import OrdersApi
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.orders.handle import BracketOrder, OcaGroup, Order
from ibkr_connector.sync import (
    SyncAccountApi,
    SyncBracketOrder,
    SyncConnector,
    SyncContractsApi,
    SyncHistoryApi,
    SyncMarketApi,
    SyncOcaGroup,
    SyncOrder,
    SyncOrdersApi,
)

TWINS: list[tuple[type[Any], type[Any]]] = [
    (IBKRConnector, SyncConnector),
    (OrdersApi, SyncOrdersApi),
    (AccountApi, SyncAccountApi),
    (ContractsApi, SyncContractsApi),
    (MarketApi, SyncMarketApi),
    (HistoryApi, SyncHistoryApi),
    (Order, SyncOrder),
    (BracketOrder, SyncBracketOrder),
    (OcaGroup, SyncOcaGroup),
]
LEFT_OUT = {(IBKRConnector, "sync")}
"""The twin has no twin."""


@pytest.fixture
def generator(repo_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_sync", repo_dir / "tools" / "generate_sync.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "generate_sync", module)
    spec.loader.exec_module(module)
    return module


def public(kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_the_files_are_what_the_generator_writes_now(generator: ModuleType) -> None:
    stale = [path.name for path, text in generator.generate().items() if path.read_text("utf-8") != text]
    assert stale == [], "run `python tools/generate_sync.py`"


def test_a_changed_file_is_called_stale_and_is_not_touched_by_the_check(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = generator.generate()
    copies = {tmp_path / "src" / "pkg" / path.name: text for path, text in texts.items()}
    for path, text in copies.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    monkeypatch.setattr(generator, "PACKAGE", tmp_path / "src" / "pkg")
    monkeypatch.setattr(generator, "generate", lambda: copies)
    assert generator.main(["--check"]) == 0
    changed = tmp_path / "src" / "pkg" / "connector.py"
    changed.write_text("# edited by hand\n", "utf-8")
    assert generator.main(["--check"]) == 1
    assert "connector.py is stale" in capsys.readouterr().out
    assert changed.read_text("utf-8") == "# edited by hand\n"
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0


@pytest.mark.parametrize(("kind", "twin"), TWINS)
def test_every_public_name_has_a_twin(kind: type[Any], twin: type[Any]) -> None:
    missing = [name for name in public(kind) if not hasattr(twin, name) and (kind, name) not in LEFT_OUT]
    assert missing == []


@pytest.mark.parametrize(("kind", "twin"), TWINS)
def test_no_twin_is_a_coroutine_and_all_take_the_same_arguments(kind: type[Any], twin: type[Any]) -> None:
    for name, member in public(kind).items():
        other = vars(twin).get(name)
        if (kind, name) in LEFT_OUT or other is None:
            continue
        if isinstance(member, property):
            assert isinstance(other, property), name
            continue
        assert not inspect.iscoroutinefunction(other), name
        ours, theirs = inspect.signature(other).parameters, inspect.signature(member).parameters
        assert [(p.name, p.kind, p.default) for p in ours.values()] == [
            (p.name, p.kind, p.default) for p in theirs.values()
        ], name


@pytest.mark.parametrize(("kind", "twin"), TWINS)
def test_the_documentation_speaks_of_no_coroutines(kind: type[Any], twin: type[Any]) -> None:
    for name, member in public(twin).items():
        text = inspect.getdoc(member) or ""
        assert text, name
        for word in ("await ", "async with", "async for"):
            assert word not in text, name


def test_a_handle_in_a_return_type_nobody_thought_of_is_refused_by_the_generator(generator: ModuleType) -> None:
    import ast

    source = generator.Source(generator.ORDERS_API.source)
    node = ast.parse('async def f(self) -> list[Order]:\n    """Text."""').body[0]
    with pytest.raises(generator.Problem, match=r"returns list\[Order\]"):
        generator.Writer(generator.OUTPUTS[1]).method(node, generator.ORDERS_API, source)


def test_an_attribute_nobody_thought_of_is_refused_by_the_generator(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "public_attributes", lambda node: {"surprise"})
    with pytest.raises(generator.Problem, match="surprise"):
        generator.generate()
