"""Scripts of the repository that a command line runs: which one a shell means, and of which model a promotion is."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts import ScriptText
from vramguard.facts.values import UNREAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code.promotions import Promoting
    from vramguard.link.pipelines.acts import Act

_SHELL: Final = re.compile(r"^(?:(?:\S*/)?(?:ba|z|da)?sh|source|\.)(?: -\w+)* (\S+\.sh)(?: |$)|^(\S+\.sh)(?: |$)")
_TOLD: Final = re.compile(r"\bcase\s+[\"']?\$\{?(?:1|COMMAND|ACTION|CMD|command|action|cmd)\b")
_EXACT: Final = re.compile(r"(gnu_)?(prod|production|champion|live)", re.IGNORECASE)
_BEFORE: Final = re.compile(r"staging|stage|dev|development|candidate|challenger|shadow|test", re.IGNORECASE)
_FROM: Final = re.compile(r"^(from|source|src|previous|old|baseline)", re.IGNORECASE)

# A Space runs what is pushed to it, whichever name the remote has in the script that pushes.
_SPACE: Final = re.compile(r"\bgit (?:clone|remote (?:add|set-url))\b[^\n]{0,300}huggingface\.co/spaces/")


class Scripts:
    """The shell scripts of a repository."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def of(self, line: str) -> ScriptText | None:
        """The only script that a command may run; none that does this or that, as it is told."""
        match = _SHELL.match(line)
        if match is None:
            return None
        name = posixpath.normpath(match[1] or match[2]).lstrip("./")
        named = self._by_name.get(posixpath.basename(name), ())
        found = [one for one in named if f"/{one.at.path}".endswith(f"/{name}")]
        exact = [one for one in found if one.at.path == name] or found
        return exact[0] if len(exact) == 1 and not _TOLD.search(exact[0].text.text) else None

    @cached_property
    def _by_name(self) -> Mapping[str, list[ScriptText]]:
        found: dict[str, list[ScriptText]] = {}
        for one in self.facts.of(ScriptText):
            if self.facts.classify(one.at.path) not in UNREAD:
                found.setdefault(posixpath.basename(one.at.path), []).append(one)
        return found


def to_space(script: str, acts: Iterable[Act]) -> Iterator[Act]:
    """The acts of a script, of which a push deploys where the script works on a clone of a Space."""
    for act in acts:
        pushes = act.kind == "keep" and act.command.startswith("git push")
        yield replace(act, kind="deploy") if pushes and _SPACE.search(script) else act


def is_of_use(one: Promoting, line: str, env: Mapping[str, str]) -> bool:
    """Whether a promotion is of the model in use: as its code says, its command's words, or its variables."""
    if one.target in env:
        return _EXACT.fullmatch(env[one.target]) is not None
    words = [word.strip("\"'") for word in re.split(r"[\s=]+", line)]
    given = [value for name, value in env.items() if not _FROM.match(name)]
    if any(map(_EXACT.fullmatch, words)):
        return True
    if any(map(_BEFORE.fullmatch, words)):
        return False
    return one.serving is True or (one.serving is None and any(map(_EXACT.fullmatch, given)))
