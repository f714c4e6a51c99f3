"""What a shell script does, as far as its text says: its commands in order, with their variables filled in.

Nothing is run. Branches are all taken, functions are read where they are called, and what depends on something that
the text does not say is a word that is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.shell.outline import effective, written
from vramguard.shell.parts import Command
from vramguard.shell.running import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Word

__all__ = ["Command", "commands", "effective", "heredocs", "written"]

_NOTHING: Mapping[str, Word] = {}


def commands(script: Word, variables: Mapping[str, Word] = _NOTHING) -> list[Command]:
    """Every simple command of a script, in order. `variables` are those that it finds set, and exported."""
    return Run(script, variables).commands


def heredocs(script: Word, variables: Mapping[str, Word] = _NOTHING) -> list[Word]:
    """The here-documents of a script, what is known of their variables filled in.

    One that is not known keeps its `$X` as written; its lines are those of the file, its columns those of the file up
    to the first variable of a line.
    """
    return Run(script, variables).heredocs
