"""What a script's own tests decide: `[ -z "$X" ]`, `[[ $A == b ]]`; True, False, or None where it is not known."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from vramguard.shell.values import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tree_sitter import Node

    from vramguard.shell.expansion import Expander
    from vramguard.shell.values import Text

_MAX_DEPTH = 20
_ASKING = {"test", "false", "command", "which", "type", "grep", "pgrep"}
_MAX_PATTERN = 200
_NAME = re.compile(r"\$\{?#?([A-Za-z_]\w*|[@*#]|[1-9])")
_EMPTY = re.compile(
    r'(?:-z\s+"?\$\{?([A-Za-z_]\w*)(?:[:+-]+\w?)?\}?"?)|(?:"\$\{?([A-Za-z_]\w*)(?::?-)?\}?"\s*==?\s*"")'
)
_NUMBERS: Mapping[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
}


class Verdict(NamedTuple):
    """What a condition comes to. `of_arguments`: it asks what is given on the command line. `default`: a name that it
    finds without a value, for which its branch will have the default.
    """

    value: bool | None = None
    of_arguments: bool = False
    default: str | None = None


def is_test(node: Node, expander: Expander) -> bool:
    """Whether a statement only asks: what follows `&&` is then conditional."""
    if node.type == "negated_command":
        return True
    name = node.child_by_field_name("name") if node.type == "command" else None
    return node.type == "test_command" or (name is not None and expander.script.of(name) in _ASKING)


def decide(node: Node, expander: Expander) -> Verdict:
    """What a condition comes to, as far as the script says."""
    written = expander.script.text(node.start_byte, node.end_byte)
    of_arguments = any(_of_arguments(name, expander) for name in _NAME.findall(written[: _MAX_PATTERN * 10]))
    empty = _EMPTY.search(written)
    default = empty and (empty[1] or empty[2])
    if default and expander.state.get(default) is None and "!" not in written:
        return Verdict(None, of_arguments, default)
    return Verdict(_value(node, expander, 0), of_arguments)


def of_arguments(node: Node | None, expander: Expander) -> bool:
    """Whether a text, such as the subject of a `case`, is what somebody gives on the command line."""
    written = expander.script.of(node) if node else ""
    return any(_of_arguments(name, expander) for name in _NAME.findall(written[: _MAX_PATTERN * 10]))


def _of_arguments(name: str, expander: Expander) -> bool:
    if not name[0].isalpha() and name[0] != "_":
        return expander.state.get("@") is None
    variable = expander.state.get(name)
    return variable is not None and variable.given


def _value(node: Node, expander: Expander, depth: int) -> bool | None:  # noqa: PLR0911 - a kind of condition each
    children = node.named_children
    if depth > _MAX_DEPTH:
        return None
    if node.type in {"test_command", "parenthesized_expression"} and len(children) == 1:
        return _value(children[0], expander, depth + 1)
    if node.type == "negated_command" and children:
        return _not(_value(children[-1], expander, depth + 1))
    if node.type in {"list", "binary_expression"} and len(children) >= 2:  # noqa: PLR2004
        return _binary(node, expander, depth)
    if node.type == "unary_expression" and children:
        return _unary(node, expander, depth)
    if node.type == "command":
        return _command(node, expander)
    if node.type in {"string", "simple_expansion", "expansion", "word", "raw_string"}:
        text = _known(expander.text(node))
        return None if text is None else text != ""
    return None


def _not(value: bool | None) -> bool | None:  # noqa: FBT001
    return None if value is None else not value


def _known(text: Text) -> str | None:
    return plain(text)


def _unary(node: Node, expander: Expander, depth: int) -> bool | None:
    operator = expander.script.of(node.children[0])
    if operator == "!":
        return _not(_value(node.children[-1], expander, depth + 1))
    text = _known(expander.text(node.children[-1]))
    if text is None or operator not in {"-z", "-n"}:
        return None
    return (text == "") is (operator == "-z")


def _binary(node: Node, expander: Expander, depth: int) -> bool | None:
    left, right = node.named_children[0], node.named_children[-1]
    operator = next(
        (child for child in node.children[1:-1] if not child.is_named or child.type == "test_operator"), None
    )
    name = expander.script.of(operator) if operator else ""
    if name in {"&&", "||", "-a", "-o"}:
        values = (_value(left, expander, depth + 1), _value(right, expander, depth + 1))
        strong = name in {"||", "-o"}
        return strong if strong in values else (None if None in values else not strong)
    return _compared(name, _known(expander.text(left)), _known(expander.text(right)), right)


def _compared(operator: str, left: str | None, right: str | None, node: Node) -> bool | None:
    if left is None or right is None:
        return None
    if operator in {"=", "==", "!="}:
        return matches(left, right, glob=node.type == "extglob_pattern") is (operator != "!=")
    if operator in _NUMBERS and _is_number(left) and _is_number(right):
        return _NUMBERS[operator](int(left), int(right))
    return None


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) < 19  # noqa: PLR2004


def matches(text: str, pattern: str, *, glob: bool) -> bool:
    """Whether a text is, or a pattern of `case` takes, another."""
    return fnmatchcase(text, pattern) if glob and len(pattern) < _MAX_PATTERN else text == pattern


def _command(node: Node, expander: Expander) -> bool | None:
    words = [plain(field) for field in expander.fields(node.named_children)]
    if words in (["true"], [":"]):
        return True
    if words == ["false"]:
        return False
    if not words or words[0] != "test" or None in words:
        return None
    if len(words) == 3 and words[1] in {"-z", "-n"}:  # noqa: PLR2004
        return (words[2] == "") is (words[1] == "-z")
    if len(words) == 4:  # noqa: PLR2004
        return _compared(str(words[2]), words[1], words[3], node) if words[2] in _NUMBERS else _equal(words)
    return None


def _equal(words: list[str | None]) -> bool | None:
    return (words[1] == words[3]) is (words[2] != "!=") if words[2] in {"=", "==", "!="} else None
