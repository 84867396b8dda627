"""Write the tables of docs/IMPLEMENTATION that repeat what the code says: settings and error codes.

    python tools/generate_tables.py           write them
    python tools/generate_tables.py --check   exit 1 if one is stale

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what is outside is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from ibkr_connector.backends.tws.codes import TABLE
from ibkr_connector.config.settings import SECTIONS, field_specs, show

DOCS = Path(__file__).resolve().parent.parent / "docs" / "IMPLEMENTATION"


def settings_table() -> str:
    """Every setting, in the order of the template."""
    rows = ["| section | key | default | unit | environment | meaning |", "|---|---|---|---|---|---|"]
    for spec in field_specs():
        section = "paper_trading / live_trading" if spec.info.endpoint else spec.section
        default = SECTIONS[spec.section].model_fields[spec.key].get_default(call_default_factory=False)
        shown = "the user's state folder" if spec.key == "state_dir" else show(default)
        env = f"`{spec.env}`" if spec.env else "file only"
        env += f", `{spec.info.also}`" if spec.info.also else ""
        rows.append(f"| {section} | `{spec.key}` | {shown} | {spec.info.unit} | {env} | {spec.info.help} |")
    return "\n".join(rows)


def codes_table() -> str:
    """Every known code."""
    rows = ["| code | about | exception | meaning | source |", "|---|---|---|---|---|"]
    rows += [
        f"| {info.code} | {info.kind.value} | `{info.error.__name__}` | {info.meaning} | {info.source} |"
        for info in sorted(TABLE.values(), key=lambda info: info.code)
    ]
    return "\n".join(rows)


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("configuration.md", settings_table),
    "codes": ("errors.md", codes_table),
}


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, (page, table) in TABLES.items():
        path = DOCS / page
        before = path.read_text(encoding="utf-8")
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        made = table().replace("\\", r"\\")
        after = pattern.sub(rf"\g<1>{made}\n\g<2>", before)
        if after != before:
            stale.append(page)
            if not check:
                path.write_text(after, encoding="utf-8")
    if stale:
        sys.stdout.write(f"{'stale' if check else 'written'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
