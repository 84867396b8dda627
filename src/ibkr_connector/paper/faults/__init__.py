"""Faults on a plan: what real gateways do to their clients, when it is asked for. `plan` is the way in."""
