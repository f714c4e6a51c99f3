"""Servers of the repository's own: the application in Python that an image, a service or a container starts.

Joined as a person would: what the container or its Dockerfile starts names a module; an image is called after its
Dockerfile, its folder, or the service of compose that builds it, or listens where an image of the repository does.
Where several could be meant, all of them are given. Where nothing joins, nothing is said.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts import Image, Launch, PathClass, ScriptText
from vramguard.facts.outputs import Step
from vramguard.link.cluster import cluster
from vramguard.link.code.answering import Application, answering
from vramguard.link.folders import folder_of, is_within, tiers
from vramguard.link.images import images
from vramguard.link.launches.images import parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.facts.nodes import Node
    from vramguard.link.code.answering import Answer
    from vramguard.source import Location

_BETWEEN: Final = re.compile(r"[\s;&|\"'()]+")  # what parts the words of a text for a shell
_MODULE: Final = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*(?:\(\))?")
_STARTERS: Final = frozenset(("uvicorn", "gunicorn", "hypercorn", "flask", "fastapi", "granian", "quart"))
_STARTS: Final = re.compile(r"(?:.*/)?python[\d.]*|.*\.(?:py|sh)")
# What stands in an image's name for whoever deploys it.
_LEFT_OPEN: Final = re.compile(
    r"[<>{}$]|\b(?:your|my)[-_]?|account[-_]id|project[-_]id|example\.|\b(?:replace|change)(?:[-_]?me)?\b",
    re.IGNORECASE,
)
# Names under which somebody pushes what is built here: to no registry, or to one of an account of a cloud.
_UNHOSTED: Final = re.compile(r"(?=.*[-_]|.*(?:api|app|back|serve|service|model|predict|infer))[a-z0-9._-]+")
_OF_ACCOUNT: Final = re.compile(r"\d+\.dkr\.ecr\.|[\w-]+-docker\.pkg\.dev/|[\w-]+\.azurecr\.io/")
_PORT: Final = re.compile(r"(?:--(?:\w+[.-])*port|-p|--bind|-b)(?:=|$)")
_MAX_WORDS: Final = 400
_MAX_STEPS: Final = 12  # of a path, or words of a name


@dataclass(frozen=True)
class Own:
    """The application that stands behind a probe, or those of which it is one; `started`: where that is said, None
    where there is no other.
    """

    applications: tuple[Application, ...]
    started: Step | None

    @property
    def runs_model(self) -> bool:
        """Whether it runs a model, whichever it is."""
        return all(one.model is not None for one in self.applications)


class Owned:
    """Finds the applications behind images and containers. Code is asked for when something could be one."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.recipes = {one.at.path: one for one in facts.of(Launch) if one.form == "dockerfile"}

    @cached_property
    def _bases(self) -> dict[str, Image]:
        """What each Dockerfile builds on, by its path."""
        return {one.at.path: one for one in self.facts.of(Image) if one.form == "dockerfile" and one.use == "base"}

    @cached_property
    def applications(self) -> list[Application]:
        """Every application but those of tests and of code that somebody else wrote."""
        judged = (PathClass.SERVING, PathClass.TRAINING, PathClass.EXAMPLE, PathClass.DOCS)
        every = answering(self.facts).applications
        return [one for one in every if all(self.facts.classify(file) in judged for file in one.files)]

    @cached_property
    def modelled(self) -> list[Application]:
        """Those that run a model."""
        return [one for one in self.applications if one.model is not None]

    # What starts which application.

    def of_recipe(self, path: str) -> Own | None:
        """What the image of a Dockerfile starts."""
        recipe = self.recipes.get(path)
        if recipe is None:
            return None
        words = self._words(recipe)
        found = self._named(words, path)
        if not found and any(word in _STARTERS or _STARTS.fullmatch(word) for word in words):
            found = self._within(folder_of(path))
        return Own(found, Step(recipe.at, "the image starts it")) if found else None

    def of_service(self, service: Node) -> Own | None:
        """What a service of compose starts: by its own command, else by the image that it builds."""
        own = self._of_command(service, ("command", "entrypoint"))
        path = _dockerfile(service) if own is None else None
        return own if path is None else self.of_recipe(path)

    def of_container(self, container: Node, names: Iterable[str], path: str | None = None) -> Own | None:
        """What a container of a pod starts. `names`: its own and its object's, which may be a service's of compose;
        `path`: that it is asked, if known, which the only application with a model has to know where no image joins.
        """
        image = container.get("image").text
        own = self._of_command(container, ("command", "args"))
        if own is not None or not image:
            return own
        recipe = self._recipe(image, names, container.at)
        listens = self._ports(self.recipes[recipe]) if recipe in self.recipes else set()
        if recipe is not None and not (
            listens and (ports := _container_ports(container)) and listens.isdisjoint(ports)
        ):
            return self.of_recipe(recipe)
        return self._listening(container) or self.only(path) if self._is_own(image) else None

    def base(self, container: Node, names: Iterable[str]) -> Image | None:
        """The image that a container's own one is built on, which may start what it does by itself."""
        path = self._recipe(container.get("image").text, names, container.at)
        return self._bases.get(path) if path is not None and path not in self.recipes else None

    def only(self, path: str | None) -> Own | None:
        """The only application of the repository that runs a model, if no other answers this path, or any at all."""
        if len(self.modelled) != 1:
            return None
        answers = [one for one in self.applications if path is None or self.answer(one, path) is not None]
        return Own((answers[0],), None) if answers == self.modelled else None

    def _listening(self, container: Node) -> Own | None:
        """What the images start that listen at a container's port by their own command; None if nobody knows of one."""
        ports = _container_ports(container)
        held = [path for path, recipe in self.recipes.items() if ports & self._ports(recipe)]
        owns = [self.of_recipe(path) for path in sorted(held)]
        known = [one for one in owns if one is not None]
        if not known or len(known) < len(owns):
            return None
        every = {id(one): one for own in known for one in own.applications}
        return Own(tuple(every.values()), known[0].started if len(known) == 1 else None)

    def answer(self, application: Application, path: str) -> Answer | None:
        """What an application answers a path."""
        return answering(self.facts).answer(application, path)

    def _ports(self, recipe: Launch) -> set[str]:
        return _ports(self._words(recipe))

    def _words(self, recipe: Launch) -> list[str]:
        """What an image starts, with what the script says of which that is the name."""
        script = [recipe.script.text] if recipe.script else []
        words = _parted([*(word.text for word in recipe.command), *script])
        names = {posixpath.basename(word) for word in words if word.endswith(".sh")}
        held = [one for one in self._scripts if posixpath.basename(one.at.path) in names]
        near = next(tiers(recipe.at.path, held), []) if names else []
        return [*words, *_parted(line for one in near[:1] for line in one.text.text.splitlines())]

    @cached_property
    def _scripts(self) -> list[ScriptText]:
        return list(self.facts.of(ScriptText))

    def _of_command(self, node: Node, keys: tuple[str, ...]) -> Own | None:
        words = [word.text for key in keys for word in node.get(key).words()]
        words = words or [node.get(key).text for key in keys]
        found = self._named(_parted(words), node.at.path)
        return Own(found, Step(node.at, "it is started here")) if found else None

    def _named(self, words: list[str], near: str) -> tuple[Application, ...]:
        """The applications whose module a command may name: those below what names it, if there are any."""
        for stem in _modules(words):
            steps = stem.strip("/").split("/")[-_MAX_STEPS:]
            for first in range(len(steps)):
                ending = "/".join(steps[first:])
                ends = (f"{ending}.py", f"{ending}/__init__.py", f"{ending}/__main__.py")
                held = [one for one in self.applications if any(_is_file(file, ends) for file in one.files)]
                inside = [one for one in held if any(is_within(folder_of(f), folder_of(near)) for f in one.files)]
                if held:
                    return tuple(inside or held)
        return ()

    def _within(self, folder: str) -> tuple[Application, ...]:
        """The only application of a folder, whose image starts some Python."""
        held = [one for one in self.applications if any(is_within(folder_of(file), folder) for file in one.files)]
        return tuple(held) if len(held) == 1 else ()

    # Which Dockerfile an image comes of.

    def _recipe(self, image: str, names: Iterable[str], at: Location) -> str | None:
        """The Dockerfile that an image is called after, or the service of compose that builds it; None if several."""
        last = parts(image)[0].rpartition("/")[2].lower()
        exact = self._called.get(last, set())
        if not exact and self._is_own(image):
            exact = {path for name in names for path in self._services.get(name.lower(), ())}
            words = last.split("-")[-_MAX_STEPS:]
            endings = ("-".join(words[first:]) for first in range(1, len(words)))
            exact = exact or next((found for name in endings if (found := self._called.get(name))), set())
        near = next(tiers(at.path, [self.recipes.get(path) or self._bases[path] for path in sorted(exact)]), [])
        return near[0].at.path if len(near) == 1 else None

    @cached_property
    def _services(self) -> dict[str, set[str]]:
        """The Dockerfiles that services of compose build, by the service's name."""
        found: dict[str, set[str]] = defaultdict(set)
        for manifest in cluster(self.facts).configured("compose"):
            for name, service in manifest.node.get("services").items():
                path = _dockerfile(service)
                if path is not None and (path in self.recipes or path in self._bases):
                    found[name.lower()].add(path)
                    found[parts(service.get("image").text)[0].rpartition("/")[2].lower()].add(path)
        found.pop("", None)
        return found

    @cached_property
    def _called(self) -> dict[str, set[str]]:
        """The Dockerfiles by what their images are called: after the file, its folder, or the service."""
        found: dict[str, set[str]] = defaultdict(set)
        for path in (*self.recipes, *self._bases):
            folder, _, file = path.rpartition("/")
            stem = file.lower().removesuffix(".dockerfile").removeprefix("dockerfile").lstrip(".-_")
            if name := stem or folder.rpartition("/")[2].lower():
                found[name].add(path)
        for name, paths in self._services.items():
            found[name] |= paths
        return found

    @cached_property
    def _built(self) -> frozenset[str]:
        return frozenset(one.name for one in images(self.facts) if one.pinned is None)

    def _is_own(self, image: str) -> bool:
        """Whether an image is the repository's own, as far as names say: built here, open to whoever deploys it, of no
        registry that others push to.
        """
        name = parts(image)[0]
        if name in self._built or _UNHOSTED.fullmatch(name.lower()):
            return True
        return _LEFT_OPEN.search(image) is not None or _OF_ACCOUNT.match(image) is not None


def _is_file(file: str, ends: tuple[str, ...]) -> bool:
    return any(file == end or file.endswith(f"/{end}") for end in ends)


def _dockerfile(service: Node) -> str | None:
    """The Dockerfile that a service of compose is built from; None for one that only names an image."""
    build = service.get("build")
    context, file = build.text or build.get("context").text or ".", build.get("dockerfile").text or "Dockerfile"
    joined = posixpath.join(posixpath.dirname(service.at.path), context, file)
    return None if build.value is None else posixpath.normpath(joined)


def _container_ports(container: Node) -> set[str]:
    return {text for one in container.get("ports").list() if (text := one.get("containerPort").text).isdecimal()}


def _ports(words: list[str]) -> set[str]:
    """The ports that a command names: `--port 8000`, `--bind 0.0.0.0:8000`."""
    found = {
        word.partition("=")[2] or after
        for word, after in zip(words, [*words[1:], ""], strict=True)
        if _PORT.match(word)
    }
    return {one.rpartition(":")[2] for one in found}


def _parted(words: Iterable[str]) -> list[str]:
    return [part for word in words for part in _BETWEEN.split(word[:4000]) if part][:_MAX_WORDS]


def _modules(words: list[str]) -> Iterator[str]:
    """The modules that a command names, as paths without their ending: `src.app:app`, `src/app.py`, `-m src.app`."""
    for before, word in zip(["", *words], words, strict=False):
        if word.endswith(".py"):
            yield posixpath.normpath(word.removesuffix(".py"))
        elif match := _MODULE.fullmatch(word):
            yield match[1].replace(".", "/")
        elif before in ("-m", "--app") and word.replace(".", "").isidentifier() and word not in _STARTERS:
            yield word.replace(".", "/")


def owned(facts: Facts) -> Owned:
    """The servers of the repository's own."""
    return facts.once("owned servers", Owned)
