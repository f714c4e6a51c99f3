"""One Python file, or notebook: its schemas with their numbers, who answers with them, and what its names mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.extract.fields.names import Module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document
    from vramguard.source.python import Source

_CLASS: Final = re.compile(r"class (?<=\bclass )\w")  # a text to look for in front is found at once
_NUMBER: Final = re.compile(r"[Ff]loat|Decimal|decimal|\bint\b|Int\b|conint|Integer")
_SCHEMAS: Final = (
    "pydantic", "sqlmodel", "msgspec", "marshmallow", "dataclass", "TypedDict", "NamedTuple", "attr", "BaseModel",
    "Schema", "ninja",
)  # fmt: skip
_HANDLER: Final = re.compile(
    r"@[\w.]+\.(?:get|post|put|patch|delete|route|api_route|websocket|api|endpoint|output|response)\b"
    r"|@(?:get|post|put|patch|delete|route|fastapi_endpoint|web_endpoint)\(|response_model|BasePredictor|LitAPI"
)
# What a model is asked for, or with; plain words are found much sooner.
_ASKED: Final = (
    "predict", "infer", "forecast", "classif", "embed", "transcribe", "completion", "invoke", "pipeline", "recommend",
    "estimate_",
)  # fmt: skip
_MODEL: Final = re.compile(r"\bgenerate|(?:models?|network|pipe|llm|regressor)[])]*\(")
# A class of the repository's own base, which only other modules can tell to be a schema.
_DERIVED: Final = re.compile(r"class (?<=\bclass )\w{1,80}\([^()\n]{0,200}(?:Base|Model|Schema|Response|Output|Result)")
_MAX: Final = 1 << 20


def extract(document: Document) -> Iterator[Fact]:
    """The facts of one module; nothing for one that neither declares numbers nor serves, nor predicts."""
    text = document.text
    if len(text) > _MAX:
        return
    schemas = _CLASS.search(text) is not None and _may_declare(text)
    handlers = _HANDLER.search(text) is not None
    names = schemas or handlers or _may_predict(document.path, text)
    if not names:
        return
    source: Source = document.value
    if source.tree is None or not source.tree.body:
        return
    from vramguard.extract.fields import classes
    from vramguard.extract.fields import handlers as found

    module = Module(document.path, source, source.tree)
    if schemas:
        yield from classes.of_module(module)
    if handlers:
        yield from found.responses(module)
    yield found.names_of(module, deep=handlers or _asks(text))


def _may_declare(text: str) -> bool:
    """Whether a class of it may have numbers, or be a base of one that has: a configuration alone counts."""
    if _DERIVED.search(text):
        return True
    numbers = "allow_inf_nan" in text or _NUMBER.search(text) is not None
    return numbers and any(word in text for word in _SCHEMAS)


def _may_predict(path: str, text: str) -> bool:
    if path.endswith("__init__.py"):
        return "import" in text
    return _asks(text) and ("def " in text or "=" in text)


def _asks(text: str) -> bool:
    """Whether a text has a word of asking a model."""
    return any(word in text for word in _ASKED) or _MODEL.search(text) is not None
