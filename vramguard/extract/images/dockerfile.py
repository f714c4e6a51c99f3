"""Dockerfiles: the images that stages begin with, and those that files are copied or mounted from.

A stage of the same file is none of them, whether named, numbered, or chosen by the platform
(`FROM base-${TARGETARCH}`).
Read in: Docker's "Dockerfile reference", FROM, "Understand how ARG and FROM interact", COPY --from, RUN --mount.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from vramguard.extract.images.reference import VARIABLE, image
from vramguard.facts import Image, Unknown
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.source import Document
    from vramguard.source.dockerfile import Instruction

FORM = "dockerfile"
_FROM = re.compile(r"\s*(?:--[\w-]+=\S+\s+|\\\n\s*)*((?:\{\{[^{}\n]{0,200}\}\}|\S)+)(?:\s+as\s+(\S+))?", re.IGNORECASE)
_COPIED = re.compile(r"(?:^|\s)--from=(\S+)")
_MOUNTED = re.compile(r"--mount=(\S+)")
_SOURCE = re.compile(r"(?:^|,)from=([^,\s]+)")
_FLAGS = re.compile(r"\s*((?:--[\w-]+(?:=\S*)?(?:\s|\\\n)+)+)")
_ARGUMENT = re.compile(
    r"(?:^|(?<=\s))([A-Za-z_]\w{0,100})(?:=(\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'|[^\s\"']{0,500}))?(?=\s|$)"
)
_USED = re.compile(r"\$(?:\{(\w{1,100})(?:(:?[-+])([^{}$]{0,300}))?\}|(\w{1,100}))")
_ROUNDS = 4
_LONGEST = 1000
_MAX_STAGES = 500
_MOST = 50  # flags of one instruction
# BuildKit sets these for each platform that it builds for.
_PLATFORM = re.compile(r"\$\{?(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)\}?")


def images(document: Document) -> Iterator[Image]:
    """Every image of a Dockerfile, in the order of its instructions."""
    defaults: dict[str, str] = {}
    stages: list[str] = []
    for instruction in document.value:
        text = instruction.text
        if instruction.keyword == "FROM":
            if len(stages) == _MAX_STAGES:
                return
            match = _FROM.match(text)
            if match is not None:
                yield from _base(document.path, instruction, match, defaults, stages)
            stages.append(((match[2] if match else "") or "").lower())
        elif instruction.keyword == "ARG" and not stages:
            defaults |= dict(_arguments(instruction))
        elif instruction.keyword in ("COPY", "ADD"):
            yield from _copied(document.path, instruction, stages)
        elif instruction.keyword == "RUN" and "from=" in text:
            yield from _mounted(document.path, instruction, stages)


def _arguments(instruction: Instruction) -> Iterator[tuple[str, str]]:
    for match in _ARGUMENT.finditer(instruction.text):
        if match[2] is not None:
            yield match[1], match[2].strip("\"'")


def _base(
    path: str, instruction: Instruction, match: re.Match[str], defaults: Mapping[str, str], stages: list[str]
) -> Iterator[Image]:
    written, at = match[1].strip("\"'"), _place(path, instruction, match.start(1), len(match[1]))
    text = _filled(written, defaults)
    if text == "scratch" or text.lower() in stages or _by_platform(text, stages):
        yield Image(at, FORM, text, None, None, None, use="base")
    elif found := image(text, at, FORM, "base"):
        yield found


def _filled(text: str, defaults: Mapping[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        default, how = defaults.get(match[1] or match[4]), match[2] or ""
        if how.endswith("+"):
            return match[3] if default else ""
        if default or (default is not None and how == "-"):
            return default
        return match[3] if how.endswith("-") else match[0] if default is None else ""

    for _ in range(_ROUNDS):
        before, text = text, _USED.sub(fill, text)[:_LONGEST]
        if text == before:
            break
    return text


def _by_platform(text: str, stages: list[str]) -> bool:
    """Whether a name with a platform's variables in it is that of stages, one for each platform."""
    if not VARIABLE.search(text):
        return False
    parts = [re.escape(part) for part in VARIABLE.sub("\0", text.lower()).split("\0")]
    pattern = re.compile("[a-z0-9_.-]{1,100}".join(parts)) if len(parts) <= 3 and any(parts) else None  # noqa: PLR2004
    return pattern is not None and any(pattern.fullmatch(stage) for stage in stages)


def _copied(path: str, instruction: Instruction, stages: list[str]) -> Iterator[Image]:
    flags = _FLAGS.match(instruction.text)
    if flags is None:
        return
    for match in islice(_COPIED.finditer(flags[1]), _MOST):
        at = _place(path, instruction, flags.start(1) + match.start(1), len(match[1]))
        yield from _taken(match[1], at, stages, "copy")


def _mounted(path: str, instruction: Instruction, stages: list[str]) -> Iterator[Image]:
    flags = _FLAGS.match(instruction.text)
    if flags is None:
        return
    for mount in islice(_MOUNTED.finditer(flags[1]), _MOST):
        source = _SOURCE.search(mount[1])
        if source is not None:
            start = flags.start(1) + mount.start(1) + source.start(1)
            yield from _taken(source[1], _place(path, instruction, start, len(source[1])), stages, "mount")


def _taken(text: str, at: Location, stages: list[str], use: str) -> Iterator[Image]:
    text = text.strip("\"'")
    is_stage = text.lower() in stages or (text.isdecimal() and int(text[:6]) < len(stages))
    if is_stage or _by_platform(text, stages):
        yield Image(at, FORM, text, None, None, None, use=use)
    elif VARIABLE.search(text):  # BuildKit expands none here (Dockerfile reference, COPY --from)
        yield Image(at, FORM, text, None, None, Unknown(text), "what fills it in is not said here", use)
    elif found := image(text, at, FORM, use):
        yield found


def _place(path: str, instruction: Instruction, offset: int, length: int) -> Location:
    """Where a stretch of an instruction's text stands."""
    text = instruction.text
    row = instruction.row + text.count("\n", 0, offset)
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return Location(path, row, column, row, column + max(1, length))
