"""The shape of the code: who imports whom, how long things are, what stays unloaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli
from weights import gguf, safetensors

from vramguard import checks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conftest import Repo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vramguard"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module imports only what stands above it, or its own folder: DESIGN's order, with the parts that it does not name.
ORDER = (
    ("beside", "source", "data", "memory", "units", "verifier"),
    ("certificate", "receipts", "schema", "trace"),
    ("facts",),
    ("shell",),
    ("discover",),
    ("classes", "extract"),
    ("link",),
    ("attest", "audit", "checks", "forge", "hub", "packs", "render", "weights"),
    ("settings",),
    ("policy", "scope"),
    ("fixing", "suppression"),
    ("engine",),
    ("governance", "planned"),
    ("target",),
    ("certified",),
    ("report", "scaffold"),
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
ALONE = {"memory", "data", "verifier"}

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
HEAVY = {
    *("torch", "transformers", "accelerate", "huggingface_hub", "numpy"),
    *("pip_audit", "safetensors", "gguf", "pyarrow"),
}


def part_of(path: Path) -> str:
    """`vramguard/memory/cache.py` is of `memory`; `vramguard/__init__.py` of none."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def ours(tree: ast.AST) -> Iterator[str]:
    """The parts of the package that a module imports, at any depth and for types as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "vramguard":
            yield from (alias.name for alias in node.names if alias.name not in {"__version__", "HOME"})
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vramguard."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("vramguard."))


def misplaced(path: Path, source: str) -> list[str]:
    """Every import of `path` that the order forbids, in words."""
    part = part_of(path)
    others = sorted(set(ours(ast.parse(source))) - {part})
    if not part:
        return [f"{path.name} imports {other}" for other in others]
    last = len(ORDER)  # a part that ORDER does not name may be imported by none
    forbidden = (other for other in others if part in ALONE or RANK.get(other, last) >= RANK.get(part, last))
    return [f"{part} ({path.name}) imports {other}" for other in forbidden]


def test_every_part_has_its_place() -> None:
    assert {part_of(path) for path in MODULES} - {""} <= set(RANK), "give the new module its place in ORDER"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, "relative imports hide who imports whom"
    assert misplaced(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("checks/pins.py", "from vramguard.report import FORMATS"),
        ("checks/pins.py", "from vramguard import engine"),
        ("memory/proof.py", "from vramguard.facts import Unknown"),
        ("extract/models.py", "def f():\n    import vramguard.link.models"),
        ("__init__.py", "from vramguard.cli import main"),
    ],
)
def test_a_wrong_import_is_seen(path: str, source: str) -> None:
    assert misplaced(PACKAGE / path, source)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes(path: Path) -> None:
    text = path.read_text("utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f"{node.name}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}
    lines = text.count("\n")
    assert lines <= MAX_FILE_LINES


def rows(table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a data file, each with what `[default]` gives it."""
    default = table.get("default", {})
    for key, value in table.items():
        for row in value if isinstance(value, list) else [value]:
            if key != "default":
                yield f"{key} {row.get('name', '')}", default | row


@pytest.mark.parametrize("path", sorted((PACKAGE / "data").glob("*.toml")), ids=lambda path: path.name)
def test_every_row_of_data_has_source_and_date(path: Path) -> None:
    found = dict(rows(tomli.loads(path.read_text("utf-8"))))
    assert found
    assert [name for name, row in found.items() if not row.get("source") or not row.get("date")] == []


def test_every_kind_of_check_serves_a_rule() -> None:
    policies = [tomli.loads(path.read_text("utf-8")) for path in sorted((ROOT / "policies").glob("*.toml"))]
    used = {part["check"] for policy in policies for rule in policy["rule"] for part in (rule, *rule.get("also", ()))}
    assert set(checks.load()) - used == set()


def imported(*arguments: str) -> set[str]:
    """The top-level modules that `python -m vramguard ...` imports, whatever its answer."""
    command = (sys.executable, "-X", "importtime", "-m", "vramguard", *arguments)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert "vramguard" in names, done.stderr
    return {name.partition(".")[0] for name in names}


def test_the_version_is_told_before_anything_is_loaded() -> None:
    assert imported("--version") & (HEAVY | {"typer", "click", "rich", "yaml", "packaging", "pathspec"}) == set()


def test_a_check_never_loads_what_only_an_extra_needs(repo: Repo) -> None:
    root = repo({"requirements.txt": "numpy>=2\n", "config.json": '{"model_type": "llama", "vocab_size": 10}\n'})
    assert imported("check", str(root)) & HEAVY == set()
    repo({"model.safetensors": safetensors({"a": (2,)}), "model.gguf": gguf({}, {"a": (2,)})})
    assert imported("check", str(root)) & HEAVY == set(), "headers are read by our own readers"


def test_a_reader_is_loaded_only_for_a_file_of_its_kind(repo: Repo) -> None:
    root = repo({"requirements.txt": ""})
    readers = {"vramguard.source.safetensors", "vramguard.source.gguf", "vramguard.extract.weights"}
    script = "import sys; from vramguard.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    command = (sys.executable, "-c", script, "check", str(root))

    def loaded() -> set[str]:
        return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())

    assert loaded() & readers == set()
    repo({"model.gguf": gguf({}, {"a": (2,)})})
    assert loaded() & readers == readers - {"vramguard.source.safetensors"}
