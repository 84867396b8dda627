"""OAuth 1.0a: ibind signs, the gateway verifies; every reason to refuse is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway, WebOptions
from ibkr_connector.paper.web.oauth import keys
from ibkr_connector.paper.web.oauth.signing import base_string, sign

from .conftest import AAPL, ACCOUNT, Http, in_thread

aiohttp = pytest.importorskip("aiohttp", reason="needs the extra paper-web")
pytest.importorskip("cryptography", reason="needs the extra paper-web")

pytest.importorskip("Crypto", reason="ibind signs with pycryptodome: pip install 'ibind[oauth]'")


@pytest.fixture(scope="module")
def registration() -> keys.Registration:
    """Keys take a while to make: one set for all tests."""
    return keys.register()


@pytest.fixture
def strict() -> bool:
    """Whether the gateway insists on IBKR's documented form."""
    return False


@pytest.fixture
def web_options(registration: keys.Registration, strict: bool) -> WebOptions:
    return WebOptions(limits=None, oauth=registration.server, oauth_strict=strict)


@pytest.fixture
def config(registration: keys.Registration, gateway: PaperGateway, tmp_path: Path) -> Any:
    """ibind's configuration from the files `oauth-keys` writes."""
    from ibind.oauth.oauth1a import OAuth1aConfig

    files = keys.write(registration, tmp_path / "keys", gateway.web.url, ACCOUNT)
    return OAuth1aConfig(
        oauth_rest_url=gateway.web.url,
        access_token=registration.server.access_token,
        access_token_secret=registration.access_token_secret,
        consumer_key=registration.server.consumer_key,
        dh_prime=registration.prime_hex,
        encryption_key_fp=str(files["encryption"]),
        signature_key_fp=str(files["signature"]),
        shutdown_oauth=False,
        maintain_oauth=False,
    )


@pytest.fixture
def connect(config: Any) -> Iterator[Any]:
    """A function that makes a signed-in ibind client (blocking)."""
    from ibind import IbkrClient

    clients = []

    def connect() -> Any:
        client = IbkrClient(
            account_id=ACCOUNT, use_oauth=True, oauth_config=config, auto_register_shutdown=False, max_retries=0
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close_session()


def refusals(gateway: PaperGateway) -> list[object]:
    return [entry.fields["reason"] for entry in gateway.truth.of("oauth_refused")]


async def test_ibind_signs_in_and_trades_with_queries_and_bodies(connect: Any, gateway: PaperGateway) -> None:
    from ibind import OrderRequest

    client = await in_thread(connect)
    assert (await in_thread(client.receive_brokerage_accounts)).data["accounts"] == [ACCOUNT]
    tickle = (await in_thread(client.tickle)).data
    assert "userId" not in tickle
    await in_thread(lambda: client.live_marketdata_snapshot(str(AAPL), ["31", "84"]))
    request = OrderRequest(conid=AAPL, side="BUY", quantity=1, order_type="MKT", coid="signed", acct_id=ACCOUNT)
    assert (await in_thread(lambda: client.place_order(request, {}))).data["local_order_id"] == "signed"
    await gateway.truth.wait_for("fill", timeout=10, order_ref="signed")
    assert refusals(gateway) == []


async def test_without_a_signature_nothing_is_answered(http: Http, gateway: PaperGateway) -> None:
    status, body = await http("GET", "iserver/accounts")
    assert (status, body["statusCode"]) == (401, 401)
    assert body["error"].startswith("id: ")
    assert refusals(gateway) == ["no Authorization header"]


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("consumer_key", "SOMEBODY1", "invalid consumer"),
        ("access_token", "0" * 20, "No access secret key found"),
        ("signature_key_fp", "encryption", "invalid signature"),
    ],
)
async def test_a_wrong_registration_is_refused_by_name(
    config: Any, gateway: PaperGateway, attribute: str, value: str, reason: str
) -> None:
    from ibind import IbkrClient

    setattr(config, attribute, config.encryption_key_fp if value == "encryption" else value)
    with pytest.raises(Exception, match="401"):
        await in_thread(
            lambda: IbkrClient(use_oauth=True, oauth_config=config, auto_register_shutdown=False, max_retries=0)
        )
    assert refusals(gateway) == [reason]


async def test_a_different_prime_makes_a_different_token_which_the_client_notices(config: Any) -> None:
    from ibind import IbkrClient

    config.dh_prime = f"{int(config.dh_prime, 16) + 2:x}"
    with pytest.raises(RuntimeError):
        await in_thread(
            lambda: IbkrClient(use_oauth=True, oauth_config=config, auto_register_shutdown=False, max_retries=0)
        )


async def test_an_expired_token_is_refused_and_a_new_one_works(connect: Any, gateway: PaperGateway) -> None:
    client = await in_thread(connect)
    await in_thread(client.receive_brokerage_accounts)
    gateway.inject("session_expired")
    with pytest.raises(Exception, match="401"):
        await in_thread(client.receive_brokerage_accounts)
    assert refusals(gateway) == ["live session token expired"]
    await in_thread(client.generate_live_session_token)
    await in_thread(client.initialize_brokerage_session)
    assert (await in_thread(client.receive_brokerage_accounts)).data["accounts"] == [ACCOUNT]


class Signed:
    """Requests signed by hand, to sign them wrongly."""

    def __init__(self, http: Http, client: Any, registration: keys.Registration, gateway: PaperGateway) -> None:
        import base64

        self._http, self._registration, self._gateway = http, registration, gateway
        self._token = base64.b64decode(client.live_session_token)

    def header(self, method: str, url: str, extra: dict[str, str], **changes: str) -> str:
        from urllib.parse import quote

        server = self._registration.server
        values = {
            "oauth_consumer_key": server.consumer_key,
            "oauth_nonce": "abcdefgh12345678",
            "oauth_signature_method": "HMAC-SHA256",
            "oauth_timestamp": str(int(self._gateway.clock.wall().timestamp())),
            "oauth_token": server.access_token,
        } | changes
        signature = quote(sign(self._token, base_string(method, url, {**extra, **values})), safe="")
        listed = ", ".join(f'{name}="{value}"' for name, value in {**values, "oauth_signature": signature}.items())
        return f'OAuth realm="limited_poa", {listed}'

    async def get(self, path: str, header: str) -> int:
        async with (
            asyncio.timeout(10),
            self._http._session.get(self._http.url + path, headers={"Authorization": header}) as response,
        ):
            return int(response.status)


@pytest.fixture
async def signed(http: Http, connect: Any, registration: keys.Registration, gateway: PaperGateway) -> Signed:
    return Signed(http, await in_thread(connect), registration, gateway)


PATH = "trsrv/stocks?symbols=AAPL"


def forms(signed: Signed, base: str) -> list[str]:
    """The three ways a request with a query may have been signed."""
    plain = f"{base}trsrv/stocks"
    return [
        signed.header("GET", plain, {}, oauth_nonce="nonce-1"),
        signed.header("GET", plain, {"symbols": "AAPL"}, oauth_nonce="nonce-2"),
        signed.header("GET", f"{base}{PATH}", {}, oauth_nonce="nonce-3"),
    ]


async def test_three_forms_of_a_signed_query_are_accepted(signed: Signed, gateway: PaperGateway) -> None:
    assert [await signed.get(PATH, header) for header in forms(signed, gateway.web.url)] == [200, 200, 200]


@pytest.mark.parametrize("strict", [True])
async def test_strict_accepts_the_documented_form_alone(signed: Signed, gateway: PaperGateway) -> None:
    assert [await signed.get(PATH, header) for header in forms(signed, gateway.web.url)] == [401, 200, 401]


async def test_the_same_request_may_be_repeated_but_its_nonce_serves_no_other(
    signed: Signed, gateway: PaperGateway
) -> None:
    url = f"{gateway.web.url}portfolio/accounts"
    header = signed.header("GET", url, {})
    assert [await signed.get("portfolio/accounts", header) for _ in range(2)] == [200, 200]
    other = signed.header("GET", f"{gateway.web.url}portfolio/subaccounts", {})
    assert await signed.get("portfolio/subaccounts", other) == 401
    assert refusals(gateway) == ["nonce was used before"]


@pytest.mark.parametrize("strict", [True])
async def test_strict_accepts_no_nonce_twice(signed: Signed, gateway: PaperGateway) -> None:
    header = signed.header("GET", f"{gateway.web.url}portfolio/accounts", {})
    assert [await signed.get("portfolio/accounts", header) for _ in range(2)] == [200, 401]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"oauth_timestamp": "1"}, "oauth_timestamp is out of range: check the clock"),
        ({"oauth_timestamp": "soon"}, "invalid oauth_timestamp"),
        ({"oauth_nonce": ""}, "invalid oauth_nonce"),
        ({"oauth_signature_method": "PLAINTEXT"}, "unsupported signature method"),
    ],
)
async def test_what_is_wrong_is_said(
    signed: Signed, gateway: PaperGateway, changes: dict[str, str], reason: str
) -> None:
    header = signed.header("GET", f"{gateway.web.url}portfolio/accounts", {}, **changes)
    assert await signed.get("portfolio/accounts", header) == 401
    assert refusals(gateway) == [reason]


@pytest.mark.parametrize("tampered", ["path", "method", "signature", "garbage"])
async def test_a_signature_is_for_one_request_only(signed: Signed, gateway: PaperGateway, tampered: str) -> None:
    url = f"{gateway.web.url}portfolio/accounts"
    header = signed.header("POST" if tampered == "method" else "GET", url, {})
    if tampered == "signature":
        header = header[:-6] + "AAAAA" + header[-1]
    if tampered == "garbage":
        header = "OAuth " + "=" * 1000
    assert await signed.get("portfolio/subaccounts" if tampered == "path" else "portfolio/accounts", header) == 401


async def test_a_websocket_needs_the_access_token(http: Http, gateway: PaperGateway, connect: Any) -> None:
    import aiohttp

    await in_thread(connect)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http._session.ws_connect(f"{gateway.web.url}ws?oauth_token=nobody")
    assert gateway.web.hub.options.oauth is not None
    token = gateway.web.hub.options.oauth.access_token
    async with http._session.ws_connect(f"{gateway.web.url}ws?oauth_token={token}") as socket:
        assert (await socket.receive_json())["topic"] == "system"


def test_files_are_private_complete_and_never_overwritten(registration: keys.Registration, tmp_path: Path) -> None:
    files = keys.write(registration, tmp_path / "k", "http://127.0.0.1:5000/v1/api/", ACCOUNT)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files.values())
    loaded = keys.load(tmp_path / "k")
    assert (loaded.consumer_key, loaded.secret) == (registration.server.consumer_key, registration.server.secret)
    text = files["env"].read_text()
    assert "\nIBKR_BACKEND=web\n" in text  # else the connector goes to TWS, keys or not
    assert f"IBKR_OAUTH_CONSUMER_KEY={loaded.consumer_key}\n" in text
    assert "IBIND_OAUTH1A_REST_URL=http://127.0.0.1:5000/v1/api/\n" in text
    assert "IBKR_OAUTH_WS_URL=ws://127.0.0.1:5000/v1/api/ws\n" in text
    with pytest.raises(FileExistsError, match="exists"):
        keys.write(registration, tmp_path / "k", "http://x/", ACCOUNT)


def test_a_key_file_that_others_can_read_or_that_is_none_is_refused(
    registration: keys.Registration, tmp_path: Path
) -> None:
    files = keys.write(registration, tmp_path / "k", "http://127.0.0.1:5000/v1/api/", ACCOUNT)
    files["server"].chmod(0o644)
    with pytest.raises(keys.KeyFileError, match="chmod 600"):
        keys.load(files["server"])
    files["server"].chmod(0o600)
    for text in ("", "[]", "{}", '{"version": 2}', "\x00"):
        files["server"].write_text(text)
        with pytest.raises(keys.KeyFileError, match="oauth-keys"):
            keys.load(files["server"])


def test_no_secret_is_shown(registration: keys.Registration) -> None:
    shown = repr(registration) + repr(registration.server)
    assert registration.server.secret.hex() not in shown
    assert registration.server.access_token not in shown
