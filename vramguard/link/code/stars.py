"""The modules whose names a module has by `from … import *`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vramguard.facts import CodeModule
    from vramguard.link.code.program import Program

_MOST: Final = 40  # modules that one has the names of


class Stars:
    """Follows stars, also from a package's `__init__` on to the modules that it gathers; once for each module."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[str, list[CodeModule]] = {}

    def of(self, module: CodeModule) -> list[CodeModule]:
        """The modules that a module imports whole, and those that these import whole, the nearest first."""
        path = module.at.path
        if path not in self._known:
            self._known[path] = self._found(module)
        return self._known[path]

    def _found(self, module: CodeModule) -> list[CodeModule]:
        pending, seen = [module], {module.at.path}
        for one in pending:
            for star in one.stars:
                path = self._program.resolve(one.at.path, star)
                target = self._program.module(path) if path is not None and path not in seen else None
                if target is not None and len(seen) < _MOST:
                    seen.add(target.at.path)
                    pending.append(target)
        return pending[1:]
