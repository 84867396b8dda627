"""`ibkr-connector doctor`: what stands between this machine and a working connection."""
