"""What a call is worth to the evaluator of literals: methods of strings, paths, files, the environment, functions."""

from __future__ import annotations

import ast
import posixpath
import re
import textwrap
from typing import TYPE_CHECKING, Final

from vramguard.extract.python.worth import (
    MAX_ITEMS,
    MAX_TEXT,
    Contents,
    Either,
    Items,
    Opaque,
    Table,
    Text,
    Value,
    either,
    elements,
    hole,
    item,
    joined,
    pieces,
    plus,
    stripped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.extract.python.bound import Function
    from vramguard.extract.python.literals import Frame, Module

_SAME: Final = frozenset(
    {"list", "tuple", "set", "sorted", "frozenset", "dict", "iter", "reversed", "str", "dedent", "cleandoc", "filter",
     "OrderedDict", "deepcopy", "copy", "defaultdict", "unique", "fspath"}
)  # fmt: skip
_OPENS: Final = frozenset({"open", "read_text", "read_bytes", "parse_requirements"})
_PATHS: Final = frozenset({"Path", "PurePath", "PosixPath", "abspath", "realpath", "normpath", "expanduser"})
_OF_FILE: Final = frozenset(
    {"read", "readlines", "readline", "splitlines", "split", "strip", "rstrip", "lstrip", "decode", "replace", "lower",
     "partition", "read_text", "open", "format", "append", "encode", "removeprefix", "removesuffix"}
)  # fmt: skip
_KEPT: Final = frozenset({"resolve", "absolute", "as_posix", "expanduser", "encode", "decode", "copy", "casefold"})
_HOLES: Final = re.compile(r"\{(\w*)(?:![rs])?(?::[^{}]*)?\}|\{\{|\}\}")
_PERCENT: Final = re.compile(r"%(?:\((\w+)\))?([sdri%])")


def dotted(node: ast.expr) -> str:
    """`os.environ.get` as written; "" for what is no chain of names."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def call(module: Module, node: ast.Call, frame: Frame) -> Value:
    """What a call gives back."""
    name = dotted(node.func)
    last = node.func.attr if isinstance(node.func, ast.Attribute) else name
    function = module.function(node.func, frame)
    if function is not None:
        given = _arguments(module, function, node, frame)
        line = next((value for value in given.values() if isinstance(value, Contents)), None)
        return line or module.returned(function, given, frame, node)  # what is made of a file's line is the file's
    written = Opaque(node, module.source.written(node))
    if last in ("get", "getenv") and ("environ" in name or last == "getenv"):
        return module.evaluate(node.args[1], frame) if len(node.args) > 1 else written
    arguments = [module.evaluate(argument, frame) for argument in node.args[:MAX_ITEMS] if not _starred(argument)]
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value, name):
        found = method(module.evaluate(node.func.value, frame), last, arguments, _named(module, node, frame), node)
        return written if found is None else found
    if name == "dict" and not arguments:
        return Table(tuple((Text(key, node, None), value) for key, value in _named(module, node, frame).items()), node)
    found = _function(name, last, arguments, node)
    if found is None and last in ("chain", "from_iterable"):
        found = _chained(module, node, frame, nested=last == "from_iterable")
    return written if found is None else found


def _chained(module: Module, node: ast.Call, frame: Frame, *, nested: bool) -> Value:
    """`chain(a, *b)`, `chain.from_iterable(b)`: the items of lists one after another."""
    lists: list[Value] = []
    for argument in node.args[:MAX_ITEMS]:
        starred = isinstance(argument, ast.Starred)
        value = module.evaluate(argument.value if isinstance(argument, ast.Starred) else argument, frame)
        lists += elements(value) if starred or nested else [value]
    return Items(tuple(inner for value in lists for inner in elements(value))[:MAX_ITEMS], node)


def _starred(node: ast.expr) -> bool:
    return isinstance(node, ast.Starred)


def _is_module(node: ast.expr, name: str) -> bool:
    """Whether what stands before the last dot of a call is a module, as far as its name tells."""
    return name.partition(".")[0] in {
        "os", "path", "osp", "op", "pathlib", "io", "codecs", "itertools", "textwrap", "inspect", "shlex", "copy", "re",
        "pkg_resources", "collections", "platform", "sys", "functools", "json", "yaml", "toml", "tomllib", "req",
    } and isinstance(node, ast.Name | ast.Attribute)  # fmt: skip


def _named(module: Module, node: ast.Call, frame: Frame) -> dict[str, Value]:
    return {word.arg: module.evaluate(word.value, frame) for word in node.keywords if word.arg}


def _arguments(module: Module, function: Function | ast.Lambda, node: ast.Call, frame: Frame) -> dict[str, Value]:
    """The parameters of a function of the file with what they are given, or default to."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    bound: dict[str, Value] = {}
    defaults = dict(zip(reversed(names), reversed(given.defaults), strict=False))
    defaults |= {a.arg: d for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None}
    positional: list[Value] = []
    for argument in node.args[:MAX_ITEMS]:
        if isinstance(argument, ast.Starred):
            positional += elements(module.evaluate(argument.value, frame))
        else:
            positional.append(module.evaluate(argument, frame))
    bound |= dict(zip(names, positional, strict=False))
    if given.vararg is not None:
        bound[given.vararg.arg] = Items(tuple(positional[len(names) :]), node)
    bound |= _named(module, node, frame)
    return {name: module.evaluate(default, frame) for name, default in defaults.items() if name not in bound} | bound


def _function(name: str, last: str, arguments: list[Value], node: ast.Call) -> Value | None:  # noqa: PLR0911, C901 - a row each
    first = arguments[0] if arguments else None
    if name in ("os.getcwd", "Path.cwd", "pathlib.Path.cwd"):
        return Text(".", node, None)
    if first is None:
        return Items((), node) if name in ("list", "tuple", "set") else Table((), node) if name == "dict" else None
    if name.startswith("re."):
        return _matched(last, arguments, node)
    if last in _OPENS:
        return _opened(first, node)
    if last == "join":
        return path(arguments, node)
    if last == "dirname":
        return _parent(first, node)
    if last in _PATHS:
        return path(arguments, node)
    if last == "split" and name.startswith("shlex") and isinstance(first, Text):
        return Items(tuple(pieces(first, None)), node)
    if last in _SAME:
        return _same(last, arguments, node)
    if last == "map":
        return arguments[-1]
    if last == "sum":
        return Items(tuple(inner for value in elements(first) for inner in elements(value))[:MAX_ITEMS], node)
    return None


def _same(last: str, arguments: list[Value], node: ast.Call) -> Value:
    value = arguments[-1] if last == "filter" else arguments[0]
    if last in ("dedent", "cleandoc") and isinstance(value, Text) and len(value.value) < MAX_TEXT:
        same = textwrap.dedent(value.value)
        return value if same == value.value else Text(same, value.node, None, value.known)
    if isinstance(value, Table) and last not in ("dict", "OrderedDict", "deepcopy", "copy", "defaultdict"):
        return Items(tuple(key for key, _ in value.pairs), node)
    return value


def _matched(last: str, arguments: list[Value], node: ast.Call) -> Value | None:
    """Patterns are not run. `((name)...)` on a requirement is the table of versions that transformers made common."""
    if last == "sub":
        return arguments[-1] if isinstance(arguments[-1], Contents) else None
    pattern, text = arguments[0], arguments[-1]
    if last == "findall" and isinstance(pattern, Text) and isinstance(text, Text):
        name = re.match(r"[A-Za-z0-9][\w.-]*", text.value)
        if name and pattern.value.lstrip("^").startswith("(("):
            return Items((Items((text, Text(name[0], text.node, text.offset)), node),), node)
    return None


def _opened(value: Value, node: ast.expr) -> Value | None:
    match value:
        case Contents():
            return value
        case Text():
            return Contents(value, node)
        case Either():
            found = [_opened(option, node) for option in value.options]
            return either([option for option in found if option is not None], node)
    return None


def path(parts: list[Value], node: ast.expr) -> Value | None:
    """Parts of a path, joined."""
    if any(isinstance(part, Contents) for part in parts):  # a file that a line of another names
        return next(part for part in parts if isinstance(part, Contents))
    found = joined(parts, node, "/")
    if len(parts) == 1 or not isinstance(found, Text):
        return parts[0] if len(parts) == 1 else found
    clean = re.sub(r"^(?:\$\{[A-Z0-9_]+\}/)(?=\.?\w)", "${FOLDER}/", found.value)
    return Text(_normal(clean), node, None, found.known)


def _normal(text: str) -> str:
    rooted = text.startswith(("./", "../"))
    clean = posixpath.normpath(text)
    return f"./{clean}" if rooted and not clean.startswith(".") else clean


def _parent(value: Value, node: ast.expr) -> Value | None:
    if not isinstance(value, Text):
        return None
    text = value.value
    parent = (
        posixpath.normpath(f"{text}/..") if text in (".", "..") or text.endswith("/..") else posixpath.dirname(text)
    )
    return Text(parent or ".", node, None, value.known)


def attribute(value: Value, node: ast.Attribute) -> Value | None:
    """`path.parent`, and whatever is asked of a file's lines."""
    if isinstance(value, Contents):
        return value
    return _parent(value, node) if node.attr == "parent" else None


def method(value: Value, name: str, arguments: list[Value], named: Mapping[str, Value], node: ast.Call) -> Value | None:
    """A method of a known value."""
    match value:
        case Contents():
            return value if name in _OF_FILE else None
        case Either():
            found = [method(option, name, arguments, named, node) for option in value.options]
            known = [option for option in found if option is not None]
            return either(known, node) if known else None
        case Text():
            return _of_text(value, name, arguments, named, node)
        case Table() if name in ("values", "items", "keys", "copy", "get"):
            return _of_table(value, name, arguments, node)
        case Items() if name in ("copy", "union"):
            return plus(value, arguments[0], node) if arguments else value
    return None


def _of_table(value: Table, name: str, arguments: list[Value], node: ast.Call) -> Value | None:
    if name == "copy":
        return value
    if name == "get":
        found = item(value, arguments[0], node) if arguments else None
        return found if found is not None else arguments[1] if len(arguments) > 1 else None
    rows: Callable[[Value, Value], Value] = {
        "values": lambda _, held: held,
        "keys": lambda key, _: key,
        "items": lambda key, held: Items((key, held), node),
    }[name]
    return Items(tuple(rows(key, held) for key, held in value.pairs), node)


def _of_text(  # noqa: PLR0911, C901 - a row for each method
    text: Text, name: str, arguments: list[Value], named: Mapping[str, Value], node: ast.Call
) -> Value | None:
    first = arguments[0] if arguments else None
    word = first.value if isinstance(first, Text) and first.known else None
    if name in ("split", "rsplit", "splitlines"):
        lines = name == "splitlines"
        return (
            Items(tuple(pieces(text, word, lines=lines)), node)
            if word != "" and (first is None or word or lines)
            else None
        )
    if name in ("strip", "lstrip", "rstrip") and (first is None or word is not None):
        value: str = getattr(text.value, name)(word)
        return stripped(text, len(text.value) - len(text.value.lstrip(word)) if name != "rstrip" else 0, value)
    if name == "join":
        return _join(text, first, node)
    if name == "format":
        return _format(text, arguments, named, node)
    if name in ("lower", "upper", "title"):
        return Text(getattr(text.value, name)(), text.node, None, text.known)
    if name in ("removeprefix", "removesuffix") and word is not None:
        return Text(getattr(text.value, name)(word), text.node, None, text.known)
    if name == "replace" and word and len(arguments) > 1 and isinstance(arguments[1], Text):
        grown = text.value.count(word) * len(arguments[1].value)
        return (
            Text(text.value.replace(word, arguments[1].value), text.node, None, text.known)
            if grown < MAX_TEXT
            else None
        )
    if name in ("read_text", "open", "read_bytes"):
        return Contents(text, node)
    if name == "joinpath":
        return path([text, *arguments], node)
    if name in ("with_name", "with_suffix"):
        return None
    return text if name in _KEPT else None


def _join(text: Text, listed: Value | None, node: ast.Call) -> Value | None:
    match listed:
        case Items():
            return joined(list(listed.items), node, text.value) if listed.items else Text("", node, None)
        case Contents():
            return listed
    return None


def _format(text: Text, arguments: list[Value], named: Mapping[str, Value], node: ast.Call) -> Value:
    parts: list[Value] = []
    position = number = 0
    for match in _HOLES.finditer(text.value):
        parts.append(Text(text.value[position : match.start()], node, None, text.known))
        position = match.end()
        if match[1] is None:
            parts.append(Text(match[0][0], node, None))
            continue
        key = match[1] or str(number)
        number += not match[1]
        given = named.get(key) if not key.isdecimal() else dict(enumerate(arguments)).get(int(key[:6]))
        parts.append(
            given
            if given is not None
            else Text("${" + (key.upper() if key.isascii() else "X") + "}", node, None, known=False)
        )
    return joined([*parts, Text(text.value[position:], node, None, text.known)], node)


def percent(text: Value, values: Value, node: ast.BinOp) -> Value | None:
    """`"torch==%s" % version`."""
    if not isinstance(text, Text):
        return None
    given = list(values.items) if isinstance(values, Items) else [values]
    parts: list[Value] = []
    position = number = 0
    for match in _PERCENT.finditer(text.value):
        parts.append(Text(text.value[position : match.start()], node, None, text.known))
        position = match.end()
        if match[2] == "%":
            parts.append(Text("%", node, None))
        elif match[1]:
            parts.append(item(values, Text(match[1], node), node) or hole(node))
        else:
            parts.append(given[number] if number < len(given) else hole(node))
            number += 1
    return joined([*parts, Text(text.value[position:], node, None, text.known)], node)
