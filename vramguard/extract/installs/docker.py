"""Dockerfiles: what the RUN instructions of every stage install, and what was copied there until then."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from vramguard.extract.dockerfile import instruction_words, started, steps, without_flags
from vramguard.extract.installs.commands import Reading, Runs, joined
from vramguard.extract.installs.tools import worth
from vramguard.facts import Fetch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.extract.dockerfile import Stage
    from vramguard.facts import Fact
    from vramguard.source import Document

_MAX_COPIES = 500  # of one stage
_FROM = re.compile(r"--from=(\S+)")
_FLAG = re.compile(r"--[\w-]+(?:=\S*)?")
_MOUNT = re.compile(r"--mount=(\S+)")
_HEREDOC = re.compile(r"(\s*)<<-?\s*(['\"]?)([A-Za-z_][\w.-]*)\2[^\n]*\n")
_SHEBANG = re.compile(r"\s*#!\S*?(?:/env\s+)?(?:\S*/)?(python|perl|ruby|node)\S*")
_REMOTE = re.compile(r"https?://|git@|.*\.git(?:#|$)")
_FORM = "dockerfile"
Copies = tuple[tuple[str, str], ...]


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a Dockerfile, stage by stage."""
    here: _Stage | None = None
    done: list[_Stage] = []
    for stage, written, given in steps(document):
        if here is None or here.stage is not stage:
            if here is not None:
                yield from here.reading.facts
            here = _Stage(document, stage, done)
            done.append(here)
        keyword, text = _built_on(given) if written == "ONBUILD" else (written, given)
        if keyword == "RUN":
            here.run(text)
        elif keyword in {"COPY", "ADD"}:
            yield from here.copy(keyword, text)
        elif keyword == "WORKDIR":
            here.enter(text)
    if here is not None:
        yield from here.reading.facts


def _built_on(text: Word) -> tuple[str, Word]:
    match = re.match(r"\s*([A-Za-z]+)\s", text.text)
    if match is None:
        return "", text
    return match[1].upper(), Word(" " * match.end() + text.text[match.end() :], text.at, first=text.first)


class _Stage:
    """A stage as it is read: where it is, and what it holds."""

    def __init__(self, document: Document, stage: Stage, before: list[_Stage]) -> None:
        self.stage = stage
        self.reading = Reading(document.lines)
        self._place = f"{document.path}#{len(before) + 1}"
        self._before = before
        base = self._of(stage.base) if stage.base else None
        self.folder: str = base.folder if base else ""
        self.copied: Copies = base.copied if base else ()

    def _of(self, name: str) -> _Stage | None:
        """The stage of that name, or number."""
        if name.isdecimal() and len(name) < 4:  # noqa: PLR2004
            return self._before[int(name)] if int(name) < len(self._before) else None
        return next((one for one in reversed(self._before) if one.stage.name.lower() == name.lower()), None)

    def enter(self, text: Word) -> None:
        words = instruction_words(text, self.stage.variables)
        if words:
            self.folder = joined(self.folder, words[0].text)

    def run(self, text: Word) -> None:
        """A RUN: a text for a shell, its here-document, or words."""
        if not (worth(text.text) or "checkout" in text.text):
            return
        copied = (*self.copied, *self._mounted(text))
        runs = Runs(_FORM, self._place, self.folder, _relevant(text.text, self.stage.variables), copied)
        bare = without_flags(text)
        begun = started(bare)
        if isinstance(begun, tuple):
            self.reading.command(begun, runs)
            return
        here = _HEREDOC.match(bare.text)
        if here and _SHEBANG.match(bare.text, here.end()):
            return
        if here:  # its body is the script: written as what it is, in the room that the keyword leaves
            bare = Word(bare.text.replace("   ", "sh ", 1), bare.at, first=bare.first)
        self.reading.script(bare, runs)

    def _mounted(self, text: Word) -> Iterator[tuple[str, str]]:
        """Files of the build context that one RUN sees: `--mount=type=bind,source=uv.lock,target=uv.lock`."""
        for mount in _MOUNT.findall(text.text[:4000]):
            said = dict(part.partition("=")[::2] for part in mount.split(","))
            target = said.get("target") or said.get("dst") or said.get("destination")
            if said.get("type", "bind") == "bind" and target and "from" not in said:
                source = said.get("source") or said.get("src") or "."
                yield posixpath.normpath(source.lstrip("/") or "."), joined(self.folder, target)

    def copy(self, keyword: str, text: Word) -> Iterator[Fact]:
        """A COPY or an ADD: what it brings, and whether from elsewhere."""
        if "<<" in text.text or len(self.copied) > _MAX_COPIES:
            return
        flags = [flag[0] for flag in _FLAG.finditer(text.text)]
        bare = without_flags(text)
        begun = started(bare)
        words = list(begun) if isinstance(begun, tuple) else list(instruction_words(bare, self.stage.variables))
        if len(words) < 2:  # noqa: PLR2004 - a source and a target
            return
        *sources, target = words
        checked = any(flag.startswith("--checksum=") for flag in flags)
        for source in sources:
            if keyword == "ADD" and _REMOTE.match(source.text):
                yield _added(source, checked=checked)
        origin = _FROM.search(text.text)
        stage = self._of(origin[1]) if origin else None
        for source in sources:
            path = posixpath.normpath(source.text.lstrip("/") or ".") if origin is None else _origin(source.text, stage)
            if path and not _REMOTE.match(source.text):
                place = self._target(source.text, target.text, several=len(sources) > 1)
                self.copied = (*self.copied, (path, place))

    def _target(self, source: str, target: str, *, several: bool) -> str:
        name = posixpath.basename(source.rstrip("/"))
        plain = "." in name[1:] and not several and not target.endswith(("/", ".")) and "*" not in name
        whole = joined(self.folder, target)
        if plain or name in {"", "."} or (not several and not target.endswith(("/", ".")) and "." not in name):
            return whole or "."
        is_file = "." in name[1:] or "*" in name
        return posixpath.join(whole or ".", name) if is_file else whole or "."


def _origin(path: str, stage: _Stage | None) -> str | None:
    """How a path of another stage of this file leads back to the build context."""
    for source, target in stage.copied if stage else ():
        if path.rstrip("/") == target:
            return source
        inside = path.removeprefix(target.rstrip("/") + "/")
        if inside != path and "." not in posixpath.basename(source)[1:]:
            return posixpath.normpath(posixpath.join(source, inside))
    return None


def _relevant(text: str, variables: Mapping[str, Word]) -> dict[str, Word]:
    """The variables that a script names, and those that installers read."""
    names = set(re.findall(r"[A-Za-z_]\w*", text)) if "$" in text else set()
    return {name: word for name, word in variables.items() if name in names or name.startswith(("PIP_", "UV_"))}


def _added(source: Word, *, checked: bool) -> Fetch:
    full = re.search(r"[#/@][0-9a-f]{40}(?![0-9a-f])", source.text) is not None
    pinned: bool | Unknown = checked or full
    reason = "" if pinned else "what a URL serves can change, and no --checksum stands beside it"
    return Fetch(source.at, _FORM, "add", source.text, pinned, reason)
