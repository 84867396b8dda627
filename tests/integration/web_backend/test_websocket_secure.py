"""The websocket over TLS and with OAuth, and programs that end without closing it."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.paper import PaperGateway, WebOptions
from support.web import web_gateway
from support.webstreams import AAPL, QUICK, SECONDS, Told

pytest.importorskip("cryptography", reason="needs the extra paper-web")


async def _quotes_come(backend: WebBackend) -> None:
    told = Told()
    backend.on_fact(told)
    await backend.connect(host="", port=0, client_id=2, timeout=SECONDS)
    try:
        quotes = Told()
        backend.open_line(AAPL, quotes, quotes)
        await quotes.until(len)
    finally:
        await backend.disconnect()


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, tls=True)], ids=["tls"])
async def test_a_gateway_on_this_machine_may_have_a_certificate_of_its_own(gateway: PaperGateway) -> None:
    assert gateway.web.url.startswith("https://")
    await _quotes_come(WebBackend(WebEndpoint(url=gateway.web.url, verify_tls=False, streams=QUICK)))


async def test_with_oauth_the_access_token_opens_the_websocket(tmp_path: Path) -> None:
    pytest.importorskip("Crypto", reason="ibind signs with pycryptodome: pip install 'ibind[oauth]'")
    from ibkr_connector.paper.web.oauth import keys

    registration = await asyncio.to_thread(keys.register)
    async with web_gateway(web=WebOptions(limits=None, oauth=registration.server)) as gateway:
        files = keys.write(registration, tmp_path / "keys", gateway.web.url, "DU1234567")

        def config() -> Any:
            from ibind.oauth.oauth1a import OAuth1aConfig

            return OAuth1aConfig(
                oauth_rest_url=gateway.web.url,
                access_token=registration.server.access_token,
                access_token_secret=registration.access_token_secret,
                consumer_key=registration.server.consumer_key,
                dh_prime=registration.prime_hex,
                encryption_key_fp=str(files["encryption"]),
                signature_key_fp=str(files["signature"]),
            )

        await _quotes_come(WebBackend(WebEndpoint(url=gateway.web.url, streams=QUICK), oauth=config))


_PROGRAM = """
    import asyncio, sys
    from ibkr_connector.backends.web.client import WebBackend
    from ibkr_connector.backends.web.options import WebEndpoint

    async def main():
        backend = WebBackend(WebEndpoint(url=sys.argv[1]))
        await backend.connect(host="", port=0, client_id=2, timeout=20.0)

    asyncio.run(main())
    print("over", flush=True)
"""


async def test_a_program_that_does_not_close_it_ends_all_the_same(gateway: PaperGateway) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(_PROGRAM), gateway.web.url, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            assert (await program.stdout.readline()).strip() == b"over"
            # Its threads are still there, and hold nothing up.
            assert await asyncio.wait_for(program.wait(), 5.0) == 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


async def test_secrets_are_in_no_repr() -> None:
    from ibkr_connector.backends.web.wsclient import SocketAddress

    address = SocketAddress(url="wss://127.0.0.1/ws", session="s3cret", access_token="t0ken")
    assert "s3cret" not in repr(address)
    assert "t0ken" not in repr(replace(address, account="DU1"))
