"""The commands, put together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ibkr_connector import __version__
from ibkr_connector.cli.commands import account, breakers, journal, market, oauth, orders, risk, setup, trade
from ibkr_connector.cli.demo import command as demo
from ibkr_connector.cli.doctor import command as doctor

PROGRAM = "ibkr-connector"

app = typer.Typer(
    name=PROGRAM,
    help=(
        "A resilient connector to Interactive Brokers, with an embedded paper gateway. Start with "
        "`ibkr-connector demo`: it needs no account."
    ),
    epilog=(
        "Exit codes: 0 done, 1 error, 2 bad input, 3 no connection, 4 refused by a risk limit, "
        "5 refused by the broker, 6 in doubt, 130 interrupted."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Carry the options that come before a command."""


for room in (demo, setup, doctor, oauth, account, orders, journal, market, trade, risk, breakers):
    room.register(app)
