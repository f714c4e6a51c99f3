"""Whether a module serves: what in it answers requests."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from vramguard.source import Location
from vramguard.source.python import every

if TYPE_CHECKING:
    from vramguard.source.python import Source

# Asked of the text first: a module without any of these words serves nothing.
_WORDS: Final = (
    "fastapi", "flask", "starlette", "aiohttp", "gradio", "bentoml", "litserve", "sanic", "quart", "litestar",
    "tornado", "kserve", "ray.serve", "ray import serve", "TritonPythonModel", "torch_handler", "predict_fn",
    "modal.", "robyn", "class Model:", "class Model(",
)  # fmt: skip
# Packages whose use is serving; of those that also have clients, the names that serve.
_PACKAGES: Final[dict[str, frozenset[str]]] = {
    "fastapi": frozenset({"FastAPI", "APIRouter"}),
    "flask": frozenset({"Flask", "Blueprint"}),
    "starlette": frozenset({"Starlette", "Route"}),
    "aiohttp": frozenset({"Application", "RouteTableDef"}),
    "gradio": frozenset({"Interface", "Blocks", "ChatInterface"}),
    "bentoml": frozenset({"service", "Service"}),
    "litserve": frozenset({"LitAPI", "LitServer"}),
    "sanic": frozenset({"Sanic"}),
    "quart": frozenset({"Quart"}),
    "litestar": frozenset({"Litestar"}),
    "tornado": frozenset({"RequestHandler"}),
    "kserve": frozenset({"Model", "ModelServer"}),
    "ray": frozenset({"deployment"}),
    "robyn": frozenset({"Robyn"}),
    "ts": frozenset({"BaseHandler", "TextClassifier", "ImageClassifier", "VisionHandler"}),
    "modal": frozenset({"web_server", "asgi_app", "wsgi_app", "fastapi_endpoint", "web_endpoint"}),
}
# Functions that SageMaker's containers call, and the class that Triton's Python backend does.
_CONTAINER: Final = frozenset({"predict_fn", "model_fn"})


def may_serve(text: str) -> bool:
    """Whether a word of the text is one that a module which serves would have."""
    return any(word in text for word in _WORDS)


def serves(path: str, source: Source) -> Location | None:
    """The place that shows that a module serves; None for one that does not."""
    if source.tree is None:
        return None
    nodes = every(source.tree)
    names = {name for package in _imported(nodes) for name in _PACKAGES[package]}
    functions: set[str] = set()
    for node in nodes:
        kind = type(node)
        if kind is ast.Name or kind is ast.Attribute:
            if (node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")) in names:
                return Location(path, *source.span(node))  # type: ignore[arg-type]
        elif isinstance(node, ast.ClassDef):
            if node.name == "TritonPythonModel" or _is_truss(path, node):
                return _first_line(path, source, node)
        elif isinstance(node, ast.FunctionDef):
            functions.add(node.name)
            if functions >= _CONTAINER:
                return _first_line(path, source, node)
    return None


def _is_truss(path: str, node: ast.ClassDef) -> bool:
    """Truss calls `load` and `predict` of the class `Model` in `model/model.py`."""
    names = {child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)}
    return node.name == "Model" and path.endswith("model/model.py") and {"load", "predict"} <= names


def _first_line(path: str, source: Source, node: ast.stmt) -> Location:
    span = source.span(node)
    return Location(path, span.line, span.column, span.line, span.column + 1)


def _imported(nodes: list[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found & _PACKAGES.keys()
