"""Streams of market data: one line per contract, any number of readers on any loop."""
