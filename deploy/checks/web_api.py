"""Is the Client Portal Gateway logged in? Usage: web_api.py [BASE_URL] [SECONDS]

An open port proves nothing here: the gateway listens long before anybody has logged in, and goes on listening after
the session has gone. So this asks POST /iserver/auth/status, and exits with 0 only for a brokerage session that is
authenticated, connected, and not taken by another login. Standard library alone; it runs inside the gateway's
container.
"""

from __future__ import annotations

import json
import ssl
import sys
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

DEFAULT_URL = "https://localhost:5000/v1/api"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
MOST_BYTES = 100_000


def ask(base_url: str, seconds: float) -> tuple[bool, str]:
    """Whether the session can be used, and what to say about it."""
    context = ssl.create_default_context()
    if urlsplit(base_url).hostname in LOOPBACK:
        # The gateway's certificate is made out to nobody. On loopback there is no wire to listen on.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # IBKR wants a User-Agent on every request, and not every one will do.
    headers = {"Content-Type": "application/json", "User-Agent": "ibkr-connector-healthcheck"}
    request = Request(f"{base_url.rstrip('/')}/iserver/auth/status", data=b"{}", headers=headers, method="POST")
    try:
        with urlopen(request, timeout=seconds, context=context) as answer:
            status = json.loads(answer.read(MOST_BYTES))
    except HTTPError as error:
        return False, f"HTTP {error.code}: {'nobody is logged in' if error.code == 401 else error.reason}"
    except (OSError, ValueError) as error:
        return False, f"no answer: {error}"
    if not isinstance(status, dict):
        return False, "no answer of the Web API"
    said = {name: status.get(name) is True for name in ("authenticated", "connected", "competing")}
    fine = said["authenticated"] and said["connected"] and not said["competing"]
    return fine, ", ".join(f"{name}={'yes' if value else 'no'}" for name, value in said.items())


def main(arguments: list[str]) -> int:
    """Print one line (docker keeps it: `docker inspect`), and return the exit code."""
    url = arguments[0] if arguments else DEFAULT_URL
    fine, text = ask(url, float(arguments[1]) if len(arguments) > 1 else 8.0)
    print(text)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
