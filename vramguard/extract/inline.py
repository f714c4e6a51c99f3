"""A script that declares its own dependencies in a comment (PEP 723, "Inline script metadata")."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from vramguard.extract import declaration, uv
from vramguard.extract.tables import listed
from vramguard.source import Location, ParseError, toml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Fact
    from vramguard.source import Document, KeyPath, Place

_START: Final = "# /// script"
_LISTS: Final = (("dependencies",), ("tool", "uv", "constraint-dependencies"), ("tool", "uv", "override-dependencies"))
_BLOCK: Final = re.compile(r"^# /// script[ \t]*$", re.MULTILINE)


def extract(document: Document) -> Iterator[Fact]:
    """Every requirement of the script's block; none where it is not closed, or has a second one beside it."""
    if _START not in document.text or len(_BLOCK.findall(document.text)) != 1:
        return
    lines = document.lines
    first = next(number for number, line in enumerate(lines) if line.rstrip() == _START)
    block = _block(lines, first)
    if block is None or _is_within_text(document, first + 1):
        return
    try:
        parsed = toml.parse("\n".join(line[2:] for line in block))
    except ParseError as error:
        at = Location(
            document.path, first + 1 + error.line, 1, first + 1 + error.line, len(lines[first + error.line]) + 1
        )
        said = declaration.wrong(lines[first + error.line].strip(), f"the script's block is {error}")
        yield declaration.fact(said, at, "script")
        return
    known, places = uv.sources(parsed.value), parsed.locate()
    for keys in _LISTS:
        for entry in listed(parsed.value, *keys):
            at = _place(document, places, entry.keys, first + 1)
            yield declaration.fact(uv.sourced(entry.said, known), at, "script", entry.section)


def _block(lines: list[str], first: int) -> list[str] | None:
    """The lines of a block, up to the last `# ///` that comments reach; None where none closes it."""
    end = first + 1
    while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
        end += 1
    closing = next((number for number in range(end - 1, first, -1) if lines[number].rstrip() == "# ///"), None)
    return None if closing is None else lines[first + 1 : closing]


def _is_within_text(document: Document, line: int) -> bool:
    """Whether a line stands in a string: a script that a test or a tool writes, not this one."""
    tree = document.value.tree
    texts = (node for node in ast.walk(tree or ast.Module([], [])) if isinstance(node, ast.Constant))
    return any(node.lineno <= line <= (node.end_lineno or 0) for node in texts if isinstance(node.value, str))


def _place(document: Document, places: Mapping[KeyPath, Place], keys: KeyPath, above: int) -> Location:
    """The place of a value of the block in the file: `# ` stands before each of its lines."""
    span = (places.get(keys) or places[keys[:1]]).value
    return Location(document.path, span.line + above, span.column + 2, span.end_line + above, span.end_column + 2)
