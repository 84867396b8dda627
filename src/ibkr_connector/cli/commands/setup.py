"""`paper`, `init`, `config`, `version`: what needs no connection."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from ibkr_connector import __version__
from ibkr_connector.cli.common import Cx, command
from ibkr_connector.cli.output import facts, table
from ibkr_connector.config import CONFIG_NAME, find_config, template_text, write_template


def register(app: typer.Typer) -> None:
    """Add the commands."""
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    app.command("paper", add_help_option=False, context_settings=passed_on)(paper)
    command(app, "init", local=True)(init)
    config = typer.Typer(help="The settings in force and where they come from.", no_args_is_help=True)
    command(config, "show")(config_show)
    command(config, "path")(config_path)
    app.add_typer(config, name="config")
    command(app, "version", local=True)(version)


def paper(ctx: typer.Context) -> None:
    """Run a paper gateway until Ctrl-C: a market, an exchange and TWS's protocol on a socket."""
    from ibkr_connector.paper.main import main

    try:
        code = main(ctx.args)
    except SystemExit as ended:  # its parser's way to end: help, or an option that makes no sense
        code = ended.code if isinstance(ended.code, int) else 0
    raise typer.Exit(code)


def init(
    cx: Cx,
    path: Annotated[
        Path | None, typer.Argument(help="File or folder to write to (default: ./config/ if it is there, else ./).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the file instead of writing it.")] = False,
) -> None:
    """Write a commented settings file with every key there is; only its owner can read it."""
    if stdout:
        if cx.options.json:
            cx.out.document({"text": template_text()})
        else:
            cx.out.text(template_text())
        return
    target = path or (Path("config") if Path("config").is_dir() else Path()) / CONFIG_NAME
    written = write_template(target, force=force)
    cx.out.result({"written": str(written)}, lambda: f"Wrote {written}")
    if not cx.options.json:
        cx.out.note("Edit it, then check with `ibkr-connector config show` and `ibkr-connector doctor`.")


def config_show(
    cx: Cx,
    all_: Annotated[bool, typer.Option("--all", help="Defaults as well (JSON always has them).")] = False,
) -> None:
    """Show every setting that is not at its default, with its origin; secrets are masked."""
    settings = cx.settings()
    rows = settings.describe()
    chosen = [row for row in rows if all_ or row.origin != "default"]
    data = {
        "source": None if settings.source is None else str(settings.source),
        "notes": list(settings.notes),
        "settings": [row.to_dict() for row in rows],
    }
    columns = ("section", "key", "value", "origin")
    cx.out.result(
        data,
        lambda: table(
            columns,
            [(row.section, row.key, row.value or "(empty)", row.origin) for row in chosen],
            fold="value, origin",
        ),
    )
    if not all_ and not cx.options.json:
        cx.out.note(f"{len(rows) - len(chosen)} more are at their defaults: --all shows them.")


def config_path(cx: Cx) -> None:
    """Print which settings file is read; exit code 1 when there is none."""
    found = find_config(cx.options.config)
    if found is None:
        cx.out.result({"path": None}, lambda: "")
        cx.out.note("No settings file: defaults and IBKR_* variables apply. `ibkr-connector init` writes one.")
        raise typer.Exit(1)
    cx.out.result({"path": str(found)}, lambda: str(found))


def version(cx: Cx) -> None:
    """Print the versions that matter in a bug report."""
    packages = ("ib_insync", "ib_async", "ibind", "eventkit", "aeventkit", "exchange_calendars", "pydantic", "typer")
    data: dict[str, str | None] = {
        "ibkr_connector": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        **{name: _version(name) for name in packages},
    }
    cx.out.result(data, lambda: facts((name, value or "not installed") for name, value in data.items()))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
