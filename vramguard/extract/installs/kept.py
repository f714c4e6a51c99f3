"""Commands that a variable keeps for later: `TORCH_COMMAND="pip install torch==2.1.0"`, told by its name and beginning.

A text under another name may be anything: what a program prints to help its user, say.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 200  # of one script
_NAME = re.compile(r"(?:cmd|command|install_?script)s?(?:_?\d+)?$|(?:cmd|command)_", re.IGNORECASE)
_BEGIN = r"\s*(?:(?:sudo|python[\d.]{0,5}\s+-m)\s+)?(?:pip[\d.]{0,5}|uv|conda|mamba|poetry|pdm|pipx)\s"
_COMMAND = re.compile(_BEGIN)
_ASSIGNED = re.compile(rf"(?<![\w$])([A-Za-z_]\w{{0,60}})=([\"'])({_BEGIN}[^\"'\n]{{1,1000}})\2")


def is_kept(name: str) -> bool:
    """Whether a variable holds a command, by its name."""
    return _NAME.search(name) is not None


def begins(text: str) -> bool:
    """Whether a text begins with an installer's command."""
    return _COMMAND.match(text) is not None


def assigned(script: Word) -> Iterator[Word]:
    """The commands that a shell's script keeps, each as a script of its own."""
    if script.first is None or "=" not in script.text:
        return
    for match in islice(_ASSIGNED.finditer(script.text), _MOST):
        if is_kept(match[1]):
            row = script.text.count("\n", 0, match.start(3))
            column = match.start(3) - (script.text.rfind("\n", 0, match.start(3)) + 1)
            at = script.place(row, column, len(match[3]))
            yield Word(match[3], at, first=(at.line, at.column))
