"""Balancers of a repository's own that choose among servers by the use of a CPU or of memory: Python and YAML.

Only what is written out is told: a choice by a key (`min(servers, key=lambda one: one.cpu_percent)`), the weights of a
random one, and a setting under a balancer's name (`load_balancing: {strategy: cpu}`).
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Manifest
from vramguard.facts.nodes import Node
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

FORM: Final = "balancer"
_CPU = re.compile(
    r"(?:^|[^a-z])(?:cpus?|ram|loadavg|load_avg|virtual_memory|mem(?:ory)?_(?:percent|usage|util\w*|used|free|available))"
    r"(?![a-z])",
    re.IGNORECASE,
)
_GPU = re.compile(r"gpu|vram|cuda|kv_?cache|nvml|queue|waiting|running|pending", re.IGNORECASE)
_SERVERS = re.compile(
    r"server|backend|upstream|endpoint|replica|instance|worker|target|host|pod|candidate", re.IGNORECASE
)
_SERVES = re.compile(r"vllm|cuda|gpu|inference|/v1/|predict|triton|sglang|llm", re.IGNORECASE)
_CHOOSES: Final = {
    "min": "key",
    "max": "key",
    "sorted": "key",
    "nsmallest": "key",
    "nlargest": "key",
    "choices": "weights",
}
_CHOICE = re.compile(rf"\b(?:{'|'.join(_CHOOSES)})\(")
_SETTING = re.compile(
    r"(?:strategy|policy|algorithm|method|metric|mode|type|by|from|weights?|weighting)$", re.IGNORECASE
)
_MAX: Final = 1 << 18  # characters of a file that somebody has written by hand
_MAX_DEPTH: Final = 20


def extract(document: Document) -> Iterator[Manifest]:
    """Every choice among servers by a CPU that a file makes."""
    text = document.text
    if len(text) > _MAX:
        return
    if document.kind == "python":
        choice = any(f"{word}(" in text for word in _CHOOSES) and _CHOICE.search(text)
        asked = choice and _CPU.search(text) and _SERVES.search(text)
        if asked and document.value.tree is not None:
            yield from _of_python(document)
    elif ("balanc" in text or "BALANC" in text or "Balanc" in text) and _CPU.search(text):
        for number, value in enumerate(document.value):
            if isinstance(value, dict) and "apiVersion" not in value:
                yield from _of_yaml(Node(document, (number,), value), within=False, depth=0)


def _of_python(document: Document) -> Iterator[Manifest]:
    for call in ast.walk(document.value.tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        key = next((one.value for one in call.keywords if one.arg == _CHOOSES.get(name)), None)
        if key is None or not call.args or not _named(call.args[-1], _SERVERS):
            continue
        if _named(key, _CPU) and not _named(key, _GPU):
            at = Location(document.path, *document.value.span(call))
            yield Manifest(at, FORM, Node(document, (), None), name=_shown(key))


def _shown(key: ast.AST) -> str:
    """The expression as Python would write it, its beginning; one that is nested too deep is not shown."""
    try:
        return ast.unparse(key)[:80]
    except RecursionError:
        return "its load"


def _named(node: ast.AST, pattern: re.Pattern[str]) -> bool:
    """Whether a name, an attribute or a text within an expression is called in some way."""
    for one in ast.walk(node):
        word = getattr(one, "id", None) or getattr(one, "attr", None) or getattr(one, "value", None)
        if isinstance(word, str) and len(word) <= 100 and pattern.search(word):  # noqa: PLR2004 - characters of a name
            return True
    return False


def _of_yaml(node: Node, *, within: bool, depth: int) -> Iterator[Manifest]:
    """Settings under a key that names a balancer. `within`: whether one of the keys above does."""
    for key, value in node.items() if depth < _MAX_DEPTH else ():
        balancer = within or "balanc" in key.lower()
        if balancer and isinstance(value.value, str) and (_SETTING.search(key) or "balanc" in key.lower()):
            word = value.word()
            if word and word.known and len(word.text) <= 60 and _CPU.search(word.text) and not _GPU.search(word.text):  # noqa: PLR2004
                yield Manifest(value.at, FORM, value, name=f"{key}: {word.text}")
        elif isinstance(value.value, dict):
            yield from _of_yaml(value, within=balancer, depth=depth + 1)
