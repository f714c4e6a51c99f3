"""Files of settings that a program of the repository reads, as the tables that it gets of them."""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Final

from vramguard.extract.options import SETTINGS
from vramguard.facts import Texts, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Facts, Word
    from vramguard.source import Location

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_WORDS: Final[Mapping[str, object]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_MAX_DEPTH: Final = 12


class Placed(dict[str, object]):
    """A table, and where each of its values stands: a call's arguments, a file's settings."""

    def __init__(
        self, values: Mapping[str, object] | None = None, places: Mapping[str, Location] | None = None
    ) -> None:
        super().__init__(values or {})
        self.places: dict[str, Location] = dict(places or {})


class Settings:
    """The files of settings of a repository."""

    def __init__(self, facts: Facts) -> None:
        self._texts = {texts.at.path: texts for texts in facts.of(Texts) if texts.form == SETTINGS}
        self._tables: dict[str, Placed] = {}

    def table(self, path: str) -> Placed | None:
        """What stands in a file, a path in the repository; None where that is no such file."""
        texts = self._texts.get(path)
        if texts is not None and path not in self._tables:
            self._tables[path] = _table(texts.values, "", None)
        return self._tables.get(path)

    def read_by(self, module: str, path: str) -> Placed | None:
        """What stands in the file that a module opens by a path: beside the module, or from a folder around it."""
        folder = posixpath.dirname(module)
        while True:
            found = self.table(posixpath.normpath(posixpath.join(folder, path)))
            if found is not None or not folder:
                return found
            folder = posixpath.dirname(folder)


def _table(words: Mapping[str, Word], prefix: str, whole: Mapping[str, object] | None, depth: int = 0) -> Placed:
    """The values under a prefix of dotted keys; `whole` is the mapping that stands there, at the top none."""
    keys = [key for key in words if "." not in key] if whole is None else [str(key) for key in whole]
    found = Placed()
    for key in keys:
        word = words.get(prefix + key)
        if word is not None:
            found[key] = _value(words, f"{prefix}{key}.", word, depth)
            found.places[key] = word.at
    return found


def _value(words: Mapping[str, Word], prefix: str, word: Word, depth: int) -> object:
    text = word.text.strip()
    if text[:1] in ("{", "[") and word.known:
        try:
            held = json.loads(text)
        except ValueError:
            return word.value
        if isinstance(held, dict) and depth < _MAX_DEPTH:
            return _table(words, prefix, held, depth + 1)
        return held
    if not word.known:
        return Unknown(word.text)
    return int(text) if _NUMBER.fullmatch(text) else _WORDS.get(text.lower(), word.text)
