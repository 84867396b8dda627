"""OAuth 1.0a as IBKR uses it: keys for tests, signatures, live session tokens, and the server's verification."""
