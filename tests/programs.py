"""Programs of a few short files, and places in them, as tests name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.classes import classifier
from vramguard.extract import extract
from vramguard.facts import Facts
from vramguard.link.code import Code
from vramguard.link.code.program import Ref
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Fact


def facts(files: Mapping[str, str]) -> Facts:
    """What files say, each of the class that its path tells."""
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode(), kind=kind_of(path, explicit=True))
        assert isinstance(document, Document)
        found += extract(document)
    return Facts(found, classifier({}), files)


def code(files: Mapping[str, str] | str) -> Code:
    """The program of some files; a single text is `app.py`."""
    return Code(facts({"app.py": files} if isinstance(files, str) else files))


def call(program: Code, written: str, path: str = "") -> Ref:
    """The one call that is written so: `model.predict`."""
    found = [
        Ref(routine, number)
        for routine in program.program.routines()
        for number in routine.all_of("call")
        if program.written(Ref(routine, number)) == written and (not path or routine.path == path)
    ]
    assert len(found) == 1, f"{len(found)} calls of {written}"
    return found[0]
