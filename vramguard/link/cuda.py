"""The CUDA that torch was built with, beside that of the image, of the driver, and of the card."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.version import Version

from vramguard import data
from vramguard.facts import Deployment, Image, Install, Launch
from vramguard.link.advisories import public
from vramguard.link.folders import folder_of
from vramguard.link.meeting import meetings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.data import CardBuilds, Gpu
    from vramguard.facts import Facts
    from vramguard.link.meeting import Line, Meeting
    from vramguard.source import Location

_LABEL: Final = re.compile(r"cu(\d{2,3})(?:$|[._-])")
_FOLDER: Final = re.compile(r"/whl/(?:nightly/|test/)?(cu\d{2,3}|cpu|rocm[\d.]*|xpu)(?:/|$)")
_INDEXES: Final = ("index-url", "extra-index-url", "index", "default-index", "find-links")
_PYPI: Final = re.compile(r"https?://pypi\.(?:org|python\.org)/simple/?")
_DOCKERFILE: Final = "dockerfile"
_PASSING: Final = frozenset({"workflow", "makefile", "justfile", "tox", "nox"})  # where nothing is served


class Build(NamedTuple):
    """What torch was built with where it is installed, and the line that says so, in words too."""

    meeting: Meeting
    line: Line
    cuda: str  # 12.1
    torch: str  # its version, "" where no line fixes it
    why: str


class Base(NamedTuple):
    """The image that a stage begins with."""

    image: Image
    cuda: str
    has_nvcc: bool


class Beside(NamedTuple):
    """A build of torch in an image of another CUDA. `compiled`: what is built there, and whether for certain."""

    build: Build
    base: Base
    compiled: Line | None
    certain: bool


class OnCard(NamedTuple):
    """A build of torch without code for the card of a deployment that uses it."""

    build: Build
    deployment: Deployment
    card: Gpu
    row: CardBuilds


@lru_cache(maxsize=4)  # Facts are compared by identity
def builds(facts: Facts) -> tuple[Build, ...]:
    """The build of torch of everything that is installed together, where it can be told and has CUDA.

    Of a list that a Dockerfile installs, the Dockerfile says from where: the list by itself says less.
    """
    found = [(meeting, meeting.of("torch")) for meeting in meetings(facts)]
    staged = {line.at for meeting, lines in found if meeting.form == _DOCKERFILE for line in lines}
    own = (item for item, lines in found if item.form == _DOCKERFILE or not any(line.at in staged for line in lines))
    return tuple(build for meeting in own if (build := _build(meeting)) is not None)


def _build(meeting: Meeting) -> Build | None:
    lines = meeting.of("torch")
    if not lines:
        return _of_conda(meeting)
    if lines[-1].manager != "pip":
        return _of_conda(meeting)
    found = [_of_line(meeting, line) for line in lines]
    told = [build for build in found if build is not None]
    if len(told) != len(found) or len({major(build.cuda) for build in told}) > 1:
        return None  # branches of which the text does not say the one that is taken
    return told[-1]  # what is installed last replaces what was there


def _of_line(meeting: Meeting, line: Line) -> Build | None:
    label = line.version.partition("+")[2]
    if label:
        found = _LABEL.match(label)
        return Build(meeting, line, _dotted(found[1]), line.version, f"`+{label}`") if found else None
    folders = _folders(meeting, line)
    if folders is None:
        return None
    if folders:
        found = _LABEL.match(folders)
        return Build(meeting, line, _dotted(found[1]), line.version, f"`/whl/{folders}`") if found else None
    return _of_pypi(meeting, line)


def _folders(meeting: Meeting, line: Line) -> str | None:
    """The folder of builds that the line's command asks; "" where PyPI alone is asked, None where it cannot be told."""
    named = [(name, value) for name, value in meeting.asked(line.command) if name in _INDEXES]
    found = {match[1] for _, value in named for match in _FOLDER.finditer(value)}
    if len(found) == 1:  # of PyPI and such a folder pip takes the newer release, and of one release that of the folder
        alone = any(name in ("index-url", "default-index") and _FOLDER.search(value) for name, value in named)
        return found.pop() if alone or line.version else None
    if found or any(value and not _PYPI.fullmatch(value) for name, value in named if name != "extra-index-url"):
        return None
    return ""


def _of_pypi(meeting: Meeting, line: Line) -> Build | None:
    version = public(line.version) if line.version and not line.prefix else None
    if version is None or version.is_prerelease or "://" in line.specifier or "torch-backend" in dict(meeting.options):
        return None
    for first, last, cuda in data.cuda_builds()["torch"]:
        if Version(first) <= version <= Version(last):
            return Build(meeting, line, cuda, line.version, f"torch {line.version} from PyPI")
    return None


def _of_conda(meeting: Meeting) -> Build | None:
    """The pytorch of conda, whose metapackage says its CUDA."""
    named = [line for line in meeting.lines if line.name == "pytorch-cuda" and line.manager == "conda" and line.version]
    if not named:
        return None
    cuda = ".".join(named[-1].version.split(".")[:2])
    return Build(meeting, named[-1], cuda, "", f"`pytorch-cuda={cuda}`") if re.fullmatch(r"\d+\.\d+", cuda) else None


def _dotted(digits: str) -> str:
    return f"{digits[:-1]}.{digits[-1]}"


def major(cuda: str) -> int:
    """12 of 12.1."""
    return int(cuda.partition(".")[0])


def beside(facts: Facts) -> Iterator[Beside]:
    """Builds of torch in the last stage of a Dockerfile whose image has another major of CUDA."""
    for build in builds(facts):
        base = _base(facts, build.meeting)
        if base is not None and major(base.cuda) != major(build.cuda):
            compiled, certain = _compiled(build.meeting)
            yield Beside(build, base, compiled if base.has_nvcc else None, certain)


def _base(facts: Facts, meeting: Meeting) -> Base | None:
    """The image of a last stage, where the text says which of the file's images it is."""
    path, _, stage = meeting.place.rpartition("#")
    if meeting.form != _DOCKERFILE or not stage.isdecimal() or path not in _dockerfiles(facts):
        return None
    images, last = _dockerfiles(facts)[path]
    if int(stage) != last or int(stage) != len(images):
        return None
    outside = [image for image in images if image.pinned is not None]
    inside = (image for image in images if image.pinned is None)
    only = outside[0] if len(outside) == 1 and all(image.name != "scratch" for image in inside) else None
    image = images[-1] if images[-1].pinned is not None else only
    return _of_image(image) if image is not None else None


@lru_cache(maxsize=4)
def _dockerfiles(facts: Facts) -> dict[str, tuple[list[Image], int]]:
    """The images of each Dockerfile's stages, and the last stage that installs something."""
    found: dict[str, tuple[list[Image], int]] = {}
    for image in facts.of(Image):
        if image.form == _DOCKERFILE and image.use == "base":
            found.setdefault(image.at.path, ([], 0))[0].append(image)
    for install in facts.of(Install):
        path, _, stage = install.place.rpartition("#")
        if path in found and stage.isdecimal():
            found[path] = found[path][0], max(found[path][1], int(stage))
    return found


def _of_image(image: Image) -> Base | None:
    name = re.sub(r"^(?:(?:index\.)?docker\.io/|nvcr\.io/)", "", image.name)
    for row in data.cuda_images():
        match = re.match(row.tag, image.tag) if name == row.name and isinstance(image.tag, str) else None
        if match:
            return Base(image, match[1], row.nvcc in str(image.tag))
    return None


def _compiled(meeting: Meeting) -> tuple[Line | None, bool]:
    """The package that is compiled there, and whether for certain: from version control, or without wheels."""
    known = [line for line in meeting.lines if line.name in data.compiled()]
    forced = {value for install in meeting.installs for name, value in install.options if name == "no-binary"}
    for line in known:
        if "git+" in line.specifier or line.name in forced or ":all:" in forced:
            return line, True
    return next((line for line in known if line.name == "flash-attn"), None), False


def on_cards(facts: Facts) -> Iterator[OnCard]:
    """Deployments whose environment has a torch without code for their card.

    The environment of a deployment stands in its folder, or else in the one above. A container whose image somebody
    else builds has nothing of the repository's.
    """
    nearest: dict[str, list[Build]] = {}
    for build in builds(facts):
        if build.line.manager == "pip" and build.meeting.form not in _PASSING:
            for folder in {folder_of(build.meeting.path), folder_of(build.line.at.path)}:
                nearest.setdefault(folder, []).append(build)
    if not nearest:
        return
    foreign = _foreign(facts)
    for deployment in facts.of(Deployment):
        card = data.gpu(deployment.gpu) if isinstance(deployment.gpu, str) else None
        if card is None or card.vendor != "nvidia" or deployment.accelerator or deployment.at in foreign:
            continue
        folder = folder_of(deployment.at.path)
        for build in nearest.get(folder) or nearest.get(folder_of(folder), []):
            for row in data.card_builds():
                if card.compute_capability in row.capabilities and not _has(row, build.cuda):
                    yield OnCard(build, deployment, card, row)


def _has(row: CardBuilds, cuda: str) -> bool:
    at = Version(cuda)
    return Version(row.least) <= at and (row.end is None or at < Version(row.end))


def _foreign(facts: Facts) -> set[Location]:
    """Where a container starts from an image that this repository does not build."""
    elsewhere = {image.at.path for image in facts.of(Image) if image.pinned is not None and image.use != "base"}
    return {launch.at for launch in facts.of(Launch) if launch.image is not None and launch.at.path in elsewhere}
