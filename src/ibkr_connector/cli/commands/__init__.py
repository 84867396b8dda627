"""The commands, by subject. Each module has `register(app)`."""
