"""HCL, the language of Terraform, by python-hcl2's grammar where that is installed (the extra `terraform`).

A block is a mapping of its attributes and blocks, blocks under their type as a list; its labels stand under `LABELS`.
What is no literal is a text in `{{ }}` with the expression as written; a call of a known function is a mapping with
`CALL` and `ARGUMENTS`, a heredoc one with `HEREDOC`, whose text begins on the line after.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from vramguard.source import Parsed, ParseError, Place, Ruler, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.source import KeyPath

LABELS: Final = "#labels"
CALL: Final = "#call"
ARGUMENTS: Final = "#arguments"
HEREDOC: Final = "#heredoc"
MISSING: Final = "#missing"  # why nothing of the file is known
_CALLS: Final = frozenset(("yamldecode", "jsondecode", "yamlencode", "jsonencode", "file", "templatefile"))
_MAX_TEXT: Final = 1 << 18  # characters of a file; a longer one is generated
_MAX_OPENERS: Final = 300  # heredocs and comments, each of which may be looked for up to the end
_MAX_DEPTH: Final = 120
_MAX_VALUES: Final = 100_000
# What a file says that anybody asks for; most only make networks and rights.
_WORTH: Final = re.compile(
    r"\"(?:kubernetes_|kubectl_manifest|helm_release|[a-z]+_[a-z_0-9]*(?:node_pool|node_group|kubernetes|container_cluster"
    r"|sagemaker|vertex|autoscal|eventbridge|event_rule|event_target|scheduler|cloud_run|ecs_|backend_service|lb_|alb_"
    r"|machine_learning|launch_template|instance|cloudwatch|alert|monitoring|prometheus|batch))|gpu|accelerator",
    re.IGNORECASE,
)


_BLANKS: Final = re.compile(r"(?:\n[ \t]*){500}")
_SURROGATES: Final = range(0xD800, 0xE000)


def parse(text: str) -> Parsed:
    """Parse a file; the value is its body, None where it says nothing that is asked for. Raises `ParseError`."""
    if len(text) > _MAX_TEXT or not _WORTH.search(text):
        return Parsed(None, dict)
    blank = "<<" in text and _BLANKS.search(text)  # the grammar looks for a heredoc's end from each blank line
    if blank or text.count("<<") > _MAX_OPENERS or text.count("/*") > _MAX_OPENERS or _is_deep(text):
        raise ParseError("refused: more than any person writes")
    try:
        from hcl2 import parses_to_tree
        from lark.exceptions import LarkError
    except ImportError:
        return Parsed({MISSING: "python-hcl2 is not installed"}, dict)
    try:
        tree = parses_to_tree(text)
    except LarkError as error:
        line, column = getattr(error, "line", 1), getattr(error, "column", 1)
        at = (line, column) if isinstance(line, int) and isinstance(column, int) and min(line, column) > 0 else (1, 1)
        raise ParseError("not valid HCL", *at) from error
    reader = _Reader(text)
    value = reader.body(tree.children[0], ())
    return Parsed(value, lambda: reader.places)


def _is_deep(text: str) -> bool:
    """Whether brackets nest deeper than anybody writes, those in texts counted as well."""
    depth = 0
    for match in re.finditer(r"[\[{(]|[\]})]", text):
        depth += 1 if match[0] in "[{(" else -1
        if depth > _MAX_DEPTH:
            return True
    return False


class _Reader:
    """Lark's tree to plain values, with the place of each."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.ruler = Ruler(text)
        self.places: dict[KeyPath, Place] = {}

    def body(self, tree: Any, keys: KeyPath) -> dict[str, Any]:  # noqa: ANN401 - lark has no types of ours
        """The attributes and blocks of a body."""
        found: dict[str, Any] = {}
        for child in tree.children:
            kind = _kind(child)
            if kind == "attribute":
                name, *_, value = child.children
                key = self._source(name)
                found[key] = self._put((*keys, key), name, value)
            elif kind == "block":
                self._block(child, keys, found)
        return found

    def _block(self, tree: Any, keys: KeyPath, found: dict[str, Any]) -> None:  # noqa: ANN401
        heads = [
            child for child in tree.children if _kind(child) in ("identifier", "string", "keyword", "literal_value")
        ]
        body = next(child for child in tree.children if _kind(child) == "body")
        name = self._source(heads[0])
        blocks = found.setdefault(name, [])
        if not isinstance(blocks, list) or len(self.places) > _MAX_VALUES:
            return
        path = (*keys, name, len(blocks))
        span = self._span(heads[0])
        self.places.setdefault((*keys, name), Place(span, span))
        self.places[path] = Place(span, span)
        blocks.append({})
        inner = self.body(body, path)
        if len(heads) > 1:
            inner[LABELS] = [self._source(head).strip('"') for head in heads[1:]]
        blocks[-1] = inner

    def _put(self, path: KeyPath, key: Any, value: Any) -> Any:  # noqa: ANN401
        value = _bare(value)
        self.places[path] = Place(self._span(key), self._span(value))
        return self._value(value, path)

    def _value(self, tree: Any, path: KeyPath) -> Any:  # noqa: ANN401, PLR0911 - a row of the grammar each
        kind = _kind(tree)
        if len(self.places) > _MAX_VALUES:
            return None
        if kind == "string":
            return self._string(tree)
        if kind == "object":
            return dict(self._entries(tree, path))
        if kind == "tuple":
            items = [child for child in tree.children if _kind(child) not in _PUNCTUATION]
            return [self._put((*path, number), item, item) for number, item in enumerate(items)]
        if kind in ("heredoc_template", "heredoc_template_trim"):
            return self._heredoc(tree)
        if kind == "function_call":
            return self._call(tree, path)
        source = self._source(tree)
        if kind in ("int_lit", "float_lit"):
            return _number(source)
        if source in _CONSTANTS:
            return _CONSTANTS[source]
        return _unknown(source)

    def _entries(self, tree: Any, path: KeyPath) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
        for element in tree.children:
            if _kind(element) == "object_elem":
                key, *_, value = element.children
                bare = _bare(key)
                name = self._string(bare) if _kind(bare) == "string" else self._source(bare)
                yield name, self._put((*path, name), key, value)

    def _string(self, tree: Any) -> str:  # noqa: ANN401
        """A text; what is filled in is marked as a renderer's, with the expression as written."""
        parts: list[str] = []
        for part in tree.children:
            if _kind(part) != "string_part":
                continue
            inner = part.children[0]
            source = self._source(inner)
            if _kind(inner) == "interpolation":
                parts.append(_unknown(source[2:-1].strip()))
            elif source.startswith(("$${", "%%{")):
                parts.append(source[1:])
            elif _kind(inner).startswith("template_"):
                parts.append(_unknown("..."))
            else:
                parts.append(_ESCAPE.sub(_plain, source))
        return "".join(parts)

    def _heredoc(self, tree: Any) -> dict[str, Any]:  # noqa: ANN401
        """A text of several lines: `HEREDOC` is it, with the line and column of its first character."""
        start, end = self._offsets(tree)
        head, _, rest = self.text[start:end].partition("\n")
        lines = rest.rstrip("\n").split("\n")[:-1]
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        indent = indent if head.startswith("<<-") else 0
        return {
            HEREDOC: "".join(f"{line[indent:]}\n" for line in lines),
            "line": self.ruler.position(start)[0] + 1,
            "column": indent + 1,
        }

    def _call(self, tree: Any, path: KeyPath) -> Any:  # noqa: ANN401
        source = self._source(tree)
        name = source.partition("(")[0].strip()
        if name not in _CALLS:
            return _unknown(source)
        held = next((child for child in tree.children if _kind(child) == "arguments"), None)
        arguments = [child for child in held.children if _kind(child) not in _PUNCTUATION] if held is not None else []
        inner = [self._put((*path, ARGUMENTS, number), item, item) for number, item in enumerate(arguments)]
        return {CALL: name, ARGUMENTS: inner}

    def _offsets(self, tree: Any) -> tuple[int, int]:  # noqa: ANN401
        meta = getattr(tree, "meta", None)
        if meta is not None and not getattr(meta, "empty", True):
            return meta.start_pos, meta.end_pos
        if meta is None and getattr(tree, "start_pos", None) is not None:
            return tree.start_pos, tree.end_pos
        return 0, 0

    def _source(self, tree: Any) -> str:  # noqa: ANN401
        start, end = self._offsets(tree)
        return self.text[start:end].strip()

    def _span(self, tree: Any) -> Span:  # noqa: ANN401
        start, end = self._offsets(tree)
        return self.ruler.span(start, end)


_PUNCTUATION: Final = frozenset(("new_line_or_comment", "LSQB", "RSQB", "COMMA", "LPAR", "RPAR", "ELLIPSIS", "token"))
_CONSTANTS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r"}
_MAX_EXPRESSION: Final = 200


def _number(source: str) -> int | float | str:
    """A number as written; one that no person writes is not known."""
    if re.fullmatch(r"-?[0-9]{1,18}", source):
        return int(source)
    return (
        float(source)
        if re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", source)
        else _unknown(source)
    )


def _plain(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 1:
        return _ESCAPED.get(code, code)
    number = int(code[1:], 16)
    return "\ufffd" if number in _SURROGATES or number > sys.maxunicode else chr(number)


def _unknown(source: str) -> str:
    """An expression as a renderer's text, so that nobody takes it for a literal."""
    return "{{ " + " ".join(source[:_MAX_EXPRESSION].split()) + " }}"


def _kind(tree: Any) -> str:  # noqa: ANN401
    data = getattr(tree, "data", None)
    return str(data) if data is not None else str(getattr(tree, "type", "token"))


def _bare(tree: Any) -> Any:  # noqa: ANN401
    """The value within brackets and the grammar's own layers of one child."""
    for _ in range(_MAX_DEPTH):
        inner = [child for child in getattr(tree, "children", ()) if _kind(child) not in _PUNCTUATION]
        if _kind(tree) not in ("expr_term", "object_elem_key", "expression") or len(inner) != 1:
            return tree
        tree = inner[0]
    return tree
