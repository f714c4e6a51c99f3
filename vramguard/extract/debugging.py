"""Python that leaves debugging on: anomaly detection, a web server that reloads, a variable that makes CUDA wait."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.imaging import DebugSetting
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document
    from vramguard.source.python import Source

_WORDS: Final = re.compile(r"detect_anomaly|debug\s*=\s*True|reload\s*=\s*True|CUDA_LAUNCH_BLOCKING|NCCL_DEBUG")
_MODEL: Final = re.compile(
    r"\b(?:joblib|pickle|torch|tensorflow|keras|transformers|onnxruntime|sklearn|xgboost|mlflow|vllm|diffusers|openai|langchain|models?|predict|inference|embeddings?)\b"
)
_SERVES: Final = re.compile(
    r"\b(?:FastAPI|Flask|Starlette|Quart|uvicorn|gunicorn|aiohttp\.web|grpc\.server|gradio|streamlit|litserve|bentoml|ray\.serve"
    r"|tornado|AsyncLLMEngine|AsyncLLM|sanic)\b"
)
_VARIABLES: Final = frozenset(("CUDA_LAUNCH_BLOCKING", "NCCL_DEBUG", "TORCH_DISTRIBUTED_DEBUG", "VLLM_LOGGING_LEVEL"))
_RUNNERS: Final = frozenset(("run", "run_simple"))


def extract(document: Document) -> Iterator[DebugSetting]:
    """Every such line, outside of what only somebody's hand at a terminal switches on (`if args.debug:`)."""
    if not _WORDS.search(document.text):
        return
    source: Source = document.value
    if source.tree is None:
        return
    model, serves = (pattern.search(document.text) is not None for pattern in (_MODEL, _SERVES))
    for node, guarded in _unconditional(source.tree):
        found = _called(node) if isinstance(node, ast.Call) else _set(node) if isinstance(node, ast.Assign) else None
        if found is not None:
            place, name, value, written = found
            yield DebugSetting(
                Location(document.path, *source.span(place)), name, value, written, guarded, model, serves
            )


def _unconditional(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Every node that stands under no `if` but `if __name__ == "__main__"`, and whether it stands under that."""
    pending: list[tuple[ast.AST, bool]] = [(tree, False)]
    while pending:
        node, guarded = pending.pop()
        yield node, guarded
        if isinstance(node, ast.If):
            if not any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test)):
                continue
            guarded = True
        elif isinstance(node, ast.IfExp):
            continue
        pending += ((child, guarded) for child in ast.iter_child_nodes(node))


Found = tuple[ast.expr, str, str, str]


def _called(node: ast.Call) -> Found | None:
    """`set_detect_anomaly(True)`, `detect_anomaly()`, `app.run(debug=True)`, `uvicorn.run(…, reload=True)`."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "set_detect_anomaly" and node.args and _is_true(node.args[0]):
        return node, "set_detect_anomaly", "True", "set_detect_anomaly(True)"
    if name == "detect_anomaly" and not (node.args and not _is_true(node.args[0])):
        return node, "set_detect_anomaly", "True", "detect_anomaly()"
    if name in _RUNNERS and isinstance(node.func, ast.Attribute):
        owner = getattr(node.func.value, "id", "")
        for keyword in node.keywords:
            wanted = "reload" if owner in {"uvicorn", "hypercorn"} else "debug"
            if keyword.arg == wanted and _is_true(keyword.value):
                return keyword.value, keyword.arg, "True", f"{owner or '…'}.{name}({keyword.arg}=True)"
    return None


def _set(node: ast.Assign) -> Found | None:
    """`os.environ["CUDA_LAUNCH_BLOCKING"] = "1"`."""
    target = node.targets[0]
    if not isinstance(target, ast.Subscript) or not isinstance(node.value, ast.Constant):
        return None
    key, held = target.slice, target.value
    if not isinstance(held, ast.Attribute) or held.attr != "environ" or not isinstance(key, ast.Constant):
        return None
    name, value = key.value, node.value.value
    if name not in _VARIABLES or not isinstance(value, str):  # anything else is refused by `os.environ` itself
        return None
    return node.value, str(name), value, f'os.environ["{name}"] = "{value}"'


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
