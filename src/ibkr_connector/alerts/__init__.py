"""Telling people that something is wrong: listeners of the bus, one thread per target, never in the way of an order."""
