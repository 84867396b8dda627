"""The same without an event loop: every method waits, Ctrl-C ends a wait."""

from ibkr_connector import OrderError, get_ibkr_connector

with get_ibkr_connector().sync as connector:
    try:
        price = connector.place_market_order("AAPL", 100, "BUY").filled(timeout=30).fills[-1].price
        print(f"bought 100 at {price}")
        stop = connector.place_stop_order("AAPL", 100, "SELL", price - 2)
        print(f"protected by {stop!r}")
    except OrderError as error:
        raise SystemExit(str(error)) from error
