"""Every request of the protocol, at every server version: answered as documented or with an error, never by silence."""

from __future__ import annotations

import random

import pytest

from ibkr_connector.paper import PaperGateway, TwsOptions

from .conftest import until
from .raw import RawClient

pytestmark = pytest.mark.protocol

APPLE = ["265598", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
NO_PRIMARY = [*APPLE[:8], *APPLE[9:]]

# Request -> (fields after its id, the kinds of the messages that answer it; "" = nothing is ever said).
REQUESTS: dict[str, tuple[list[str], str]] = {
    "marketData": (["1", "11", "5", *APPLE, "0", "", "0", "0", ""], "58"),
    "cancelMarketData": (["2", "2", "5"], "4"),
    "cancelOrder": (["4", "1", "5"], "4"),
    "openOrders": (["5", "1"], "53"),
    "accountUpdates": (["6", "2", "1", "DU1234567"], "6"),
    "executions": (["7", "3", "5", "0", "", "", "", "", "", ""], "55"),
    "ids": (["8", "1", "1"], "9"),
    "contractDetails": (["9", "8", "5", *APPLE, "0", "", ""], "10"),
    "depth": (["10", "5", "5", *APPLE, "5", "0", ""], "4"),
    "cancelDepth": (["11", "1", "5", "0"], "4"),
    "bulletins": (["12", "1", "1"], ""),
    "cancelBulletins": (["13", "1"], ""),
    "logLevel": (["14", "1", "5"], ""),
    "autoOpen": (["15", "1", "1"], "4"),
    "allOpenOrders": (["16", "1"], "53"),
    "managedAccounts": (["17", "1"], "15"),
    "requestFA": (["18", "1", "1"], "4"),
    "replaceFA": (["19", "1", "1", "<x/>", "5"], "4"),
    "history": (["20", "5", *APPLE, "0", "", "1 hour", "1 D", "1", "TRADES", "1", "0", ""], "17"),
    "exercise": (["21", "2", "5", *NO_PRIMARY, "1", "1", "", "0"], "4"),
    "scanner": (["22", "5", "10", "STK", "STK.US", "TOP_PERC_GAIN", *[""] * 18], "4"),
    "cancelScanner": (["23", "1", "5"], "4"),
    "scannerParameters": (["24", "1"], "19"),
    "cancelHistory": (["25", "1", "5"], "4"),
    "currentTime": (["49", "1"], "49"),
    "realTimeBars": (["50", "3", "5", *APPLE, "5", "GOSSIP", "1", ""], "4"),
    "cancelRealTimeBars": (["51", "1", "5"], "4"),
    "fundamentals": (["52", "2", "5", *APPLE[:3], *APPLE[7:11], "ReportSnapshot", "0", ""], "4"),
    "cancelFundamentals": (["53", "1", "5"], ""),
    "impliedVolatility": (["54", "3", "5", *APPLE, "1.0", "100.0", "0", ""], "4"),
    "optionPrice": (["55", "3", "5", *APPLE, "0.2", "100.0", "0", ""], "4"),
    "cancelImpliedVolatility": (["56", "1", "5"], ""),
    "cancelOptionPrice": (["57", "1", "5"], ""),
    "globalCancel": (["58", "1"], ""),
    "marketDataType": (["59", "1", "1"], ""),
    "marketDataTypeUnknown": (["59", "1", "9"], "4"),
    "positions": (["61", "1"], "62"),
    "summary": (["62", "1", "5", "All", "NetLiquidation"], "63"),
    "cancelSummary": (["63", "1", "5"], ""),
    "cancelPositions": (["64", "1"], ""),
    "verify": (["65", "1", "name", "1.0"], "4"),
    "verifyMessage": (["66", "1", "data"], "4"),
    "groups": (["67", "1", "5"], "67"),
    "subscribeGroup": (["68", "1", "5", "1"], "68"),
    "updateGroupUnknown": (["69", "1", "99", "265598@SMART"], "4"),
    "unsubscribeGroup": (["70", "1", "5"], ""),
    "verifyAndAuth": (["72", "1", "name", "1.0", "key"], "4"),
    "verifyAndAuthMessage": (["73", "1", "data", "x"], "4"),
    "positionsMulti": (["74", "1", "5", "DU1234567", ""], "72"),
    "cancelPositionsMulti": (["75", "1", "5"], ""),
    "updatesMulti": (["76", "1", "5", "DU1234567", "", "0"], "73"),
    "cancelUpdatesMulti": (["77", "1", "5"], ""),
    "optionChain": (["78", "5", "AAPL", "", "STK", "265598"], "76"),
    "optionChainOfAnOption": (["78", "5", "AAPL", "", "OPT", "265598"], "4"),
    "optionChainOfAFuture": (["78", "5", "ES", "", "FUT", "265598"], "4"),
    "optionChainWithoutId": (["78", "5", "AAPL", "", "STK", "0"], "4"),
    "softDollars": (["79", "5"], "77"),
    "familyCodes": (["80"], "78"),
    "matching": (["81", "5", "apple"], "79"),
    "depthExchanges": (["82"], "80"),
    "smartComponents": (["83", "5", "9c0001"], "82"),
    "newsArticle": (["84", "5", "BRFG", "BRFG$1", ""], "4"),
    "newsProviders": (["85"], "85"),
    "historicalNews": (["86", "5", "265598", "BRFG", "", "", "10", ""], "4"),
    "head": (["87", "5", *APPLE, "0", "1", "TRADES", "1"], "88"),
    "headOfNothing": (["87", "5", *APPLE, "0", "1", "GOSSIP", "1"], "4"),
    "histogram": (["88", "5", *APPLE, "0", "1", "1 day"], "4"),
    "cancelHistogram": (["89", "5"], ""),
    "cancelHead": (["90", "5"], ""),
    "marketRule": (["91", "26"], "93"),
    "marketRuleUnknown": (["91", "99999"], "4"),
    "pnl": (["92", "5", "DU1234567", ""], "94"),
    "cancelPnl": (["93", "5"], ""),
    "pnlSingle": (["94", "5", "DU1234567", "", "265598"], "95"),
    "cancelPnlSingle": (["95", "5"], ""),
    "historicalTicks": (["96", "5", *APPLE, "0", "", "", "10", "TRADES", "1", "0", ""], "4"),
    "tickByTick": (["97", "5", *APPLE, "Last", "0", "0"], "4"),
    "cancelTickByTick": (["98", "5"], "4"),
    "completedOrders": (["99", "0"], "102"),
    "wshMeta": (["100", "5"], "4"),
    "cancelWshMeta": (["101", "5"], ""),
    "wshEvents": (["102", "5", "265598"], "4"),
    "cancelWshEvents": (["103", "5"], ""),
    "userInfo": (["104", "5"], "107"),
    "unheardOf": (["199", "5"], "4"),
}

LONGER_SINCE = {"cancelOrder": (169, ""), "contractDetails": (176, "")}
"""Requests with one more field from a server version on."""


def fields_at(version: int, name: str) -> list[str]:
    fields = list(REQUESTS[name][0])
    since, more = LONGER_SINCE.get(name, (999, ""))
    return [*fields, more] if version >= since else fields


@pytest.mark.parametrize("options", [TwsOptions(message_rate_limit=None)])
@pytest.mark.parametrize("version", [157, 176, 178])
async def test_every_request_is_answered_at_every_version(gateway: PaperGateway, version: int) -> None:
    for name, (_, kind) in REQUESTS.items():
        async with await RawClient.connect(gateway.tws_port, 100 + len(name), version=version) as client:
            client.send(*fields_at(version, name))
            client.send("49", "1")
            messages = await client.receive_until("49")
            if name == "currentTime":
                continue
            kinds = [message[0] for message in messages[:-1]]
            assert (kinds[:1] == [kind]) if kind else not kinds, (name, messages[:3])
            if kind == "4":
                assert len(kinds) == 1
                assert messages[0][3] != "320" or name == "unheardOf", (name, messages[0])
        await until(lambda: not gateway.clients)


@pytest.mark.parametrize("options", [TwsOptions(message_rate_limit=None)])
@pytest.mark.parametrize("seed", range(4))
async def test_no_garbled_request_ends_a_connection_or_goes_unanswered(gateway: PaperGateway, seed: int) -> None:
    rng = random.Random(seed)
    async with await RawClient.connect(gateway.tws_port, 1, version=rng.choice([157, 176, 178])) as client:
        for _ in range(400):
            fields = fields_at(178, rng.choice(list(REQUESTS)))
            for _ in range(rng.randint(1, 3)):
                at = rng.randrange(1, len(fields)) if len(fields) > 1 else 0
                match rng.randrange(3):
                    case 0:
                        fields[at] = rng.choice(["", "x", "-1", "9" * 30, "1e400", "None", "日本", "\\u0000", "0"])
                    case 1:
                        del fields[at:]
                    case _:
                        fields.insert(at, rng.choice(["", "1", "y"]))
                if not fields:
                    fields = [""]
            client.send(*fields)
            # A readable request in between: a peer that only ever speaks nonsense is dropped.
            client.send("49", "1")
            await client.receive_until("49")
    assert len(gateway.truth.of("connect")) == 1
