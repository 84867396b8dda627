"""`ibkr-connector demo`: a trading day in a minute, against a paper gateway in a process of its own."""
