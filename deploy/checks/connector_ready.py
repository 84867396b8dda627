"""Is the connector ready? Asks /readyz of the program in this container. Usage: connector_ready.py [SECONDS]

/readyz is 200 when every plane is: connected, the gateway's own link to IBKR up, orders reconciled, journal writable,
risk armed. The port is that of the setting [watch] http_port. Standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection, HTTPException

MOST_BYTES = 100_000


def ask(port: int, seconds: float) -> tuple[bool, str]:
    """Whether every plane is ready, and why not."""
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        status, text = answer.status, answer.read(MOST_BYTES)
    except (OSError, HTTPException) as error:
        return False, f"no answer: {error}"
    finally:
        connection.close()
    return status == 200, "ready" if status == 200 else f"HTTP {status}: {reasons(text)}"


def reasons(text: bytes) -> str:
    """The failed checks out of the answer, each once."""
    try:
        planes = json.loads(text)["planes"]
        planes = planes.values() if isinstance(planes, dict) else planes
        found = [check["why"] for plane in planes for check in plane["checks"] if not check["passed"]]
    except (ValueError, TypeError, KeyError):
        return "not ready"
    return "; ".join(dict.fromkeys(found)) or "not ready"


def main(arguments: list[str]) -> int:
    """Print one line (docker keeps it: `docker inspect`), and return the exit code."""
    port = os.environ.get("IBKR_WATCH_HTTP_PORT", "9464")
    fine, text = ask(int(port), float(arguments[0]) if arguments else 8.0)
    print(text)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
