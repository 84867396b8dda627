"""The same without an event loop: every method waits, Ctrl-C ends a wait."""

from ibkr_connector import get_ibkr_connector

with get_ibkr_connector().sync as connector:
    for bar in connector.get_historical_data("SPY", "1 D", "5 mins", use_rth=False)[-3:]:
        print(bar.start, bar.close)
    order = connector.place_limit_order("SPY", 10, "BUY", limit_price=1.00)
    print(order.state, "→", connector.cancel_order(order).state)
