"""Images that a command starts or pulls: `docker run IMAGE`, `podman pull IMAGE`, in scripts, makefiles and workflows.

Options are told from the image as docker 28 (docs.docker.com/reference/cli/docker/container/run) and podman 5
(docs.podman.io, podman-run) take them, read 2026-11-28: what is no flag takes the next word.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract.images.reference import VARIABLE, image
from vramguard.facts import Unknown, Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.facts import Image
    from vramguard.facts.nodes import Node
    from vramguard.source import Document
    from vramguard.source.makefile import Makefile

RUN = "run"
_RUNTIMES = frozenset(("docker", "podman", "nerdctl"))
_STARTS = frozenset(("run", "pull", "create"))
_GROUPS = frozenset(("container", "image"))  # `docker container run`, `docker image pull`
_LOADS = frozenset(("load", "import", "tag"))
_TOOLS = ("docker", "podman", "nerdctl")
# One for each tool: what begins with a word is looked for many times faster than what begins with one of several.
_COMMANDS = tuple(
    re.compile(rf"{tool}(?<!\w{tool})(?:[ \t]+(?:container|image))?[ \t]+(?:run|pull|create)\b") for tool in _TOOLS
)
_FLAGS = frozenset((
    "--detach", "--disable-content-trust", "--help", "--init", "--interactive", "--no-healthcheck", "--no-hosts",
    "--no-hostname", "--oom-kill-disable", "--passwd", "--privileged", "--publish-all", "--quiet", "--read-only",
    "--read-only-tmpfs", "--replace", "--rm", "--rmi", "--rootfs", "--sig-proxy", "--tls-verify", "--tty",
    "--use-api-socket", "--http-proxy", "--unsetenv-all", "--all", "--all-tags",
))  # fmt: skip
_VALUED = frozenset("acehlmpuvw")  # short options that take a value; of `pull`, `-a` takes none
_MARK = re.compile(r"\$\{\{([^{}\n]{1,200})\}\}")  # what GitHub fills in before a shell reads it
_TOLD = re.compile(r"[A-Za-z0-9]/?[A-Za-z0-9]")
_LONGEST = 200_000  # characters of a script; a longer one is generated
_MOST_RECIPES = 200


def mentions(text: str) -> bool:
    """Whether a text could start a container of an image, or pull one."""
    return any(command.search(text) for command in _COMMANDS)


def scripts(document: Document) -> Iterator[Image]:
    """The images that the commands of a shell script or a makefile start."""
    if not mentions(document.text) or len(document.text) > _LONGEST:
        return
    if document.kind == "makefile":
        yield from _recipes(document)
    else:
        yield from _started(Word(document.text, Location(document.path), first=(1, 1)), "shell", {})


def _recipes(document: Document) -> Iterator[Image]:
    from vramguard.extract.makefile import recipe_script

    makefile: Makefile = document.value
    named = [recipe for recipe in makefile.recipes if mentions("\n".join(recipe.lines))]
    for recipe in named[:_MOST_RECIPES]:
        at = Location(document.path, recipe.row, 1, recipe.row, 1)
        yield from _started(Word(recipe_script(recipe, makefile), at, first=(1, 1)), "makefile", {})


def in_step(node: Node, form: str, env: Mapping[str, str]) -> Iterator[Image]:
    """The images that a step's script starts. `env`: what the workflow sets, by name."""
    script = node.word() if isinstance(node.value, str) and mentions(node.value) else None
    if script is None or len(script.text) > _LONGEST:
        return
    marks: dict[str, str] = {}  # a variable of the shell, as long as the mark in whose place it stands

    def masked(found: re.Match[str]) -> str:
        name = "_" + re.sub(r"\W", "_", found[1]) + "_"
        marks[name] = found[0]
        return f"${{{name}}}"

    text = _MARK.sub(masked, script.text)
    known = {name: text for name, text in env.items() if "${{" not in text}
    for name, mark in marks.items():
        inner = mark[3:-2].strip()
        if inner.startswith("env.") and inner[4:] in known:
            known[name] = known[inner[4:]]
    variables = {name: Word(value, node.at) for name, value in known.items()}
    yield from _started(Word(text, script.at, first=script.first), form, variables, marks)


def _started(
    script: Word, form: str, variables: Mapping[str, Word], marks: Mapping[str, str] | None = None
) -> Iterator[Image]:
    from vramguard.shell import commands

    run = commands(script, variables)
    loads = any(_loads(command.words) for command in run)
    bare = commands(script) if variables else run  # what is filled in from elsewhere stands where it is used
    for command, written in zip(run, bare if len(bare) == len(run) else run, strict=True):
        number = _image(command.words)
        if number is not None:
            place = written.words if len(written.words) == len(command.words) else command.words
            found = _named(replace(command.words[number], at=place[number].at), form, marks or {})
            if found is not None and not (loads and "/" not in found.name):
                yield found


def _loads(words: Sequence[Word]) -> bool:
    """Whether a command brings images along in a file: a bare name may then be one of those."""
    named = [word.text for word in words[:3]]
    return len(named) > 1 and named[0].rpartition("/")[2] in _RUNTIMES and not _LOADS.isdisjoint(named[1:])


def _image(words: Sequence[Word]) -> int | None:
    """Which word of a command is its image; None where it starts no container."""
    if len(words) < 3 or words[0].text.rpartition("/")[2] not in _RUNTIMES:  # noqa: PLR2004 - docker run IMAGE
        return None
    begin = 2 if words[1].text in _GROUPS else 1
    verb = words[begin].text
    if verb not in _STARTS:
        return None
    number = begin + 1
    while number < len(words) and words[number].text.startswith("-") and words[number].text != "--":
        number += 1 + _takes(words[number].text, verb)
    return number if number < len(words) else None


def _takes(option: str, verb: str) -> bool:
    """Whether an option takes the next word."""
    if option.startswith("--"):
        return "=" not in option and option not in _FLAGS
    for place, letter in enumerate(option[1:], 1):
        if letter in _VALUED and not (verb == "pull" and letter == "a"):
            return place == len(option) - 1  # what follows the letter is its value
    return False


def _named(word: Word, form: str, marks: Mapping[str, str]) -> Image | None:
    """The image of a word; None for one that says no more than that there is one."""
    text = word.text
    for name, mark in marks.items():
        text = text.replace(f"${{{name}}}", mark)
    found = image(text, word.at, form, RUN)
    if found is None or not isinstance(found.pinned, Unknown):
        return found
    rest = VARIABLE.sub("", text)
    name, _, tag = rest.partition(":")
    told = _TOLD.search(name) or _TOLD.search(tag)  # `$IMAGE` says nothing, `$IMAGE:latest` does
    return found if VARIABLE.search(text) and told else None
