"""The proof: seeded schedules of orders and faults, run against the real connector and judged by the truth log.

See `docs/IMPLEMENTATION/proof.md`.
"""
