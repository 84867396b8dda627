"""The program with a Web front: its first line, TLS, OAuth from the files it writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.paper.main import main, parse

aiohttp = pytest.importorskip("aiohttp", reason="needs the extra paper-web")
pytest.importorskip("cryptography", reason="needs the extra paper-web")

SECONDS = 30.0


@contextlib.asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[dict[str, Any]]:
    """The program running: its first line."""
    command = [sys.executable, "-m", "ibkr_connector.paper", "--tws-port", "0", "--web-port", "0", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
        assert line, (await process.communicate())[1]
        yield json.loads(line)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_says_where_the_web_api_is_and_serves_it_over_tls() -> None:
    async with program("--tls") as ready:
        assert ready["web_url"] == f"https://127.0.0.1:{ready['web_port']}/v1/api/"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = ready["web_url"] + "tickle"
        async with aiohttp.ClientSession() as session, session.post(url, ssl=context) as response:
            assert (await response.json())["iserver"]["authStatus"]["authenticated"] is True


async def test_a_name_of_its_own_is_what_clients_are_told() -> None:
    async with program("--web-url", "http://gateway:5000/v1/api/") as ready:
        assert ready["web_url"] == "http://gateway:5000/v1/api/"
        assert ready["web_port"] != 5000


async def test_ibind_signs_in_with_the_files_of_oauth_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("Crypto", reason="ibind signs with pycryptodome")
    folder = tmp_path / "keys"
    assert main(["oauth-keys", str(folder), "--base-url", "http://127.0.0.1:5000/v1/api"]) == 0
    assert "--oauth" in capsys.readouterr().out
    values = dict(line.split("=", 1) for line in (folder / "oauth.env").read_text().splitlines() if "=" in line)
    async with program("--oauth", str(folder)) as ready:
        from ibind import IbkrClient
        from ibind.oauth.oauth1a import OAuth1aConfig

        config = OAuth1aConfig(
            oauth_rest_url=ready["web_url"],
            access_token=values["IBKR_OAUTH_ACCESS_TOKEN"],
            access_token_secret=values["IBKR_OAUTH_ACCESS_TOKEN_SECRET"],
            consumer_key=values["IBKR_OAUTH_CONSUMER_KEY"],
            dh_prime=values["IBKR_OAUTH_DH_PRIME"],
            encryption_key_fp=values["IBKR_OAUTH_ENCRYPTION_KEY_FP"],
            signature_key_fp=values["IBKR_OAUTH_SIGNATURE_KEY_FP"],
            maintain_oauth=False,
            shutdown_oauth=False,
        )

        def work() -> Any:
            client = IbkrClient(use_oauth=True, oauth_config=config, auto_register_shutdown=False, max_retries=0)
            accounts = client.receive_brokerage_accounts().data
            client.close_session()
            return accounts

        assert (await asyncio.wait_for(asyncio.to_thread(work), SECONDS))["isPaper"] is True


def test_keys_are_not_written_over_and_nonsense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["oauth-keys", str(tmp_path), "--base-url", "ftp://x"]) == 2
    (tmp_path / "server.json").write_text("mine")
    assert main(["oauth-keys", str(tmp_path)]) == 1
    assert (tmp_path / "server.json").read_text() == "mine"
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--tls"], ["--oauth", "x"], ["--web-port", "0", "--oauth-strict"], ["--web-port", "0", "--web-url", "x"]]
)
def test_options_of_the_web_api_need_it(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert any(word in said for word in ("give its --web-port", "--oauth DIR", "base URL"))


def test_a_folder_without_keys_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "server.json").write_text("{}")
    (tmp_path / "server.json").chmod(0o600)
    assert main(["--tws-port", "0", "--web-port", "0", "--oauth", str(tmp_path)]) == 2
    assert "oauth-keys" in capsys.readouterr().err
