"""Write vramguard/memory/engines/vllm/classes.json: what each release of vLLM serves, read in its own sources.

Arguments are unpacked source trees of vLLM, one for each release, in any order: the folders of its source
distributions as pip names them, `vllm-0.33.0` (or what a wheel holds, in a folder of such a name). Nothing is imported:
the registries are literals, and are read as such.

    pip download --no-deps --no-binary :all: vllm==0.33.0
    python scripts/record_vllm_classes.py ~/src/vllm-*

Recorded are the classes of the model registry by the table that they stand in, the methods of quantization with the
least compute capability that each asks for, the methods of speculative decoding, and the types of the cache. What a
release has is a span of releases, `0.9.0..0.23.0`, of those that were given: the first line of the file lists them.
"""

from __future__ import annotations

import ast
import json
import sys
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TABLE = Path(__file__).parents[1] / "vramguard" / "memory" / "engines" / "vllm" / "classes.json"
LAYERS = "model_executor/layers/quantization"
CONFIGS = ("config/speculative.py", "config/cache.py", "config/__init__.py", "config.py")

SOURCE = (
    "vLLM: model_executor/models/registry.py; model_executor/layers/quantization/__init__.py (QuantizationMethods, "
    "get_min_capability); config/speculative.py (SpeculativeMethod); config/cache.py (CacheDType)"
)

# Tables of model_executor/models/registry.py. A class that stands in several is of the first of them here.
KINDS = {
    "_TEXT_GENERATION_MODELS": "generate",
    "_MULTIMODAL_MODELS": "multimodal",
    "_SPECULATIVE_DECODING_MODELS": "draft",
    "_TRANSFORMERS_MODELS": "transformers",
    "_TRANSFORMERS_SUPPORTED_MODELS": "transformers",
    "_TRANSFORMERS_BACKEND_MODELS": "transformers",
    "_FALLBACK_MODEL": "transformers",
    "_EMBEDDING_MODELS": "pooling",
    "_LATE_INTERACTION_MODELS": "pooling",
    "_REWARD_MODELS": "pooling",
    "_CROSS_ENCODER_MODELS": "pooling",
    "_TOKEN_CLASSIFICATION_MODELS": "pooling",
    "_SEQUENCE_CLASSIFICATION_MODELS": "pooling",
}


def package(tree: Path) -> tuple[str, Path]:
    """Release that a folder is named for, and the package in it."""
    found = next(path for path in (tree / "vllm", tree / tree.name / "vllm", tree) if (path / "envs.py").is_file())
    return tree.name.removeprefix("vllm-"), found


def parse(path: Path) -> ast.Module:
    """Syntax of a source file; of an empty one where there is none."""
    return ast.parse(path.read_text("utf-8") if path.is_file() else "")


def assigned(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names that a module gives a value to at its top, with the value."""
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def strings(node: ast.expr | None, named: Mapping[str, ast.expr]) -> Iterator[str]:
    """Strings of a Literal or a list, and of those that it names."""
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        elif isinstance(part, ast.Name) and part.id in named:
            yield from strings(named[part.id], named)


def classes(root: Path) -> dict[str, str]:
    """Kind of each class in the registry."""
    tables = dict(assigned(parse(root / "model_executor" / "models" / "registry.py")))
    unknown = {name for name in tables if name.endswith("_MODELS")} - KINDS.keys()
    if odd := unknown - {"_VLLM_MODELS", "_PREVIOUSLY_SUPPORTED_MODELS", "_OOT_SUPPORTED_MODELS"}:
        raise SystemExit(f"{root}: tables that this script does not know: {', '.join(sorted(odd))}")
    found: dict[str, str] = {}
    for table, kind in KINDS.items():
        value = tables.get(table)
        for key in value.keys if isinstance(value, ast.Dict) else ():
            if isinstance(key, ast.Constant):
                found.setdefault(str(key.value), kind)
    return found


def quantizations(root: Path) -> dict[str, str]:
    """Least compute capability that each method of quantization asks for, as 80; ? where it is not one number."""
    module = parse(root / LAYERS / "__init__.py")
    named = dict(assigned(module))
    methods = set(strings(named.get("QuantizationMethods", named.get("QUANTIZATION_METHODS")), named))
    implied: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Dict):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            implied |= {str(k.value): v.id for k, v in pairs if isinstance(k, ast.Constant) and isinstance(v, ast.Name)}
    # The shorthands of quantization on the fly are added to the mapping in a loop.
    least = capabilities(root)
    return {method: least.get(implied.get(method, "OnlineQuantizationConfig"), "?") for method in methods}


def capabilities(root: Path) -> dict[str, str]:
    """What `get_min_capability` of each class of quantization returns, its own or the one it inherits."""
    found: dict[str, str] = {}
    bases: dict[str, str] = {}
    for path in sorted((root / LAYERS).rglob("*.py")):
        for node in (node for node in ast.walk(parse(path)) if isinstance(node, ast.ClassDef)):
            for parent in (parent for parent in node.bases if isinstance(parent, ast.Name)):
                bases[node.name] = parent.id
            for least in filter(None, map(minimum, node.body)):
                found[node.name] = least
    for name in bases.keys() - found.keys():
        base = name
        while base in bases and base not in found:
            base = bases[base]
        found |= {name: found[base]} if base in found else {}
    return found


def minimum(method: ast.stmt) -> str:
    """The one number that a method `get_min_capability` returns; empty for any other method."""
    if not isinstance(method, ast.FunctionDef) or method.name != "get_min_capability":
        return ""
    returned = [node.value for node in ast.walk(method) if isinstance(node, ast.Return)]
    numbers = {str(value.value) for value in returned if isinstance(value, ast.Constant) and value.value is not None}
    return numbers.pop() if len(returned) == len(numbers) == 1 else "?"


def literals(root: Path, name: str) -> dict[str, str]:
    """Strings of a Literal of vLLM's configuration."""
    named: dict[str, ast.expr] = {}
    for path in CONFIGS:
        named = dict(assigned(parse(root / path))) | named
    return dict.fromkeys(strings(named.get(name), named), "yes")


def spans(releases: Iterable[str], every: list[str]) -> str:
    """`0.9.0..0.10.2 0.12.0`: the releases, of all that there are, in runs."""
    wanted = set(releases)
    runs = [[*run] for kept, run in groupby(every, key=wanted.__contains__) if kept]
    return " ".join(run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def collect(read: Mapping[str, Mapping[str, str]], every: list[str]) -> dict[str, dict[str, str]]:
    """From what each release says of a name to the releases that say so."""
    names = sorted({name for row in read.values() for name in row})
    found = {}
    for name in names:
        said = sorted({row[name] for row in read.values() if name in row})
        found[name] = {what: spans((v for v in every if read[v].get(name) == what), every) for what in said}
    return found


def main() -> None:
    """Read every tree that the command line names."""
    roots = dict(package(Path(argument)) for argument in sys.argv[1:])
    every = sorted(roots, key=lambda release: [int(part) for part in release.split(".")])
    sections = {
        "classes": {release: classes(roots[release]) for release in every},
        "quantizations": {release: quantizations(roots[release]) for release in every},
        "speculative": {release: literals(roots[release], "SpeculativeMethod") for release in every},
        "kv_cache_dtypes": {release: literals(roots[release], "CacheDType") for release in every},
    }
    lines = [
        f'"releases": {json.dumps(every)}',
        f'"date": "{datetime.now(UTC):%Y-%m-%d}"',
        f'"source": "{SOURCE}"',
    ]
    for name, read in sections.items():
        rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in collect(read, every).items()]
        lines.append(f'"{name}": {{\n' + ",\n".join(rows) + "\n}")
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{TABLE}: {len(every)} releases, {len(sections['classes'][every[-1]])} classes in {every[-1]}")


if __name__ == "__main__":
    main()
