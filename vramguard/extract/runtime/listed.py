"""A list of packages that something installs when it is built or run, as facts."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.extract import declaration
from vramguard.facts import Include, Install, Requirement, Unknown
from vramguard.source import Location, ParseError, kind_of
from vramguard.source import requirements as grammar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source.requirements import Line

_FILLED_IN: Final = re.compile(r"\{\{.{0,200}?\}\}|\$\{[^{}\s]{0,200}\}|\$[A-Za-z_]\w*")
_FILLED: Final = re.compile(r"\{\{|\{%|<%|\$\{|\$[A-Za-z_]")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_ELSEWHERE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[/~]")  # a URL, or a path of the machine that it runs on
_MAX: Final = 4000  # characters of one entry
_AT_BUILD: Final = "; BentoML locks it when the bento is built, where no review sees it"
FILLED_IN: Final = "a value that is filled in when it runs decides it"
# `numpy`, `conda-forge::numpy=1.26`, `numpy >=1.26,<2`, `numpy=1.26=py311_0`.
_CONDA: Final = re.compile(r"(?:[\w./-]+::)?([A-Za-z0-9_][\w.-]*)\s*(?:\[[^\]]*\])?\s*(.*)", re.DOTALL)
_BUILD: Final = re.compile(r"={1,2}\s*[0-9][^=*<>!,|\s]*(?:=|\s+)([^=*<>!,|\s]+)")


class Entry(NamedTuple):
    """One item of a list as written; Unknown for one that the text does not say."""

    text: str | Unknown
    at: Location


@dataclass(slots=True)
class Listed:
    """What one place installs. `files` are as written; `base`: the folder from which they are named, None where it is
    elsewhere; `sure`: whether it is that folder for certain, and not wherever the tool is started.
    """

    form: str
    at: Location
    place: str
    tool: str = "pip"
    section: str = ""
    base: str | None = None
    sure: bool = False
    locks: bool = True  # of BentoML: whether it resolves and locks what it is given when it builds
    requirements: list[Requirement] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    files: list[str | Unknown] = field(default_factory=list)
    constraints: list[str | Unknown] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    file_at: Location | None = None  # where the first file is named

    def add(self, entry: Entry) -> None:
        """Take one item in: a requirement, or a line of a requirements file."""
        if isinstance(entry.text, Unknown):
            self._unknown(entry.text.text, entry.at)
        elif len(entry.text) <= _MAX and entry.text.strip():
            self._text(entry.text.strip(), entry.at)

    def file(self, entry: Entry, *, constraint: bool = False) -> None:
        """Take a requirements file in, by its name. One whose name tells what it is, is read wherever it stands."""
        (self.constraints if constraint else self.files).append(entry.text)
        self.file_at = self.file_at or entry.at
        target = self._target(entry.text) if isinstance(entry.text, str) else None
        if target is not None and (self.sure or kind_of(target) != "requirements"):
            self.includes.append(Include(entry.at, target, constraint))

    def option(self, name: str, value: str = "") -> None:
        """Note an option that the installer gets."""
        self.options.append((name, value))

    def facts(self) -> Iterator[Fact]:
        """The requirements and files, and the installation that they belong to."""
        if not (self.requirements or self.files or self.constraints or self.local):
            return
        if self.form == "bentoml" and self.locks:
            self.requirements = [_locked_at_build(found) for found in self.requirements]
        yield from self.requirements
        yield from self.includes
        at = self.at if self.requirements or self.file_at is None else self.file_at
        yield Install(
            at, self.form, self.tool, "install", self.place, tuple(self.requirements), tuple(self.files),
            tuple(self.constraints), tuple(self.local), tuple(self.options),
        )  # fmt: skip

    def _unknown(self, text: str, at: Location) -> None:
        """One that a variable decides, as a whole or in part."""
        if text.startswith("-"):
            name, _, value = text.lstrip("-").replace(" ", "=", 1).partition("=")
            self.option(name, value)
            return
        said = declaration.read(_FILLED_IN.sub("${X}", text))
        name = said.name if _NAME.fullmatch(said.name) else text
        specifier = text[len(name) :].strip() if text.startswith(name) else text if "://" in text else ""
        found = Requirement(self.at, name, specifier, Unknown(text), hashed=False, form=self.form)
        self.requirements.append(replace(found, at=at, reason=FILLED_IN, section=self.section))

    def _text(self, text: str, at: Location) -> None:
        if _FILLED.search(text):
            self._unknown(text, at)
            return
        if self.tool == "conda":
            self.requirements.append(conda(text, at, self.form, self.section))
            return
        try:
            lines = grammar.parse(text).value
        except ParseError:
            self._unknown(text, at)
            return
        for line in lines:
            self._line(line, at)

    def _line(self, line: Line, at: Location) -> None:
        for name, value in line.options:
            if name in ("--requirement", "--constraint"):
                self.file(Entry(value, at), constraint=name == "--constraint")
            elif name not in ("--hash", "--editable"):
                self.option(name.lstrip("-"), value)
        if line.requirement:
            found = requirement(line.requirement, at, self.form, self.section, hashed=bool(line.values("--hash")))
            local = found.pinned is None or (line.editable and "://" not in found.specifier)
            self.local += [line.requirement] if local else []
            self.requirements += [] if local else [found]

    def _target(self, written: str) -> str | None:
        """The path of a file in the repository, as far as its name alone can tell."""
        if self.base is None or _ELSEWHERE.match(written) or _FILLED.search(written) or "\n" in written:
            return None
        path = posixpath.normpath(posixpath.join(self.base, written))
        return None if path.startswith("../") or path in ("..", ".") else path


def _locked_at_build(found: Requirement) -> Requirement:
    return replace(found, reason=found.reason + _AT_BUILD) if found.pinned is False else found


def requirement(text: str, at: Location, form: str, section: str = "", *, hashed: bool = False) -> Requirement:
    """One requirement in pip's grammar."""
    said = declaration.read(text, hashed=hashed)
    return Requirement(
        at, said.name, said.specifier, said.pinned, said.hashed, form, said.reason, section, said.extras, said.marker
    )


def conda(text: str, at: Location, form: str, section: str = "") -> Requirement:
    """One package in conda's grammar, where only a build fixes what is installed and `=1.26` is a prefix."""
    match = _CONDA.fullmatch(text.strip())
    if match is None:
        return Requirement(at, text, "", Unknown(text), hashed=False, form=form, reason="conda cannot read it")
    name, version = match[1], match[2].strip()
    reason = _of_conda(version)
    return Requirement(at, name, version, not reason, hashed=False, form=form, reason=reason, section=section)


def _of_conda(version: str) -> str:
    """Why a version of conda's grammar is not exact; "" if it is."""
    if not version:
        return "it names no version"
    if _BUILD.fullmatch(version):
        return ""
    if re.fullmatch(r"==\s*[0-9][^=*<>!,|\s]*", version):
        return f"`{version}` names no build, and a version has many"
    if re.fullmatch(r"=?\s*[0-9][^=*<>!,|\s]*", version):
        return f"`{version}` is conda's prefix: any version that begins so will do"
    return f"a range: {version}"
