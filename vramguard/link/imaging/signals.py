"""Servers on a GPU that never hear of the SIGTERM that ends them: containers, services, images."""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts import Launch, ScriptText, Word
from vramguard.link.cluster import cluster
from vramguard.link.imaging.recipes import lasts
from vramguard.link.imaging.shells import Held, held, idles, serves, started
from vramguard.link.launches import images
from vramguard.shell import commands
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Facts
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Surface
    from vramguard.link.imaging.recipes import Last
    from vramguard.link.imaging.shells import Started

_MAX_COMMAND: Final = 20_000


class Deaf(NamedTuple):
    """A server below a shell. `at`: the command; `name`: whose it is."""

    at: Location
    name: str
    found: Held
    card: Location | None


def deaf(facts: Facts) -> list[Deaf]:
    """Every one of the repository, each place once."""
    found: dict[Location, Deaf] = {}
    for one in (*_surfaces(facts), *_images(facts)):
        found.setdefault(one.at, one)
    return list(found.values())


def _surfaces(facts: Facts) -> Iterator[Deaf]:
    for surface in cluster(facts).gpu_surfaces:
        yield from _pods(facts, surface)
        for launch in surface.launches if surface.manifest is None else ():
            yield from _service(facts, surface, launch)


def _pods(facts: Facts, surface: Surface) -> Iterator[Deaf]:
    for pod in surface.pods:
        if pod.spec.get("shareProcessNamespace").text == "true":
            continue
        for one in pod.containers:
            node = one.node
            words = (*node.get("command").words(), *node.get("args").words())
            if not one.has_gpu or not words or _is_told(node) or _is_another(node.get("image").word()):
                continue
            found = _of(facts, words, node.get("image").text, node.at.path)
            if found is not None:
                at = (node.get("command") or node.get("args")).at
                yield Deaf(at, surface.name, found, one.hardware.places.get("gpus"))


def _is_told(node: Node) -> bool:
    """Whether a hook ends the server itself before the shell gets its signal."""
    hook = " ".join(word.text for word in node.get("lifecycle", "preStop", "exec", "command").words())
    return "kill" in hook or "stop" in hook


def _is_another(image: Word | None) -> bool:
    """Whether an image is for what is no GPU."""
    return images.found(image).accelerator is not None


def _service(facts: Facts, surface: Surface, launch: Launch) -> Iterator[Deaf]:
    if launch.form != "compose" or not launch.command:
        return
    if any(_inits(manifest.node, launch) for manifest in cluster(facts).configured("compose")):
        return
    words = launch.command
    if len(words) == 1 and " " in words[0].text:  # compose splits a text as a shell would
        words = tuple(Word(text, words[0].at, words[0].known) for text in _split(words[0].text))
    found = _of(facts, words, launch.image.text if launch.image else "", launch.at.path)
    if found is not None:
        yield Deaf(launch.command[0].at, surface.name, found, surface.gpu)


def _inits(project: Node, launch: Launch) -> bool:
    return project.document.path == launch.at.path and project.get("services", launch.name, "init").text == "true"


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text[:_MAX_COMMAND])
    except ValueError:
        return []


def _of(facts: Facts, words: Sequence[Word], image: str, path: str) -> Held | None:
    """Why a command line's shell stays above what runs on the card; None for what only waits, or is no shell's."""
    begun = started(words)
    found = _held(facts, begun, image, path) if begun else None
    return None if found is None or idles(found.program) else found


def _held(facts: Facts, begun: Started, image: str, path: str) -> Held | None:
    if begun.text is not None:
        return None if "{{" in begun.text.text else held(begun.text.text, begun.shell, image)
    script = _script(facts, begun.file, path)
    return held(script, begun.shell, image, file=True) if script else None


def _script(facts: Facts, file: str, near: str) -> str:
    """The text of a script of the repository: the only one of its name, or that in the folder of who starts it."""
    name = file.rpartition("/")[2]
    named = [one for one in facts.of(ScriptText) if one.at.path.rpartition("/")[2] == name]
    folder = posixpath.dirname(near)
    exact = posixpath.normpath(posixpath.join(folder, file.lstrip("/")))
    beside = [one for one in named if one.at.path == exact]
    inside = [one for one in named if one.at.path.startswith(f"{folder}/" if folder else "")]
    found = beside or inside or named
    return found[0].text.text if len(found) == 1 else ""


def _images(facts: Facts) -> Iterator[Deaf]:
    built = {
        launch.joins["dockerfile"]
        for surface in cluster(facts).gpu_surfaces
        for launch in surface.launches
        if "dockerfile" in launch.joins
    }
    for last in lasts(facts):
        if (last.for_cards or last.path in built) and not last.for_people:
            found = _of_image(facts, last)
            if found is not None and last.stage.started:
                yield Deaf(last.stage.started, last.path, found, None)


def _of_image(facts: Facts, last: Last) -> Held | None:
    """What ENTRYPOINT and CMD start together: a text is the shell's, whatever stands in CMD then."""
    stage = last.stage
    begin = stage.start if stage.start is not None else stage.arguments
    image = last.image.text if last.image.known else ""
    if isinstance(begin, Word):
        shell = stage.shell[0].rpartition("/")[2]
        found = held(begin.text.strip().replace("\\\n", " "), shell, image)
    else:
        words = (*(begin or ()), *(stage.arguments if stage.start and isinstance(stage.arguments, tuple) else ()))
        found = _of(facts, words, image, last.path)
    return found if found and _answers(facts, found.program, last.path) else None


def _answers(facts: Facts, program: str, path: str) -> bool:
    """Whether a program serves: by its words, or a script of the repository by those that it starts."""
    words = program.split()
    if serves(words):
        return True
    script = _script(facts, words[0].strip("\"'"), path) if words and words[0].endswith(".sh") else ""
    return any(serves([word.text for word in command.words]) for command in commands(Word(script, _NOWHERE)))


_NOWHERE: Final = Location("")
