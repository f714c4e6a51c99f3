"""Commands, and parts of statements: the halves of an `if`, files of redirections, texts of here-documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Word
from vramguard.shell.values import word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree_sitter import Node

    from vramguard.shell.expansion import Expander
    from vramguard.source import Location
    from vramguard.source.shell import Script


class Command(NamedTuple):
    """One simple command: its words, the first of them the program; prefixes such as `exec` and `sudo` are off.

    `env`: what the script has exported until there, and what stands before the command. `stdin`: the here-document
    that it reads; `into`: the file that its output goes to.
    """

    words: tuple[Word, ...]
    env: Mapping[str, Word]
    at: Location
    stdin: Word | None = None
    into: Word | None = None


def span(node: Node | None) -> tuple[int, int]:
    """Where a node begins and ends, in bytes."""
    return (node.start_byte, node.end_byte) if node else (0, 0)


_PLAIN = frozenset({
    "compound_statement", "command", "command_name", "word", "number", "string", "string_content", "raw_string",
    "ansi_c_string", "concatenation", "simple_expansion", "expansion", "variable_name", "special_variable_name",
    "subscript", "comment", "list", "if_statement", "test_command", "unary_expression", "binary_expression",
    "test_operator", "file_redirect", "file_descriptor", "redirected_statement", "case_statement", "case_item",
    "extglob_pattern", "regex", "declaration_command", "variable_assignment",
})  # fmt: skip
_TO_FILL_IN = re.compile(r"<[A-Za-z][\w.-]{0,100}>")
_SPEAKING = frozenset({"echo", "printf", "return", "true", ":"})
_MOST_NODES = 400


def only_speaks(body: Node, script: Script) -> bool:
    """Whether a function prints to the terminal, or tests, and does nothing else: its calls need not be read."""
    pending, number = [body], 0
    while pending:
        node = pending.pop()
        number += 1
        if number > _MOST_NODES or (node.is_named and not _speaks(node, script)):
            return False
        pending += node.children
    return True


def _speaks(node: Node, script: Script) -> bool:
    if node.type == "command_name":
        return script.of(node) in _SPEAKING
    if node.type == "file_redirect":
        return script.of(node).lstrip("12").startswith(">&")
    if node.type == "declaration_command":
        return node.children[0].type == "local"
    if node.type == "variable_assignment":
        return node.parent is not None and node.parent.type == "declaration_command"
    return node.type in _PLAIN and not (node.type == "expansion" and "=" in script.of(node))


_FILE_REDIRECTS = {"heredoc_redirect", "herestring_redirect"}


def divided(node: Node) -> tuple[list[Node], list[Node]]:
    """What stands around a command (variables that it is given, files that it writes to), and its own words."""
    around: list[Node] = []
    words: list[Node] = []
    for child in node.named_children:
        kind = child.type
        if kind == "file_redirect" or (kind == "variable_assignment" and not words):
            around.append(child)
        elif kind not in _FILE_REDIRECTS:
            words.append(child)
    return around, words


def parts(node: Node) -> tuple[list[Node], list[Node]]:
    """The condition and the body of an `if`, `elif` or `else`; an `else` has no condition."""
    condition: list[Node] = []
    body: list[Node] = []
    found = body if node.type == "else_clause" else condition
    for child in node.children:
        if child.type == "then":
            found = body
        elif child.is_named and child.type not in {"elif_clause", "else_clause"}:
            found.append(child)
    return condition, body


def declared(node: Node, script: Script) -> str | None:
    """The variable that an assignment, or a word of a declaration, names; None for what is neither."""
    name = node.child_by_field_name("name") if node.type == "variable_assignment" else node
    return script.text(*span(name)) if name and name.type == "variable_name" else None


def shift(texts: list[str | None]) -> int:
    """How many arguments `shift 2` drops."""
    return int(texts[1]) if len(texts) > 1 and texts[1] and re.fullmatch(r"\d{1,3}", texts[1]) else 1


def target(node: Node, expander: Expander) -> Word | None:
    """The file that a redirection writes to."""
    destination = node.child_by_field_name("destination") if node.type == "file_redirect" else None
    if destination is None or not any(child.type in {">", ">>", ">|"} for child in node.children):
        return None
    text = expander.text(destination)
    return word(text) if text else None


def behind(node: Node, expander: Expander) -> Iterator[Word]:
    """The words behind redirections, which are the command's: `pip install torch>=2.0 numpy`.

    None where `<name>` only looks like two of them: a place that a reader is to fill in.
    """
    if _TO_FILL_IN.search(expander.script.of(node)):
        return iter(())
    files = [child for child in node.named_children if child.type == "file_redirect"]
    return map(
        word, expander.fields([each for file in files for each in file.children_by_field_name("destination")[1:]])
    )


def heredoc(node: Node, expander: Expander) -> Word | None:
    """The text of a here-document, what is known of its variables filled in."""
    found = {child.type: child for child in node.named_children}
    start, body = found.get("heredoc_start"), found.get("heredoc_body")
    if start is None or body is None:
        return None
    script, outer = expander.script, expander.word
    row = script.position(body.start_byte)[0]
    first, last = script.line_start(row), body.end_byte
    if set(script.of(start)) & set("'\"\\"):
        text, known = script.text(first, last), True
    else:
        children = [child for child in body.named_children if child.type != "heredoc_content"]
        pieces = [piece for piece in expander.mixed(first, last, children, heredoc=True) if piece]
        text, known = "".join(piece.text for piece in pieces), all(piece.known for piece in pieces)
    if node.children[0].type == "<<-":
        text = re.sub(r"^\t+", "", text, flags=re.MULTILINE)
    place = None if outer.first is None else (outer.first[0] + row, outer.first[1])
    return Word(text, expander.at(first, last), known, place)
