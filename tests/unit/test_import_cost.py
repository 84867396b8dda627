"""What `import ibkr_connector` loads: the standard library alone; and every public name can be had."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import ibkr_connector

PROBE = """
import json, sys
before = set(sys.modules)
import ibkr_connector
loaded = set(sys.modules) - before
print(json.dumps(sorted(loaded)))
"""

# Loaded when something needs them, in the session's thread or at the first log record: never at the start (0.15 s).
HEAVY = {"structlog", "ib_insync", "ib_async", "eventkit", "ibapi", "ibind", "requests", "pandas", "numpy"}
EXTRAS = {"aiohttp", "apprise", "prometheus_client", "Crypto", "hvac", "keyring"}
HEAVY |= {"exchange_calendars", "typer", "rich", "tenacity"} | EXTRAS


def loaded_by(code: str) -> set[str]:
    """The modules a fresh interpreter has loaded after running the code."""
    command = [sys.executable, "-I", "-c", code]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_importing_the_package_loads_the_standard_library_alone() -> None:
    roots = {name.partition(".")[0] for name in loaded_by(PROBE)}
    assert roots - sys.stdlib_module_names == {"ibkr_connector"}
    assert loaded_by(PROBE) & {"ibkr_connector.errors", "ibkr_connector.connector", "asyncio", "logging"} == set()


@pytest.mark.parametrize(
    "code",
    [
        "from ibkr_connector.config import load_settings; load_settings()",
        "from ibkr_connector import get_ibkr_connector",
    ],
    ids=["the configuration", "get_ibkr_connector"],
)
def test_what_a_program_starts_with_loads_no_heavy_library(code: str) -> None:
    roots = {name.partition(".")[0] for name in loaded_by(PROBE.replace("import ibkr_connector", code))}
    assert roots & HEAVY == set()


def test_a_whole_connector_loads_no_extra_it_was_not_asked_for() -> None:
    roots = {
        name.partition(".")[0] for name in loaded_by(PROBE.replace("ibkr_connector", "ibkr_connector.assembly", 1))
    }
    assert "pydantic" in roots
    assert roots & EXTRAS == set()


@pytest.mark.parametrize("name", sorted(ibkr_connector._EXPORTS))
def test_a_public_name_comes_from_the_room_the_table_names(name: str) -> None:
    room = importlib.import_module(f"ibkr_connector.{ibkr_connector._EXPORTS[name]}")
    assert getattr(ibkr_connector, name) is getattr(room, name)


def test_the_public_list_is_the_table_and_the_version() -> None:
    assert sorted(ibkr_connector.__all__) == sorted([*ibkr_connector._EXPORTS, "__version__"])
    assert set(ibkr_connector.__all__) <= set(dir(ibkr_connector))


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'get_ibkr_conector'"):
        _ = ibkr_connector.get_ibkr_conector
    assert not hasattr(ibkr_connector, "_private")


def test_a_public_submodule_needs_no_import_of_its_own() -> None:
    code = "import ibkr_connector, json; ibkr_connector.errors.TradingError; print(json.dumps([]))"
    assert loaded_by(code) == set()
