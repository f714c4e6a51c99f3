"""Files of an engine's options: the one that a command names, in the repository or in an object that is mounted."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from vramguard.extract.options import FORM, options
from vramguard.facts import Texts, Word
from vramguard.facts.nodes import Node
from vramguard.source import Document, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Facts, Launch

_HEREDOC: Final = re.compile(r"<<-?[ \t]*['\"]?([A-Za-z_][A-Za-z0-9_]{0,60})")
_MAX_TEXT: Final = 1 << 18  # characters of a file of options


def named(path: str, launch: Launch, facts: Facts) -> Mapping[str, Word] | None:
    """What stands in the file of options of that name; None where there is none, or several with equal right."""
    made = _mounted(path, launch, facts) or _made(path, launch)
    if made is not None:
        return made
    found = [texts for texts in facts.of(Texts) if texts.form == FORM]
    here = posixpath.dirname(launch.at.path)
    for wanted in (posixpath.normpath(posixpath.join(here, path)), posixpath.normpath(path)):
        for texts in found:
            if texts.at.path == wanted:
                return texts.values
    alike = [texts for texts in found if posixpath.basename(texts.at.path) == posixpath.basename(path)]
    near = [texts for texts in alike if not here or texts.at.path.startswith(here + "/")]
    chosen = near or alike
    return chosen[0].values if len(chosen) == 1 else None


def _mounted(path: str, launch: Launch, facts: Facts) -> Mapping[str, Word] | None:
    """The file as a key of an object that stands at its folder."""
    for folder, reference in launch.mounts.items():
        if path != folder and not path.startswith(folder.rstrip("/") + "/"):
            continue
        for texts in facts.of(Texts):
            if texts.name == reference.name and texts.form == reference.kind.lower():
                word = texts.values.get(reference.key or posixpath.basename(path))
                if word is not None:
                    return _written(word)
    return None


def _made(path: str, launch: Launch) -> Mapping[str, Word] | None:
    """The file as the launch's own script makes it: `cat <<EOF > path`."""
    words = (*launch.command, *([launch.script] if launch.script is not None else []))
    return next((found for word in words if (found := _made_by(word, path)) is not None), None)


@lru_cache(maxsize=64)  # a script may start many programs with one file
def _made_by(word: Word, path: str) -> Mapping[str, Word] | None:
    lines = word.text.split("\n") if path in word.text and "<<" in word.text else []
    for number, line in enumerate(lines):
        mark = _HEREDOC.search(line)
        if mark is None or path not in line.replace('"', " ").replace("'", " ").split():
            continue
        body = list(takewhile(lambda each, end=mark[1]: each.strip() != end, lines[number + 1 :]))  # type: ignore[misc]
        first = None if word.first is None else (word.first[0] + number + 1, word.first[1])
        return _written(Word("\n".join(body), word.at, first=first))
    return None


def _written(word: Word) -> Mapping[str, Word] | None:
    """The options that a text writes as YAML."""
    if len(word.text) > _MAX_TEXT or not word.known:
        return None
    document = read(word.at.path, word.text.encode("utf-8", "surrogateescape"), kind="yaml")
    if not isinstance(document, Document) or len(document.value) != 1 or not isinstance(document.value[0], dict):
        return None
    return options(Node(document, (0,), document.value[0], word))
