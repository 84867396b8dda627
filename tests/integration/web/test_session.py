"""Logging in, the brokerage session, and what is refused without them."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway, WebOptions

from .conftest import Http, in_thread

for name in ("aiohttp", "cryptography"):
    pytest.importorskip(name, reason="needs the extra paper-web")


async def test_ibind_finds_a_gateway_that_is_logged_in_healthy(client: Any) -> None:
    assert await in_thread(client.check_health) is True
    assert await in_thread(client.check_auth_status) is True
    status = (await in_thread(client.authentication_status)).data
    assert (status["authenticated"], status["competing"], status["connected"]) == (True, False, True)
    assert (await in_thread(client.validate)).data["RESULT"] is True
    assert (await in_thread(client.reauthenticate)).data == {"message": "triggered"}


async def test_the_session_of_tickle_stays_the_same_and_logout_ends_it(http: Http) -> None:
    first, second = await http.ok("POST", "tickle"), await http.ok("POST", "tickle")
    assert first["session"] == second["session"]
    assert first["iserver"]["authStatus"]["authenticated"] is True
    assert await http.ok("POST", "logout") == {"status": True}
    assert (await http("GET", "portfolio/accounts"))[0] == 401
    assert (await http("POST", "tickle"))[0] == 401
    assert (await http.ok("POST", "iserver/auth/status"))["authenticated"] is False


async def test_a_browser_logs_in_again(http: Http, gateway: PaperGateway) -> None:
    await http.ok("POST", "logout")
    root = Http(http._session, gateway.web.url.removesuffix("/v1/api/"))
    assert "<form" in await root.ok("GET", "/sso/Login")
    assert await root.ok("POST", "/sso/Login") == "Client login succeeds"
    assert (await http.ok("POST", "iserver/auth/status"))["authenticated"] is True


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, brokerage=False)], ids=["no brokerage session"])
async def test_without_a_brokerage_session_there_is_no_bridge_until_it_is_opened(http: Http, client: Any) -> None:
    status, body = await http("GET", "iserver/accounts")
    assert (status, body) == (400, {"error": "Bad Request: no bridge", "statusCode": 400})
    assert (await http("GET", "portfolio/accounts"))[0] == 200
    with pytest.raises(Exception, match="no bridge"):
        await in_thread(client.receive_brokerage_accounts)
    assert (await in_thread(client.initialize_brokerage_session)).data["authenticated"] is True
    assert (await in_thread(client.receive_brokerage_accounts)).data["isPaper"] is True


async def test_opening_a_session_needs_publish(http: Http) -> None:
    assert (await http("POST", "iserver/auth/ssodh/init", {"publish": False, "compete": True}))[0] == 500


async def test_a_competing_login_takes_the_session_and_only_compete_takes_it_back(
    http: Http, gateway: PaperGateway
) -> None:
    gateway.inject("competing_login")
    status = await http.ok("POST", "iserver/auth/status")
    assert (status["authenticated"], status["competing"]) == (False, True)
    assert (await http("GET", "iserver/accounts"))[0] == 400
    meek = await http.ok("POST", "iserver/auth/ssodh/init", {"publish": True, "compete": False})
    assert (meek["authenticated"], meek["competing"]) == (False, True)
    bold = await http.ok("POST", "iserver/auth/ssodh/init", {"publish": True, "compete": True})
    assert (bold["authenticated"], bold["competing"]) == (True, False)


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, idle_timeout=0.0)], ids=["idle"])
async def test_an_idle_brokerage_session_ends_and_the_login_stays(http: Http) -> None:
    status = await http.ok("POST", "iserver/auth/status")
    assert (status["authenticated"], status["connected"]) == (False, True)
    assert (await http("GET", "portfolio/accounts"))[0] == 200


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, sso_life=0.0)], ids=["a day later"])
async def test_a_login_ends_after_its_life(http: Http) -> None:
    assert (await http.ok("POST", "iserver/auth/status"))["connected"] is False
    assert (await http("GET", "portfolio/accounts"))[0] == 401


async def test_orders_and_snapshots_need_the_accounts_first(http: Http) -> None:
    status, body = await http("GET", "iserver/marketdata/snapshot", conids="265598", fields="31")
    assert status == 400
    assert "accounts" in body["error"]
    status, body = await http("POST", "iserver/account/DU1234567/orders", {"orders": [{}]})
    assert status == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "iserver/contract/abc/info", None),
        ("GET", f"iserver/contract/{'9' * 40}/info", None),
        ("GET", "iserver/marketdata/history?conid=265598&period=9999y&bar=1d", None),
        ("GET", "iserver/marketdata/history?conid=265598&period=1d&bar=7min", None),
        ("POST", "iserver/account/DU1234567/orders", {"orders": "all"}),
        (
            "POST",
            "iserver/account/DU1234567/orders",
            {"orders": [{"conid": 265598, "orderType": "LMT", "quantity": "1e99"}]},
        ),
        ("POST", "iserver/account/DU1234567/orders", [1, 2]),
        ("POST", "iserver/account/DU7654321/orders", {"orders": [{"conid": 265598}]}),
        ("POST", "iserver/questions/suppress", {"messageIds": 5}),
        ("POST", "pa/performance", {"acctIds": "DU1234567"}),
        ("GET", "trsrv/secdef?conids=" + ",".join(["1"] * 201), None),
    ],
)
async def test_nonsense_is_answered_with_400(ready: Http, method: str, path: str, body: Any) -> None:
    status, answer = await ready(method, path, body)
    assert status == 400, answer
    assert answer["error"]


async def test_a_body_that_is_no_json_or_too_long_is_refused(ready: Http) -> None:
    url = f"{ready.url}iserver/account/DU1234567/orders"
    for data, expected in ((b"{", 400), (b"[" * 100_000, 400), (b'{"a":NaN}', 400), (b" " * 2_000_000, 413)):
        async with ready._session.post(url, data=io.BytesIO(data)) as response:
            assert response.status == expected


async def test_what_does_not_exist_is_404(http: Http) -> None:
    assert (await http("GET", "no/such/thing"))[0] == 404
    assert (await http("GET", "hmds/history", conid=265598))[0] == 404
