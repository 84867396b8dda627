"""Without the extra the gateway works, and says what to install when the Web API is asked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec

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


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in {"aiohttp", "cryptography"} else real(name, package)

    monkeypatch.setattr("ibkr_connector.paper.web.find_spec", find)
    with pytest.raises(ValueError, match=r"ibkr-connector\[paper-web\]"):
        PaperGateway(web_port=0)
    assert main(["--tws-port", "0", "--web-port", "0"]) == 2
    assert "paper-web" in capsys.readouterr().err
