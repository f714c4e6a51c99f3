"""Write what is generated: docs/rules.md, docs/vramguard.schema.json, the README's picture and that of a proof.

usage: python scripts/render_docs.py [--check]     --check writes nothing and exits 1 where a file is out of date
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from rich.console import Console

from vramguard import engine, policy, settings
from vramguard.discover import WorkTree
from vramguard.report import Context, rules
from vramguard.report.pictures import svg
from vramguard.report.text import print_report
from vramguard.target import Terms, draw_target

ROOT = Path(__file__).parent.parent
INCIDENT = "examples/incident-882"
MODEL = "examples/incident-882-fixed/models/assistant"


def picture() -> str:
    """The terminal of `vramguard check examples/incident-882`, as SVG."""
    tree = WorkTree(ROOT / INCIDENT)
    report = engine.check(tree, engine.load_policy(tree))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(
            file=nowhere, record=True, width=104, force_terminal=True, color_system="truecolor", highlight=False
        )
        console.print(f"$ vramguard check {INCIDENT}", style="bold", markup=False)
        print_report(report, Context(prefix=INCIDENT, root=INCIDENT), console)
    svg = console.export_svg(title="vramguard", unique_id="vramguard")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # it would fetch its font from a host


def proof() -> str:
    """What fills the card, and the peak against context, of a model of the examples."""
    asked = {"engine": "vllm", "engine_version": "0.19.0", "gpu": "h100-sxm5-80gb", "max_model_len": 16384}
    proven, curves = draw_target(str(ROOT / MODEL), Terms(None, None), asked)
    return svg(proven, curves)


def pages() -> dict[str, str]:
    """Every generated file, by its path."""
    return {
        "docs/rules.md": rules.markdown(policy.load_rules()),
        "docs/vramguard.schema.json": json.dumps(settings.published_schema(), indent=2) + "\n",
        "docs/check.svg": picture(),
        "docs/proof.svg": proof(),
    }


def main() -> int:
    """Write the files, or say which are out of date."""
    stale = [name for name, text in pages().items() if not _same(ROOT / name, text)]
    if "--check" not in sys.argv[1:]:
        for name in stale:
            (ROOT / name).write_text(pages()[name], encoding="utf-8")
    print("\n".join(stale) or "up to date")
    return 1 if stale and "--check" in sys.argv[1:] else 0


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
