"""The journal's tables, and how older versions of them become the present one.

Version numbers are `PRAGMA user_version`; `store.open_database` runs the missing steps, each in a transaction of its
own, and refuses a file from the future. Amounts and times are text (exact decimals, ISO 8601 UTC).
"""

from __future__ import annotations

import sqlite3

from ibkr_connector.store import Migration

_V1 = (
    """CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE orders (
        ref TEXT PRIMARY KEY,
        account TEXT NOT NULL,
        request TEXT NOT NULL,
        decision TEXT NOT NULL,
        order_id INTEGER NOT NULL,
        client_id INTEGER NOT NULL,
        endpoint TEXT NOT NULL,
        grp TEXT NOT NULL,
        parent_ref TEXT NOT NULL,
        parent_id INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        ended TEXT,
        reusable INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    "CREATE INDEX orders_open ON orders (updated_at) WHERE ended IS NULL",
    "CREATE INDEX orders_by_time ON orders (updated_at)",
    # No foreign key to orders: what the broker says about an order is kept even if the order's row is not there.
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        ref TEXT NOT NULL,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL
    )""",
    "CREATE INDEX events_by_ref ON events (ref, seq)",
    """CREATE TABLE fills (
        base_id TEXT PRIMARY KEY,
        exec_id TEXT NOT NULL,
        ref TEXT NOT NULL,
        at TEXT NOT NULL,
        data TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX fills_by_time ON fills (at)",
    "CREATE INDEX fills_by_exec ON fills (exec_id)",
    """CREATE TABLE id_marks (
        endpoint TEXT NOT NULL,
        client_id INTEGER NOT NULL,
        high INTEGER NOT NULL,
        PRIMARY KEY (endpoint, client_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        ref TEXT NOT NULL,
        data TEXT NOT NULL,
        prev TEXT NOT NULL,
        hash TEXT NOT NULL
    )""",
    "CREATE INDEX audit_by_ref ON audit (ref, kind)",
)


def _to_v1(connection: sqlite3.Connection) -> None:
    for statement in _V1:
        connection.execute(statement)


def _to_v2(connection: sqlite3.Connection) -> None:
    """The refs of orders that are forgotten otherwise: each was sent once and is never sent again."""
    connection.execute("CREATE TABLE spent_refs (ref TEXT PRIMARY KEY, ended TEXT NOT NULL) WITHOUT ROWID")


MIGRATIONS: tuple[Migration, ...] = (_to_v1, _to_v2)
"""`MIGRATIONS[n]` takes version n to n + 1."""
