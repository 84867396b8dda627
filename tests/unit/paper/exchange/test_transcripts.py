"""The exchange tells the same stories as real gateways did (captured sessions in ../shared/fixtures/tws)."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.paper.exchange.types import OrderMessage
from ibkr_connector.paper.instruments import Instrument
from unit.paper.exchange.kit import AAPL, MSFT, World, stock

pytestmark = pytest.mark.shared

MES = Instrument(
    con_id=770561194,
    symbol="MES",
    sec_type="FUT",
    currency="USD",
    exchange="CME",
    local_symbol="MESM6",
    trading_class="MES",
    long_name="Micro E-mini",
    market_name="MES",
    min_tick=Decimal("0.25"),
    multiplier=Decimal(5),
    multiplier_text="5",
    tz_id="US/Central",
    calendar="CME",
)
BY_CON_ID = {i.con_id: i for i in (AAPL, MSFT, MES, stock("OTHER", 1))}

COMPLETE = {
    # Transcripts that hold every message of the order: ours must be the same, one for one.
    "api_order_rest_cancel_aapl",
    "api_ioc_fok_aapl",
    "place_order_fill_native_execution_time",
    "place_order_invalid_type_live_error",
}
TRADING = [
    "api_client_id0_order_observation_aapl",
    "api_completed_orders_variants_aapl",
    "api_cross_client_cancel_aapl",
    "api_dollar_cost_averaging_aapl",
    "api_future_campaign_mes",
    "api_ioc_fok_aapl",
    "api_order_handle_reconnect_cancel_aapl",
    "api_order_rest_cancel_aapl",
    "api_pairs_trading_aapl_msft",
    "api_reconnect_active_order_aapl",
    "api_stop_loss_management_aapl",
    "api_tif_attribute_matrix_aapl",
    "api_transmit_false_then_transmit_aapl",
    "direct_cancel_order",
    "place_order_fill_native_execution_time",
    "place_order_invalid_type_live_error",
    "place_order_modify_to_market_late_execution",
]


def steps_of(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    steps = []
    for line in path.read_text().splitlines():
        match = re.match(r"(client|server) (\w+) (\{.*\})$", line)
        if match:
            steps.append((match[1], match[2], json.loads(match[3])))
    return steps


def told(steps: list[tuple[str, str, dict[str, Any]]]) -> dict[int, list[str]]:
    """What the real gateway said about each order, in the kit's words."""
    stories: dict[int, list[str]] = {}
    orders: dict[str, int] = {}
    listing = False
    for who, what, data in steps:
        if who == "client":
            listing = what == "req_open_orders"
            continue
        if what == "open_order_end":
            listing = False
        elif what == "open_order" and not listing:
            stories.setdefault(data["order_id"], []).append("echo")
        elif what == "order_status":
            held = f"({data['why_held']})" if data["why_held"] else ""
            stories.setdefault(data["order_id"], []).append(data["status"] + held)
        elif what == "execution_detail":
            orders[data["exec_id"]] = data["order_id"]
            stories.setdefault(data["order_id"], []).append("fill")
        elif what == "commission_report":
            stories[orders[data["exec_id"]]].append("commission")
        elif what == "api_error" and data["req_id"] > 0:
            stories.setdefault(data["req_id"], []).append(f"error {data['code']}")
    return stories


def replayed(steps: list[tuple[str, str, dict[str, Any]]], late: bool) -> World:
    """The same requests to our exchange, with a market around the captured prices."""
    from ibkr_connector.paper.exchange.behavior import ExchangeBehavior

    chance = 1.0 if late else 0.0
    world = World(behavior=ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=chance))
    world.quote("263.50", "263.52")
    world.quote("408.50", "408.60", instrument=MSFT)
    world.quote("7039.25", "7039.50", instrument=MES)
    world.trade("263.52", 10)
    ids: dict[int, int] = {}
    for position, (who, what, data) in enumerate(steps):
        if who != "client":
            continue
        if what == "place_order":
            number = int(data["order_id"])
            ids.setdefault(number, world.exchange.next_order_id(1) if number not in ids else ids[number])
            con_id = int(data.get("contract", {}).get("con_id", AAPL.con_id))
            world.place(
                data["action"],
                data["total_quantity"],
                data["order_type"],
                # The captured IOC and FOK limits are far above the market and were stopped by a price band.
                "200" if data["tif"] in {"IOC", "FOK"} else data.get("lmt_price") or None,
                data.get("aux_price") or None,
                percent=data.get("trailing_percent"),
                order_id=ids[number],
                tif=data["tif"],
                transmit=data.get("transmit", True),
                instrument=BY_CON_ID[con_id],
                run=2,
            )
            if data["order_type"] == "TRAIL" and any(w == "execution_detail" for _, w, _ in steps[position:]):
                world.quote("255.00", "255.02")
                world.trade("255.00", 100)
        elif what == "cancel_order":
            world.cancel(ids[int(data["order_id"])])
        world.run(2)
    world.ids = ids  # type: ignore[attr-defined]
    return world


def is_subsequence(short: list[str], long: list[str]) -> bool:
    rest = iter(long)
    return all(word in rest for word in short)


@pytest.mark.parametrize("name", TRADING)
def test_the_order_of_messages_is_that_of_the_real_gateway(name: str, shared_dir: Path) -> None:
    steps = steps_of(shared_dir / "fixtures" / "tws" / "transcripts" / f"{name}.txt")
    stories = told(steps)
    assert stories
    late = name == "place_order_modify_to_market_late_execution"
    world = replayed(steps, late)
    market = {int(d["order_id"]) for w, k, d in steps if k == "place_order" and d["order_type"] == "MKT"}
    for number, story in stories.items():
        ours = world.lines(world.ids[number])  # type: ignore[attr-defined]
        if number in market:
            # Whether a market order is first shown PreSubmitted or Submitted depends on its route, there and here.
            ours, theirs = shown_working(ours), shown_working(story)
        else:
            theirs = story
        if name in COMPLETE:
            assert ours == theirs
        else:
            assert is_subsequence(theirs, ours), (number, theirs, ours)
            # Transcripts leave messages out, but never how an order ended.
            assert last_status(ours) == last_status(theirs), (number, theirs, ours)


def shown_working(words: list[str]) -> list[str]:
    return ["working" if word in {"PreSubmitted", "Submitted"} else word for word in words]


def last_status(words: list[str]) -> str:
    return [word for word in words if word not in {"echo", "fill", "commission"} and not word.startswith("error")][-1]


def test_the_texts_are_those_of_the_real_gateway(shared_dir: Path) -> None:
    seen: set[tuple[int, str]] = set()
    for name in TRADING:
        steps = steps_of(shared_dir / "fixtures" / "tws" / "transcripts" / f"{name}.txt")
        theirs = {(d["code"], d["message"]) for w, k, d in steps if k == "api_error" and d["req_id"] > 0}
        ours = {(e.code, e.text) for e in replayed(steps, late=False).events if isinstance(e, OrderMessage)}
        assert theirs <= ours, name
        seen |= theirs
    assert {code for code, _ in seen} == {202, 321}


def test_account_summary_tags_of_the_captures_exist(shared_dir: Path) -> None:
    world = World()
    steps = steps_of(shared_dir / "fixtures" / "tws" / "transcripts" / "grounded_account_summary.txt")
    tags = {data["tag"] for who, what, data in steps if (who, what) == ("server", "account_summary")}
    assert tags
    assert tags <= {row.key for row in world.exchange.account_values("DU9000001")}
