"""Being watched: health, metrics, and what is told about the account. It looks and listens; nothing waits for it."""
