"""Places an order with the blocking API and tells what an interruption says. A program for `test_leaving`."""

from __future__ import annotations

import sys

from ibkr_connector.connector import IBKRConnector


def main(port: int, state_dir: str) -> None:
    connector: IBKRConnector = IBKRConnector(
        profile="interrupted", port=port, state_dir=state_dir, orders={"ack_timeout": 30.0}
    )
    connector.sync.connect()
    try:
        connector.sync.place_limit_order("AAPL", 10, "BUY", 150)
    except KeyboardInterrupt as error:
        print(type(error).__name__, *getattr(error, "__notes__", ()), sep="\n", flush=True)
    finally:
        connector.sync.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
