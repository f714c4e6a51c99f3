"""What runs a module of Python: the container, service or task whose words name it, with its cards and variables.

A module is run by a launch whose words name its file (`python serve.py`) or itself (`-m shop.recommender`,
`uvicorn shop.recommender:app`), whose tool is told of it (Truss, Ray), or that mounts the object which holds it. What a
module imports is run by whatever runs that module.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from vramguard.facts import PythonModule, Reference, Word
from vramguard.link.python.house import House
from vramguard.link.python.names import Folder
from vramguard.shell import effective

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vramguard.facts import Launch
    from vramguard.link.launches import Programs
    from vramguard.link.launches.scripts import Program
    from vramguard.link.python.names import Repository

# `shop.recommender:app`, and `shop.recommender`; a name alone is one only where it is what `python -m` runs.
_MODULE: Final = re.compile(
    r"([A-Za-z_][\w-]{0,99}(?:\.[A-Za-z_][\w-]{0,99}){0,19})(?::[A-Za-z_][\w.]{0,99}(?:\(\))?)?"
)
_NAME: Final = re.compile(r"\w[\w-]*")
_SUBCOMMANDS: Final = ("run", "start", "serve", "dev", "up", "deploy")
_RUNS: Final = re.compile(r"\.py\b|\.(?:sh|bash)\b|python|uvicorn|gunicorn|hypercorn|serve|fastapi|streamlit|flask")
_WORDS: Final = 12  # of a command, in which the code that it runs is named
_MOST: Final = 20  # that run one module
_LIKE: Final = 500  # files of one name, or things that run one
_BELOW: Final = 2  # folders below one that two files share, in which a file is still meant by its name alone
_HOPS: Final = 2  # from a module that is run to one that it imports


class Houses:
    """What runs each module of a repository, as far as launches say that are added."""

    def __init__(self, repository: Repository, programs: Programs) -> None:
        self._repository, self._programs = repository, programs
        self._files = _by_name(path for path in repository.paths if path.endswith(".py"))
        self._held: dict[str, list[PythonModule]] = defaultdict(list)
        for module in repository.every.values():
            if module.inside is not None:
                self._held[module.inside.key].append(module)
        self._found: dict[str, list[House]] = defaultdict(list)
        self._imported: Mapping[str, list[House]] = {}

    def of(self, module: PythonModule) -> Sequence[House | None]:
        """What runs a module: all that say its cards, else the only one there is; `None` for nothing that is known."""
        found = self._found.get(module.key) or self._imported.get(module.key, [])
        carded = [house for house in found if house.has_cards]
        return carded[:_MOST] or (found if len(found) == 1 else [None])

    def add(self, ran: Iterable[Launch]) -> None:
        """Take what these launches run."""
        alone: dict[str, list[House]] = defaultdict(list)
        loading = {_stem(module) for module in self._repository.every.values() if module.loads}
        for launch in ran if loading else ():
            matched = False
            worth = "module" not in launch.joins and _may_run(launch) and _is_worth(launch, loading)
            for program in self._programs.of(launch) if worth else ():
                for key in dict.fromkeys(self._named(program, launch)):
                    matched = True
                    self._put(key, _house(program, launch, key))
            if path := launch.joins.get("module"):
                for key in dict.fromkeys(self._meant(path, launch)):
                    actor = launch.joins.get("actor", "")
                    settings = launch.at.path if launch.form == "truss" else ""
                    env = _words_of(launch)
                    self._put(key, House(launch.name, launch.hardware, env, launch.image, (), actor, settings))
            elif not matched and (launch.hardware.gpus or launch.hardware.accelerator):
                alone[launch.at.path].append(House(launch.name, launch.hardware, _words_of(launch), launch.image))
        for module in (one for held in self._held.values() for one in held):
            if module.key not in self._found and len(alone[module.at.path]) == 1:
                self._put(module.key, alone[module.at.path][0])
        self._imported = self._followed()

    def _put(self, key: str, house: House) -> None:
        if len(self._found[key]) < _LIKE and house not in self._found[key]:
            self._found[key].append(house)

    def _named(self, program: Program, launch: Launch) -> Iterator[str]:
        """The modules that the first words of a program name."""
        texts = [word.text if word.known else "" for word in program.words[:_WORDS]]
        for number, text in enumerate(texts):
            first = number == 0 and texts[1:2] not in ([each] for each in _SUBCOMMANDS)
            if len(text) < 400 and (first or "." in text or ":" in text):  # noqa: PLR2004 - longer is no path
                yield from self._meant(text, launch)

    def _meant(self, word: str, launch: Launch) -> Iterator[str]:
        """The modules that a word of a launch may mean: mounted files first, then those whose path ends so."""
        names = list(_names(word))
        if not names:
            return
        held = self._mounted(word, names, launch)
        if held:
            yield from held
            return
        for name in names:
            found = self._path(name, launch)
            if found is not None:
                yield found
                return

    def _mounted(self, word: str, names: Sequence[str], launch: Launch) -> list[str]:
        """The modules of ConfigMaps, or of folders of the repository, that stand where a word points."""
        wanted = {posixpath.basename(name) for name in names}
        fitting = [module for name in sorted(wanted & self._held.keys()) for module in self._held[name][:_LIKE]]
        held = [reference for reference in launch.mounts.values() if reference.kind == "ConfigMap"]
        mounted = [module for module in fitting if any(_is_of(module, reference) for reference in held)]
        near = [module for module in mounted or fitting if module.at.path == launch.at.path]
        if near or mounted:
            return [module.key for module in (near or mounted)][:1] if len(near or mounted) == 1 else []
        for folder, reference in launch.mounts.items():
            if reference.kind == "file" and word.startswith(folder.rstrip("/") + "/"):
                path = posixpath.join(reference.name, word[len(folder.rstrip("/")) + 1 :]).lstrip("./")
                return [path] if path in self._repository.paths else []
        return []

    def _path(self, name: str, launch: Launch) -> str | None:
        """The file of the repository that a path means: the one that ends so, nearest to what names it."""
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        found = self._files.get(parts[-1], []) if parts else []
        if len(found) > _LIKE:  # `main.py` of hundreds of examples: nobody can tell
            return None
        # `/app/shop/serve.py`: folders of the image stand before the repository's own; other names are whole
        for start in range(len(parts) if name.startswith(("/", ".")) else 1):
            tail = "/".join(parts[start:])
            fitting = [path for path in found if path == tail or path.endswith(f"/{tail}")]
            if "/" not in tail:
                fitting = [path for path in fitting if _is_near(path, launch.at.path)]
            if fitting:
                return _nearest(fitting, launch.at.path)
        return None

    def _followed(self) -> dict[str, list[House]]:
        """What runs the modules that modules import which are run, the nearest first."""
        result: dict[str, list[House]] = {}
        level = {key: houses for key, houses in self._found.items() if key in self._repository.every}
        for _ in range(_HOPS):
            following: dict[str, list[House]] = {}
            for key, houses in level.items():
                module = self._repository.every[key]
                for path in self._imports(module):
                    if path not in self._found and path not in result:
                        inner = following.setdefault(path, [])
                        inner += [house for house in houses if house not in inner]
            result |= following
            level = {path: houses for path, houses in following.items() if path in self._repository.every}
        return result

    def _imports(self, module: PythonModule) -> set[str]:
        """Paths of the repository's modules that a module imports."""
        found: set[str] = set()
        for one in module.imports[:200]:
            target = self._repository.imported(module, one)
            folder = target[0] if isinstance(target, tuple) else target
            if isinstance(folder, Folder):
                found.add(folder.path)
        return found


def _stem(module: PythonModule) -> str:
    """The last part of its name."""
    path = module.inside.key if module.inside is not None else module.at.path
    return posixpath.basename(path).removesuffix(".py")


def _is_worth(launch: Launch, loading: set[str]) -> bool:
    """Whether a script is worth the interpreting: it has cards, or names a module that loads a model."""
    if launch.script is None or launch.hardware.places or launch.hardware.gpus:
        return True
    text = launch.script.text
    return _has_one(text, loading) and (launch.form != "shell" or _has_one(effective(text), loading))


def _has_one(text: str, names: set[str]) -> bool:
    """Whether one of the names stands in a text by itself."""
    within = [name for name in names if name in text]
    lines = (line for line in text.split("\n") if any(name in line for name in within)) if within else ()
    return any(not names.isdisjoint(_NAME.findall(line)) for line in lines)


def _may_run(launch: Launch) -> bool:
    """Whether a word of a launch could name a module; asked before its programs are told apart."""
    words = [*launch.command, *([launch.script] if launch.script is not None else [])]
    return any(_RUNS.search(word.text) for word in words)


def _house(program: Program, launch: Launch, key: str) -> House:
    """What a program is to a module; the words behind the module's own name are the module's."""
    own = bool(program.words) and posixpath.basename(program.words[0].text) == posixpath.basename(key.partition("#")[0])
    module = bool(program.words) and program.words[0].text.replace(".", "/") in (
        key.removesuffix(".py"),
        key.removesuffix("/__main__.py"),
    )
    held = bool(program.words) and key.endswith("/" + posixpath.basename(program.words[0].text))
    words = program.words[1:] if own or module or held else ()
    return House(program.name or launch.name, program.hardware, program.env, program.image, words)


def _words_of(launch: Launch) -> dict[str, Word]:
    return {name: value for name, value in launch.env.items() if isinstance(value, Word)}


def _is_of(module: PythonModule, reference: Reference) -> bool:
    inside = module.inside
    return inside is not None and inside.name == reference.name and reference.key in (None, inside.key)


def _names(word: str) -> Iterator[str]:
    """The files that a word may name: itself, or those of a module."""
    if word.endswith(".py"):
        yield word
    elif (module := _MODULE.fullmatch(word)) is not None:
        path = module[1].replace(".", "/")
        yield from (f"{path}.py", f"{path}/__main__.py", f"{path}/__init__.py")


def _by_name(paths: Iterable[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        found[posixpath.basename(path)].append(path)
    return found


def _is_near(path: str, to: str) -> bool:
    """Whether a file could be meant by its name alone: below another file's folder, or near one around."""
    folder = posixpath.dirname(to)
    if not folder or path.startswith(f"{folder}/"):
        return True
    while folder and not path.startswith(f"{folder}/"):
        folder = posixpath.dirname(folder)
    return path.removeprefix(f"{folder}/").count("/") < _BELOW


def _nearest(paths: Sequence[str], to: str) -> str | None:
    """The only one of several files, or the only one below the nearest folder around another file."""
    folder = posixpath.dirname(to)
    while len(paths) > 1:
        near = [path for path in paths if not folder or path.startswith(f"{folder}/")]
        beside = [path for path in near if posixpath.dirname(path) == folder]
        if near:
            paths = beside if len(beside) == 1 else near
            return paths[0] if len(paths) == 1 else None
        folder = posixpath.dirname(folder)
    return paths[0]
