"""Write vramguard/data/models.json, the models that a proof knows without a lock, from tests/catalogue/.

usage: python scripts/ship_catalogue.py [--check]     --check writes nothing and exits 1 where the file is out of date

A model stands in tests/catalogue/ once: its config, where it was read, and the parameters published for it, which the
tests compare. What `shipped = "why not"` says of a row there, is no deployment's config, and stays out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tomli

ROOT = Path(__file__).parents[1]
CATALOGUE = ROOT / "tests/catalogue"
SHIPPED = ROOT / "vramguard/data/models.json"
_SOURCE = ("repository", "commit", "path", "note")


def text() -> str:
    """What the shipped file has to hold: one line for each model."""
    rows = tomli.loads((CATALOGUE / "catalogue.toml").read_text("utf-8"))["model"]
    lines = sorted((json.dumps(_row(row)) for row in rows if "shipped" not in row), key=str.casefold)
    return '{"models": [\n' + ",\n".join(lines) + "\n]}\n"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    aliases = {alias["id"]: _cited(alias) for alias in row.get("alias", [])}
    config = json.loads((CATALOGUE / row["file"]).read_text("utf-8"))
    source = {key: row[key] for key in _SOURCE if key in row}
    return {"id": row["id"], **({"aliases": aliases} if aliases else {}), **source, "config": config}


def _cited(alias: dict[str, str]) -> str:
    return f"{alias['repository']}@{alias['commit']}, {alias['path']}"


def main() -> int:
    """Write the file, or say whether it is up to date."""
    wanted = text()
    if "--check" in sys.argv[1:]:
        return int(SHIPPED.read_text("utf-8") != wanted)
    SHIPPED.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
