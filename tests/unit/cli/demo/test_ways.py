"""What the demo over the Web API needs is named before anything starts, and the Web's claims can fail."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from ibkr_connector.cli.demo import ways
from ibkr_connector.cli.demo.verify import Evidence, verify
from ibkr_connector.cli.demo.ways import CONFIRMED, Front, check
from ibkr_connector.cli.demo.wire import told
from ibkr_connector.errors import ConfigurationError, InvalidRequest
from unit.cli.demo.test_verify import good

WRITTEN = "every order was written in one request"
ANSWERED = "every question was answered once, and is one that may be answered with yes"
SIGNED = "every request was signed, and every signature held"


@pytest.mark.parametrize(
    ("gone", "oauth", "named"),
    [
        ("aiohttp", False, "ibkr-connector[paper-web]"),
        ("cryptography", False, "ibkr-connector[paper-web]"),
        ("Crypto", True, "ibkr-connector[paper-web,oauth]"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, gone: str, oauth: bool, named: str) -> None:
    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == gone else ModuleSpec(name, None)

    monkeypatch.setattr(ways, "find_spec", find)
    with pytest.raises(ConfigurationError) as caught:
        check(Front.WEB, oauth=oauth)
    assert named in caught.value.remedy
    assert importlib.util.find_spec is not find
    check(Front.TWS, oauth=False)  # needs none of them


def test_oauth_belongs_to_the_web_api() -> None:
    with pytest.raises(InvalidRequest, match="Web API"):
        check(Front.TWS, oauth=True)


def web_evidence() -> Evidence:
    evidence = good()
    more: list[dict[str, Any]] = [
        {"kind": "http", "request": "place_order", "order_refs": [ref]} for ref in evidence.placed
    ]
    more += [
        {"kind": "question", "reply_id": "r1", "message_id": "o10331", "order_refs": ["a"]},
        {"kind": "recv_reply", "reply_id": "r1", "confirmed": True, "order_refs": ["a"]},
        {"kind": "oauth_token"},
    ]
    return replace(evidence, truth=[*evidence.truth, *more], allowed=CONFIRMED, signed=True)


def failing(evidence: Evidence) -> list[str]:
    return [verified.claim for verified in verify(evidence) if not verified.holds]


def test_each_claim_about_the_web_api_fails_on_what_contradicts_it() -> None:
    evidence = web_evidence()
    assert failing(evidence) == []
    spoilt: list[tuple[dict[str, Any], str]] = [
        ({"kind": "http", "request": "place_order", "order_refs": ["a"]}, WRITTEN),
        ({"kind": "recv_reply", "reply_id": "r1", "confirmed": True}, ANSWERED),
        ({"kind": "question", "reply_id": "r2", "message_id": "o163"}, ANSWERED),
        ({"kind": "oauth_refused", "reason": "invalid signature"}, SIGNED),
    ]
    for entry, claim in spoilt:
        assert failing(replace(evidence, truth=[*evidence.truth, entry])) == [claim]
    assert failing(replace(evidence, allowed=("o163",))) == [ANSWERED]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"kind": "http", "request": "cancel_order", "path": "/v1/api/x/1"}, "→ DELETE x/1"),
        ({"kind": "question", "message_id": "o163"}, "← question o163"),
        ({"kind": "recv_reply", "confirmed": False}, "· read as the answer no"),
        ({"kind": "recv_cancel"}, "· read as cancel of order"),
        ({"kind": "recv_modify", "source": "web", "order_ref": ""}, "· recv_modify"),
        ({"kind": "web_session", "opened": False}, "→ ssodh/init: not opened"),
        ({"kind": "oauth_refused", "reason": "old nonce"}, "← refused: old nonce"),
        ({"kind": "expired", "order_id": 4}, "· expired 4"),
    ],
)
def test_an_entry_is_told_in_the_words_of_the_web_api(entry: dict[str, Any], line: str) -> None:
    assert told(entry, web=True) == line
