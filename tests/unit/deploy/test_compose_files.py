"""The compose files: valid, closed to the network, without secrets, and with checks that ask the API."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.config.settings import field_specs

yaml = pytest.importorskip("yaml", reason="needs the development extra (PyYAML)")

REPO = Path(__file__).resolve().parents[3]
DEPLOY = REPO / "deploy"
FILES = sorted(path.name for path in DEPLOY.glob("compose.*.yml"))
GATEWAYS = {"compose.ib-gateway.yml": "ib-gateway", "compose.gnzsnz.yml": "ib-gateway", "compose.ibeam.yml": "ibeam"}
"""Settings of the web backend."""
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|USERID|USERNAME|ACCOUNT$|KEY|WEBHOOK", re.IGNORECASE)
VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?+])([^}]*))?\}")
NO_SECRETS = {"IBEAM_SECRETS_SOURCE", "IBEAM_USE_PAPER_ACCOUNT"}


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text("utf-8"))
    return loaded


def services() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in FILES:
        for service, content in load(name)["services"].items():
            yield name, service, content


SERVICES = [pytest.param(service, content, id=f"{name}-{service}") for name, service, content in services()]


def validated(*files: Path) -> subprocess.CompletedProcess[str]:
    """The files held to the Compose Specification's schema, which check-jsonschema carries."""
    pytest.importorskip("check_jsonschema", reason="needs the development extra (check-jsonschema)")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_every_way_has_its_file() -> None:
    assert sorted(GATEWAYS) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_fits_the_compose_specification(name: str) -> None:
    ran = validated(DEPLOY / name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(("before", "after"), [("    ports:", "    port:"), ("start_period: 5m", "start_period: [5m]")])
def test_the_schema_would_notice_a_mistake(before: str, after: str, tmp_path: Path) -> None:
    text = (DEPLOY / FILES[0]).read_text("utf-8")
    assert before in text
    (tmp_path / "compose.yml").write_text(text.replace(before, after), "utf-8")
    assert validated(tmp_path / "compose.yml").returncode == 1


# --- closed to the network --------------------------------------------------------------------------------------------


def is_loopback(port: object) -> bool:
    """Whether a published port, in either of its two forms, is on the host's loopback."""
    if isinstance(port, dict):
        return port.get("host_ip") in {"127.0.0.1", "::1"}
    return re.fullmatch(r"(127\.0\.0\.1|\[::1\]):\d+:\d+(/tcp)?", str(port)) is not None


@pytest.mark.parametrize(("service", "content"), SERVICES)
def test_every_published_port_is_on_loopback(service: str, content: dict[str, Any]) -> None:
    assert [port for port in content.get("ports", []) if not is_loopback(port)] == []
    assert content.get("network_mode") != "host"
    assert service == "connector" or content["ports"]


@pytest.mark.parametrize("port", ["5000:5000", "0.0.0.0:5000:5000", 5000, {"target": 5000, "published": "5000"}])
def test_an_open_port_would_be_noticed(port: object) -> None:
    assert not is_loopback(port)


# --- no secrets -------------------------------------------------------------------------------------------------------


def literal_secrets(environment: dict[str, Any]) -> list[str]:
    """Variables with a secret's name whose value is neither a reference without a default nor a mounted file."""
    return [
        name
        for name, value in environment.items()
        if SECRET.search(name)
        and name not in NO_SECRETS
        and not re.fullmatch(r"\$\{\w+(:\?[^}]*|:-)?\}|/run/secrets/\w+", str(value))
    ]


@pytest.mark.parametrize(("service", "content"), SERVICES)
def test_no_secret_stands_in_a_compose_file(service: str, content: dict[str, Any]) -> None:
    assert literal_secrets(content["environment"]) == []


@pytest.mark.parametrize("value", ["hunter2", "${IB_PASSWORD:-hunter2}", "x${IB_PASSWORD}"])
def test_a_secret_in_a_compose_file_would_be_noticed(value: str) -> None:
    assert literal_secrets({"PASSWORD": value}) == ["PASSWORD"]


def test_the_example_of_the_environment_holds_no_secret() -> None:
    values = dict(line.split("=", 1) for line in assignments())
    assert {name for name in values if SECRET.search(name)} >= {"IB_USERNAME", "IB_PASSWORD", "IBKR_ALERTS_WEBHOOK"}
    kept = {name: value for name, value in values.items() if SECRET.search(name) and value and name not in NO_SECRETS}
    assert kept == {"IB_SECRETS_DIR": "./secrets"}


@pytest.mark.parametrize("name", FILES)
def test_the_login_is_the_gateway_s_alone(name: str) -> None:
    connector = load(name)["services"]["connector"]
    assert "secrets" not in connector
    assert "env_file" not in connector
    assert not re.search(r"\bIB_(PASSWORD|USERNAME)", str(connector["environment"]))


@pytest.mark.parametrize("ignored", [".env", "deploy/secrets/"])
def test_git_does_not_take_the_secrets(ignored: str) -> None:
    assert ignored in (REPO / ".gitignore").read_text("utf-8").splitlines()


# --- variables --------------------------------------------------------------------------------------------------------


def assignments() -> list[str]:
    lines = (DEPLOY / ".env.example").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_variable_is_explained_and_every_explained_one_is_used() -> None:
    used: set[str] = set()
    for name in FILES:
        # Comments name variables too; values alone are interpolated.
        used |= {found[0] for found in VARIABLE.findall(str(load(name)))}
    assert used == {line.split("=", 1)[0] for line in assignments()}


def test_the_example_s_values_are_the_defaults_of_the_compose_files() -> None:
    values = dict(line.split("=", 1) for line in assignments())
    defaults = {found[0]: found[2] for name in FILES for found in VARIABLE.findall(str(load(name))) if found[1] == ":-"}
    assert {name: values[name] for name in defaults} == defaults


@pytest.mark.parametrize(("service", "content"), SERVICES)
def test_yes_and_no_are_quoted(service: str, content: dict[str, Any]) -> None:
    wrong = {name: value for name, value in content["environment"].items() if not isinstance(value, str)}
    assert wrong == {}, "unquoted, YAML makes a boolean or a number of it"


@pytest.mark.parametrize("name", FILES)
def test_the_connector_s_variables_are_settings(name: str) -> None:
    known = {spec.env for spec in field_specs()}
    given = set(load(name)["services"]["connector"]["environment"])
    assert given - known == set()


@pytest.mark.parametrize("name", FILES)
def test_gateway_and_connector_agree_on_the_port(name: str) -> None:
    found = load(name)["services"]
    gateway, connector = found[GATEWAYS[name]], found["connector"]["environment"]
    asked = gateway["healthcheck"]["test"][3]
    if name == "compose.ibeam.yml":
        assert asked == connector["IBKR_WEB_URL"]
        assert found["connector"]["network_mode"] == "service:ibeam"  # so that the gateway sees 127.0.0.1
    else:
        assert asked == connector["IBKR_PORT"]
        assert connector["IBKR_HOST"] in found


# --- health and limits ------------------------------------------------------------------------------------------------


def script(test: list[str]) -> str:
    """The script of ours that a health check runs; empty: it runs something else."""
    found = re.fullmatch(r"/opt/checks/(\w+\.(?:py|sh))", test[2] if len(test) > 2 else "")
    return found[1] if found and test[0] == "CMD" and test[1] in {"python", "bash"} else ""


@pytest.mark.parametrize(("service", "content"), SERVICES)
def test_health_checks_ask_the_api_and_not_the_port(service: str, content: dict[str, Any]) -> None:
    named = script(content["healthcheck"]["test"])
    text = (DEPLOY / "checks" / named).read_text("utf-8") if named else ""
    assert any(question in text for question in ("START_API", "/iserver/auth/status", '"/readyz"')), named
    mounted = "./checks:/opt/checks:ro" in content["volumes"]
    assert mounted or f"deploy/checks/{named}" in (DEPLOY / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("test", [["CMD", "nc", "-z", "127.0.0.1", "4004"], ["CMD-SHELL", "curl -k https://localhost"]])
def test_a_check_of_the_port_would_be_noticed(test: list[str]) -> None:
    assert script(test) == ""


@pytest.mark.parametrize(("service", "content"), SERVICES)
def test_every_service_is_bounded_and_says_what_happens_when_it_ends(service: str, content: dict[str, Any]) -> None:
    assert set(content["deploy"]["resources"]["limits"]) >= {"cpus", "memory"}
    assert content["logging"]["options"]["max-size"]
    # IBeam never by itself: each start is a login, and IBKR locks users after a few failed ones.
    assert content["restart"] == ("no" if service == "ibeam" else "unless-stopped")
    assert ("build" in content) or ":" in content["image"], "an image without a tag"


@pytest.mark.parametrize(("service", "content"), SERVICES)
def test_what_is_mounted_from_the_checkout_is_there(service: str, content: dict[str, Any]) -> None:
    local = [str(volume).split(":")[0] for volume in content["volumes"] if str(volume).startswith("./")]
    assert local
    assert [path for path in local if not (DEPLOY / path).is_dir()] == []


def test_the_journal_outlives_the_container() -> None:
    for name in FILES:
        loaded = load(name)
        assert "connector-state:/var/lib/ibkr-connector" in loaded["services"]["connector"]["volumes"]
        assert "connector-state" in loaded["volumes"]
