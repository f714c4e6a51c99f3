"""Requirements that stand in tables of TOML: as items of a list, or under their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract import declaration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.extract.declaration import Declaration
    from vramguard.facts import Requirement
    from vramguard.source import Document, KeyPath


class Entry(NamedTuple):
    """One requirement as it stands: in which section and under which keys; `keyed` where its name is the last key."""

    section: str
    keys: KeyPath
    said: Declaration
    keyed: bool = False

    def fact(self, document: Document, form: str) -> Requirement:
        """The fact, at the place of the requirement itself."""
        at = document.key_at(*self.keys) if self.keyed else document.at(*self.keys)
        return declaration.fact(self.said, at, form, self.section)


def mapping(table: object, *keys: str) -> Mapping[str, object]:
    """The table under these keys; an empty one for anything else."""
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table if isinstance(table, Mapping) else {}


def listed(table: object, *keys: str, read: Callable[[str], Declaration] = declaration.of_tool) -> Iterator[Entry]:
    """The requirements of a list of strings."""
    items = mapping(table, *keys[:-1]).get(keys[-1])
    section = ".".join(keys)
    misfit = "a list of requirements, each a string, belongs here"
    if items is not None and not isinstance(items, list):
        yield Entry(section, keys, declaration.wrong(str(items), misfit))
        return
    for number, item in enumerate(items or ()):
        if isinstance(item, Mapping) and "include-group" in item:
            continue  # its own requirements are read where they stand
        said = read(item) if isinstance(item, str) else declaration.wrong(str(item), misfit)
        yield Entry(section, (*keys, number), said)


def named(table: object, *keys: str, read: Callable[[str, object], Declaration]) -> Iterator[Entry]:
    """The requirements of a table whose keys are their names; a list under a name holds several of them."""
    for name, value in mapping(table, *keys).items():
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield Entry(".".join(keys), (*keys, name, number), read(name, item))
        else:
            yield Entry(".".join(keys), (*keys, name), read(name, value), keyed=True)


def strings(value: object) -> tuple[str, ...]:
    """The strings of a list; one string is a list of itself."""
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
