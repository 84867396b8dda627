"""`ibkr-connector paper oauth-keys DIR`: test keys for OAuth 1.0a, and an environment file that is ready to use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DEFAULT_URL: Final = "http://127.0.0.1:5000/v1/api/"
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


def make_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = argparse.ArgumentParser(
        prog="ibkr-connector paper oauth-keys",
        description="Write test keys for OAuth 1.0a: the client's, the gateway's, and an environment file for both.",
        epilog="It needs the extra paper-web: pip install 'ibkr-connector[paper-web]'.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="an empty or new folder")
    parser.add_argument(
        "--base-url",
        default=DEFAULT_URL,
        metavar="URL",
        help=f"where the gateway will be reached (default {DEFAULT_URL})",
    )
    parser.add_argument("--account", default="DU1234567", metavar="CODE", help="account for the environment file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the keys and say how to use them. Exit codes: 0 written, 1 could not write, 2 makes no sense."""
    values = make_parser().parse_args(argv)
    base_url: str = values.base_url if values.base_url.endswith("/") else f"{values.base_url}/"
    if not base_url.startswith(("http://", "https://")):
        sys.stderr.write(f"oauth-keys: {base_url!r} is no URL: give one like {DEFAULT_URL}\n")
        return EXIT_USAGE
    from .web import MissingExtraError, require_for_keys

    try:
        require_for_keys()
        from .web.oauth import keys

        files = keys.write(keys.register(), values.folder, base_url, values.account)
    except MissingExtraError as error:
        sys.stderr.write(f"oauth-keys: {error}\n")
        return EXIT_USAGE
    except OSError as error:
        sys.stderr.write(f"oauth-keys: {error}\n")
        return EXIT_FAILED
    sys.stdout.write(
        f"{files['server']}: for the gateway: ibkr-connector paper --web-port 5000 --oauth {values.folder}\n"
        f"{files['env']}: for the client: set -a; . {files['env']}; set +a\n"
    )
    return EXIT_OK
