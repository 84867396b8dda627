"""The TWS socket front of the paper gateway: framing, handshake, and one handler per request of the protocol."""

from __future__ import annotations
