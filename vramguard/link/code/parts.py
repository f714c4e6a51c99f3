"""Under which attribute or key of an object a value is kept, so that what is read beside it is not taken for it.

A part is empty (the value itself, or nobody knows), `.name` of an attribute, `[name]` of a key, `#1` of a place in a
tuple.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from vramguard.link.code.program import Ref
    from vramguard.link.code.reached import Edge
    from vramguard.source.graph import Node

_KEEPS: Final = frozenset({
    "join", "items", "or", "and", "if", "each", "part", "enter", "global", "yield", "return", "store", "setitem",
    "name", "param",
})  # fmt: skip
_BY_KEY: Final = frozenset({"get", "pop", "setdefault", "__getitem__"})
# Methods that give an object of the same attributes or keys, and functions that do so of their argument.
_COPIES: Final = frozenset({
    "copy", "deepcopy", "model_copy", "model_dump", "dict", "to_dict", "_asdict", "asdict", "_replace", "replace",
    "reset_index", "head", "tail", "dropna", "drop", "sort_values", "astype", "merge", "join", "vars", "cast", "list",
    "sorted", "reversed", "next", "iter", "concat", "DataFrame",
})  # fmt: skip
# What writes objects for programs, such as a model with what was learned beside it.
SAVERS: Final = frozenset({"joblib.dump", "pickle.dump", "dill.dump", "cloudpickle.dump", "torch.save"})
_ADDS: Final = frozenset({"append", "add", "extend", "insert", "update", "appendleft", "put"})


def after(edge: Edge, part: str, fields: Container[str], has_fields: Callable[[Ref], bool]) -> str | None:
    """Where a value stands in what a use makes of the object that holds it; None where the use takes something else.

    `fields`: names that attributes of the repository's objects have; `has_fields`: whether a call makes an object whose
    attributes are the call's keywords.
    """
    node = edge.user.node
    if node.op == "call":
        return _called(edge, part, has_fields)
    if node.op == "attr":
        return _attribute(edge.user, part, fields)
    find = _FINDERS.get(node.op)
    if find is not None:
        return find(edge, part)
    return part if node.op in _KEEPS or (node.op == "binary" and node.name in ("|", "+")) else ""


def placed(edge: Edge, part: str) -> str | None:
    """The same of places in tuples alone: `return rows, size` and `rows, size = read()`."""
    node = edge.user.node
    if node.op == "items":
        return f"#{edge.position}" if node.name == "tuple" and not part else ""
    if node.op == "part":
        return None if part and node.name.isdigit() and part != f"#{node.name}" else ""
    return part if node.op in ("return", "join", "if", "param") else ""


def _attribute(user: Ref, part: str, fields: Container[str]) -> str | None:
    name = user.node.name
    if not part or part[1:].rstrip("]") == name:
        return ""
    nodes = user.routine.function.nodes
    users = [nodes[number] for number in user.routine.users.get(user.number, ())]
    if users and all(one.op == "call" and one.inputs[0] == user.number for one in users):
        return part  # a method
    return None if part[0] == "." and name in fields else ""


def _item(edge: Edge, part: str) -> str | None:
    user = edge.user
    key = user.to(user.node.inputs[1]).node
    if not part:
        return ""
    if key.op == "const" and key.name[:1] in "'\"":
        return _same(key, part)
    return part if key.op in ("const", "items", "unary", "opaque") else ""


def _same(key: Node, part: str) -> str | None:
    """Of a constant key: the value, if it is kept under that."""
    return "" if key.name.strip("'\"") == part[1:].rstrip("]") else None


def _grown(edge: Edge, part: str) -> str | None:
    name = edge.user.node.name
    put = _key(edge.user) if name == "[]" else name if len(name) > 1 and name[0] == "." else ""
    if edge.position == 0:
        return None if part and part == put else part
    return part if name in _ADDS else put


def _key(grown: Ref) -> str:
    """The constant key under which `x[key] = …` has put something: the act stands right before."""
    act = grown.routine.function.nodes[grown.number - 1] if grown.number else None
    if act is None or act.op != "setitem":
        return ""
    key = grown.to(act.inputs[1]).node
    return f"[{key.name.strip(_QUOTES)}]" if key.op == "const" and key.name[:1] in _QUOTES else ""


_QUOTES: Final = "'\""


def _table(edge: Edge, part: str) -> str:
    inputs = edge.user.node.inputs
    if edge.position % 2 == 0:
        return ""
    key = inputs[edge.position - 1]
    if key == NONE:
        return part
    node = edge.user.to(key).node
    return f"[{node.name.strip(_QUOTES)}]" if node.op == "const" and node.name[:1] in _QUOTES else ""


def _called(edge: Edge, part: str, has_fields: Callable[[Ref], bool]) -> str | None:
    user = edge.user
    function = user.to(user.node.inputs[0]).node
    last = function.name.rpartition(".")[2]
    if edge.position == 0:
        if part and last in _BY_KEY and len(user.node.inputs) > 1:
            key = user.to(user.node.inputs[1]).node
            return _same(key, part) if key.op == "const" and key.name[:1] in _QUOTES else ""
        return part if last in _COPIES else ""
    keyword = user.node.keywords[edge.position - 1]
    if keyword == "**":
        return part
    if keyword and keyword != "*":
        if last == "dict":
            return f"[{keyword}]"
        if has_fields(user):
            return f".{keyword}"
    return part if last in _COPIES else ""


_FINDERS: Final[Mapping[str, Callable[[Edge, str], str | None]]] = {"item": _item, "grown": _grown, "table": _table}
