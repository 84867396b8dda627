"""The --market option."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_connector.paper.market import MarketDataFileError, MarketSource, parse_market
from ibkr_connector.paper.market.csv import CsvMarket
from ibkr_connector.paper.market.lean import LeanMarket
from ibkr_connector.paper.market.synthetic import SyntheticMarket


def test_each_kind_of_market_is_made_from_its_text(tmp_path: Path) -> None:
    (tmp_path / "SPY.csv").write_text("datetime,open,high,low,close,volume\n2026-03-02,1,1,1,1,1", encoding="utf-8")
    (tmp_path / "equity" / "usa").mkdir(parents=True)
    made: list[MarketSource] = [
        parse_market("synthetic", seed=3),
        parse_market(f" csv:{tmp_path} "),
        parse_market(f"lean:{tmp_path}"),
    ]
    assert [type(source) for source in made] == [SyntheticMarket, CsvMarket, LeanMarket]
    assert all(isinstance(source, MarketSource) for source in made)
    assert [source.name for source in made] == ["synthetic", f"csv:{tmp_path}", f"lean:{tmp_path}"]


@pytest.mark.parametrize("text", ["", "random", "csv", "csv:", "lean", "synthetic:7", "parquet:/x"])
def test_an_unknown_market_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(ValueError, match="use 'synthetic', 'csv:DIR'"):
        parse_market(text)


def test_a_folder_that_is_no_lean_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketDataFileError, match="no LEAN data folder"):
        parse_market(f"lean:{tmp_path}")
