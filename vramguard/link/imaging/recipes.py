"""The last stage of a Dockerfile: what it stands on, what it takes from others, and whether it is for a card."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard import data
from vramguard.facts import Recipe
from vramguard.facts.imaging import ImageStage
from vramguard.link.launches import images
from vramguard.link.meeting import Line, Meeting, meetings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts, Word

# Files for people at work on a program, or for its tests: nobody pulls these into a cluster.
_FOR_PEOPLE: Final = re.compile(
    r"(?:^|/)\.devcontainer(?:/|\.json)|(?:^|[/._-])(?:dev|develop|development|devel|ci|test|tests|lint|docs?|notebooks?|jupyter)(?:[/._-]|$)",
    re.IGNORECASE,
)
_ELSEWHERE: Final = re.compile(
    r"(?:/whl/(?:nightly/)?|\+)(?:cpu|rocm|xpu)|torch-backend=cpu|rocm|\bcpu\b", re.IGNORECASE
)
_INSTALLED: Final = re.compile(r"site-packages|dist-packages|venv|/install|/\.local|/opt/|/usr/local|conda|/root")
_REGISTRY: Final = re.compile(r"^(?:(?:index\.|registry-1\.)?docker\.io/(?:library/)?|nvcr\.io/(?=nvidia/cuda))")
_INDEXES: Final = ("index-url", "extra-index-url", "index", "default-index", "find-links", "torch-backend")


@dataclass(frozen=True)
class Last:
    """The image that a Dockerfile makes. `lineage`: the last stage and those of the file that it stands on."""

    recipe: Recipe
    lineage: tuple[ImageStage, ...]
    meetings: tuple[Meeting, ...]  # what is installed there, or installed elsewhere and taken along

    @property
    def stage(self) -> ImageStage:
        """The stage itself."""
        return self.lineage[0]

    @property
    def image(self) -> Word:
        """What it stands on outside of the file."""
        return self.lineage[-1].image

    @cached_property
    def named(self) -> tuple[str, str]:
        """Name and tag of that image, both empty where they are not known."""
        name, tag = images.parts(self.image.text) if self.image.known else ("", "")
        return _REGISTRY.sub("", name), tag

    @property
    def path(self) -> str:
        """The Dockerfile."""
        return self.recipe.at.path

    @property
    def for_people(self) -> bool:
        """Whether it is an environment to work or test in, by its name."""
        return _FOR_PEOPLE.search(self.path) is not None

    @property
    def has_libraries(self) -> bool:
        """Whether the image that it stands on brings CUDA's libraries."""
        return any(_is(row["name"], self.named[0]) and re.search(row["libraries"], self.named[1]) for row in _rows())

    @property
    def is_devel(self) -> bool:
        """Whether that image has a compiler of CUDA."""
        name, tag = self.named
        return any(_is(row.name, name) and re.match(row.tag, tag) and row.nvcc in tag for row in data.cuda_images())

    @property
    def for_cards(self) -> bool:
        """Whether the image says that it is for a GPU, or what is installed runs on nothing else."""
        name, tag = self.named
        cuda = any(_is(row.name, name) and re.match(row.tag, tag) for row in data.cuda_images())
        found = images.found(self.image)
        engine = found.engine is not None and found.accelerator is None and found.engine != "llama.cpp"
        return cuda or engine or self.has_libraries or bool(self.lines("vllm", "sglang", "lmdeploy"))

    def lines(self, *names: str) -> list[Line]:
        """Packages with CUDA that are installed."""
        return [
            line
            for meeting in self.meetings
            for line in meeting.lines
            if line.name in names and not line.limits and not _is_elsewhere(meeting, line)
        ]


def _is_elsewhere(meeting: Meeting, line: Line) -> bool:
    """Whether wheels are those for a CPU, or another vendor's cards."""
    asked = [f"{name}={value}" for name, value in meeting.options if name in _INDEXES]
    label = f"+{line.version.partition('+')[2]}"
    return _ELSEWHERE.search(" ".join((*asked, label, line.specifier))) is not None


def _rows() -> list[Mapping[str, str]]:
    rows: list[Mapping[str, str]] = data.load("images")["runtime"]
    return rows


def _is(row: str, name: str) -> bool:
    """Whether an image's name is a row's, from whatever registry."""
    return name == row or name.endswith("/" + row)


def fits(row: Mapping[str, str], last: Last) -> bool:
    """Whether a row with `name` and `tag` speaks of the image that a Dockerfile stands on."""
    name, tag = last.named
    return bool(name) and _is(row["name"], name) and re.search(row["tag"], tag or "latest") is not None


def lasts(facts: Facts) -> list[Last]:
    """The image of every Dockerfile."""
    return facts.once("images that are made", lambda facts: list(_lasts(facts)))


def _lasts(facts: Facts) -> Iterator[Last]:
    placed: dict[str, list[Meeting]] = {}
    recipes = facts.of(Recipe)
    for meeting in meetings(facts) if recipes else ():
        if meeting.form == "dockerfile":
            placed.setdefault(meeting.place, []).append(meeting)
    for recipe in recipes:
        numbers = _lineage(recipe, len(recipe.stages) - 1)
        taken = {number for stage in numbers for number in _taken(recipe, stage)}
        places = (f"{recipe.at.path}#{number + 1}" for number in (*numbers, *sorted(taken - set(numbers))))
        found = tuple(meeting for place in places for meeting in placed.get(place, ()))
        yield Last(recipe, tuple(recipe.stages[number] for number in numbers), found)


def _lineage(recipe: Recipe, number: int) -> tuple[int, ...]:
    """A stage and those that it stands on, by their numbers: each is earlier than the one before."""
    found = [number]
    while (base := recipe.stages[found[-1]].base) is not None and base < found[-1]:
        found.append(base)
    return tuple(found)


def _taken(recipe: Recipe, number: int) -> Iterator[int]:
    """The stages whose packages a stage copies."""
    for copied in recipe.stages[number].copies:
        source = _by_name(recipe, copied.stage)
        if source is not None and any(_INSTALLED.search(path) for path in copied.sources):
            yield from _lineage(recipe, source)


def _by_name(recipe: Recipe, name: str) -> int | None:
    if name.isdecimal() and len(name) < 4:  # noqa: PLR2004 - no file has so many stages
        return int(name) if int(name) < len(recipe.stages) else None
    found = (number for number, stage in enumerate(recipe.stages) if name and stage.name.lower() == name.lower())
    return next(found, None)
