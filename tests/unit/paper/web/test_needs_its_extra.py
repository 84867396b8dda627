"""Without the extra the gateway works, and says what to install when the Web API is asked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.main import main


def test_a_gateway_without_a_web_port_loads_nothing_of_the_extra() -> None:
    code = (
        "import sys\n"
        "import ibkr_connector.paper.gateway, ibkr_connector.paper.faults.room, ibkr_connector.paper.main\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'aiohttp', 'cryptography'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the extra is installed."""
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in {"aiohttp", "cryptography"} else real(name, package)

    monkeypatch.setattr("ibkr_connector.paper.web.find_spec", find)


@pytest.mark.usefixtures("bare")
def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"ibkr-connector\[paper-web\]"):
        PaperGateway(web_port=0)
    assert main(["--tws-port", "0", "--web-port", "0"]) == 2
    assert "paper-web" in capsys.readouterr().err


@pytest.mark.usefixtures("bare")
def test_test_keys_name_what_they_need_and_talk_of_no_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["oauth-keys", str(tmp_path / "keys")]) == 2
    said = capsys.readouterr().err
    assert "cryptography" in said
    assert "aiohttp" not in said  # the keys need none
    assert "pip install 'ibkr-connector[paper-web]'" in said
    assert "port" not in said
    assert not (tmp_path / "keys").exists()
