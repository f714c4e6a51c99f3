"""Modules by the ends of their paths: a folder of theirs is put on the path by a setting that nobody reads here."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Endings:
    """The modules and packages of a repository by the last two parts of their paths."""

    def __init__(self, paths: Iterable[str]) -> None:
        found: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for path in sorted(paths):
            base = path.removesuffix(".py").removesuffix("/__init__")
            if path.endswith(".py"):
                found[tuple(base.split("/")[-2:])].append(base)
        self._by_end: Mapping[tuple[str, ...], list[str]] = found

    def of(self, name: str) -> str | None:
        """The only module, without its ending, whose path ends in a name of several parts."""
        parts = name.split(".")
        places = self._by_end.get(tuple(parts[-2:]), ()) if len(parts) > 1 else ()
        ending = "/" + "/".join(parts)
        found = [place for place in places if f"/{place}".endswith(ending)]
        return found[0] if len(found) == 1 else None
