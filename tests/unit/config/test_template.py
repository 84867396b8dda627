"""The shipped settings file: complete, equal to the defaults, the same in the checkout, safe to write."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from ibkr_connector.config import Settings, load_settings, template_text, write_template
from ibkr_connector.config.settings import field_specs, show
from ibkr_connector.errors import ConfigurationError


def test_the_checkout_s_file_is_the_template(repo_dir: Path) -> None:
    assert (repo_dir / "config/ibkr_config.ini").read_text("utf-8") == template_text()


def test_the_template_as_it_is_gives_the_defaults(tmp_path: Path) -> None:
    path = write_template(tmp_path / "a.ini")
    assert load_settings(path, environ={}).differences(Settings()) == ()


def test_the_template_with_every_key_set_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "a.ini"
    path.write_text(re.sub(r"^#(\w+ =)", r"\1", template_text(), flags=re.MULTILINE), encoding="utf-8")
    settings = load_settings(path, environ={})
    expected = {"paths.state_dir"}  # the example shows one system's folder
    assert set(settings.differences(Settings())) <= expected
    empty = {"connection.username", "connection.password", "connection.account_id", "alerts.webhook", "alerts.apprise"}
    empty |= {"risk_limits.restricted_symbols", "web.confirm", "web.suppress"}
    empty |= {f"oauth.{key}" for key in ("consumer_key", "access_token", "access_token_secret", "dh_prime")}
    empty |= {"oauth.signature_key", "oauth.encryption_key"}
    assert set(settings.origins) == {spec.path for spec in field_specs()} - empty


def test_every_key_is_explained_with_its_default_and_its_variable() -> None:
    blocks = re.split(r"\n\n+", template_text())
    for spec in field_specs():
        sections = ("paper_trading", "live_trading") if spec.info.endpoint else (spec.section,)
        for section in sections:
            at = next(number for number, block in enumerate(blocks) if f"[{section}]" in block.splitlines())
            ends = [n for n in range(at + 1, len(blocks)) if re.search(r"^\[\w+\]$", blocks[n], re.MULTILINE)]
            inside = blocks[at : ends[0] if ends else len(blocks)]
            block = next(text for text in inside if re.search(rf"^#?{spec.key} =", text, re.MULTILINE))
            assert "# Default: " in block, spec.path
            assert not spec.env or spec.env in block, spec.path
            value = show(Settings().value(spec))
            if value and spec.key != "state_dir" and (section, spec.key) != ("live_trading", "port"):
                assert f"# Default: {value}" in block, spec.path
                assert re.search(rf"^#?{spec.key} = {re.escape(value)}$", block, re.MULTILINE), spec.path


def test_the_file_written_is_the_owner_s_alone(tmp_path: Path) -> None:
    path = write_template(f"{tmp_path}/new/folder/")
    assert path == tmp_path / "new/folder/ibkr_config.ini"
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "a.ini"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="exists already"):
        write_template(path)
    assert path.read_text() == "mine"
    write_template(path, force=True)
    assert path.read_text("utf-8") == template_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ini"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_template(tmp_path / "file/a.ini")
