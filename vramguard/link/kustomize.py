"""kustomize's overlays, where they are plain merging: the objects that a folder deploys, each value in its own place.

Kustomize 5.8, api/internal/target/kusttarget.go: resources, then components, generators, patches, replicas, images,
replacements. Names are matched as they are written: prefixes, suffixes and hashes are taken from both sides.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from vramguard.extract.helm import is_manifest
from vramguard.extract.kubernetes import of_manifest
from vramguard.extract.kustomize import within
from vramguard.extract.made import count, made
from vramguard.extract.objects import KUBERNETES, of_node
from vramguard.facts import Kustomization, Launch, Manifest, Texts, Word
from vramguard.facts.nodes import Node
from vramguard.link.builds import once
from vramguard.link.patches import UnmergeableError, json_patch, renames, replaced, steps, strategic, with_images
from vramguard.source import Document, Parsed, Unreadable
from vramguard.source import read as parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vramguard.extract.made import Part
    from vramguard.facts import Facts
    from vramguard.source import Location

_NAMES = ("kustomization.yaml", "kustomization.yml")
Said = Launch | Texts | Manifest
_MAX_DEPTH = 12  # of overlays upon overlays
_MAX_BUILDS = 2000  # of folders of one repository
_MAX_OBJECTS = 5000  # of one build
_MAX_WORK = 400_000  # values that all builds of one repository read, merge and look at
# Forms that no overlay changes.
_OTHERS = frozenset(("helm", "compose", "dockerfile", "shell", "makefile", "python", "options", "settings", "dotenv"))


class _Builder:
    """The folders of a repository that kustomize can build; `read` gives a file's bytes."""

    def __init__(self, facts: Facts, read: Callable[[str], bytes | None]) -> None:
        self.paths = facts.paths
        self.read = read
        self.left = _MAX_BUILDS
        self.documents = lru_cache(maxsize=256)(self._documents)
        self._work = _MAX_WORK
        self.folders = {posixpath.dirname(fact.at.path): fact for fact in facts.of(Kustomization)}
        self.objects_asked = bool(facts.of(Manifest))

    def spend(self, *values: object) -> None:
        """Count work by the size of what it is done to. Raises `UnmergeableError` once it is too much."""
        self._work -= sum(map(count, values))
        if self._work < 0:
            raise UnmergeableError("too much to build")

    def objects(self, root: str) -> list[Said]:
        """What the objects that a folder deploys say. Raises `UnmergeableError`."""
        found: list[Said] = []
        for node in self.build(root):
            self.spend(node.value)
            found += (fact for fact in of_manifest(node) if isinstance(fact, Launch | Texts))
            found += of_node(node, root or ".") if self.objects_asked else ()
        return found

    def _documents(self, path: str) -> list[Node]:
        """The mappings and lists of a YAML file; none of a template, which a renderer has to fill in first."""
        data = self.read(path) if path in self.paths else None
        document = parse(path, data, kind="yaml") if data is not None else None
        if document is None or isinstance(document, Unreadable):
            return []
        return [Node(document, (number,), value) for number, value in enumerate(document.value) if value is not None]

    def roots(self) -> list[str]:
        """Folders that no other builds upon, in order."""
        used = {path for fact in self.folders.values() for path in fact.resources}
        return sorted(
            folder for folder, fact in self.folders.items() if (folder or ".") not in used and not fact.component
        )

    def reach(self, folder: str) -> list[Kustomization]:
        """Every kustomization that a build of a folder goes through."""
        found: dict[str, Kustomization] = {}
        pending = [folder]
        while pending:
            folder = pending.pop()
            fact = self.folders.get(folder)
            if fact is not None and folder not in found:
                found[folder] = fact
                pending += [_folder(path) for path in fact.resources if path not in self.paths]
        return list(found.values())

    def files(self, folder: str) -> set[str]:
        """Every file that a build reads objects or patches from."""
        named = (path for fact in self.reach(folder) for path in (*fact.resources, *fact.patches))
        return {path for path in named if path in self.paths}

    def remote(self, folder: str) -> str:
        """A base that stands elsewhere, empty where there is none."""
        return next((name for fact in self.reach(folder) for name in fact.remote), "")

    def build(self, folder: str, below: Iterable[Node] = (), depth: int = _MAX_DEPTH) -> list[Node]:
        """The objects of a folder, laid over those `below` if it is a component. Raises `UnmergeableError`."""
        root = self._kustomization(folder)
        self.left -= 1
        if root is None or depth < 0:
            return list(below)
        if self.left < 0:
            raise UnmergeableError("too many folders")
        objects = list(below)
        for path in _named(folder, root, "resources", "bases"):
            held = self.documents(path) if path in self.paths else self.build(_folder(path), (), depth - 1)
            self.spend([node.keys for node in held])
            objects += held
            if len(objects) > _MAX_OBJECTS:
                raise UnmergeableError("too many objects")
        objects = [inner for node in objects for inner in _listed(node) if is_manifest(inner)]
        for path in _named(folder, root, "components"):
            objects = self.build(_folder(path), objects, depth - 1)
        objects += self._generated(folder, root)
        objects = self._patched(folder, root, objects)
        objects = self._renamed(root.get("images"), objects)
        return self._replaced(folder, root, objects)

    def _renamed(self, images: Node, objects: list[Node]) -> list[Node]:
        rules = renames(images)
        if rules:
            self.spend(*(node.value for node in objects))
        return [with_images(node, rules) for node in objects] if rules else objects

    def _kustomization(self, folder: str) -> Node | None:
        paths = (posixpath.join(folder, name) for name in _NAMES)
        return next((node for path in paths for node in self.documents(path) if isinstance(node.value, dict)), None)

    def _generated(self, folder: str, root: Node) -> Iterator[Node]:
        """ConfigMaps of literals, of files and of files of variables."""
        for generator in root.get("configMapGenerator").list():
            data: dict[str, Part] = {}
            for literal in generator.get("literals").list():
                key, equals, value = literal.text.partition("=")
                if equals:
                    data[key] = Node(literal.document, literal.keys, value.strip("\"'"), literal.inside)
            for named in generator.get("files").list():
                key, _, name = named.text.rpartition("=")
                path = within(folder, name)
                if path and (text := self._text(path)):
                    data[key or posixpath.basename(path)] = text
            envs = [generator.get("env"), *generator.get("envs").list()]
            for path in filter(None, (within(folder, node.text) for node in envs)):
                data |= self._variables(path)
            head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator.get("name")}}
            yield made(generator, {**head, "data": data})

    def _text(self, path: str) -> Node | None:
        data = self.read(path) if path in self.paths else None
        self.spend(data)
        document = None if data is None else _plain(path, data.decode("utf-8", "replace"))
        return Node(document, (0,), document.value[0]) if document else None

    def _variables(self, path: str) -> dict[str, Part]:
        node = self._text(path)
        self.spend(node.value if node else None)
        lines = (line.partition("=") for line in str(node.value).split("\n")) if node else ()
        return {
            key.strip(): Node(node.document, node.keys, value.strip())
            for key, equals, value in lines
            if node and equals and not key.lstrip().startswith("#")
        }

    def _patched(self, folder: str, root: Node, objects: list[Node]) -> list[Node]:
        for entry in root.get("patchesStrategicMerge").list():
            for patch in self._patch(folder, entry, inline="\n" in entry.text):
                objects = self._strategic(objects, patch, None)
        for entry in (*root.get("patches").list(), *root.get("patchesJson6902").list()):
            inline = entry.get("patch")
            for patch in self._patch(folder, inline or entry.get("path"), inline=bool(inline)):
                target = entry.get("target")
                if isinstance(patch.value, list):
                    objects = [self._operated(node, patch, target) for node in objects]
                else:
                    objects = self._strategic(objects, patch, target if target.value else None)
        return objects

    def _operated(self, node: Node, patch: Node, target: Node) -> Node:
        self.spend(target.value)
        if not _targeted(node, target):
            return node
        for operation in patch.list():
            self.spend(node.value)
            node = json_patch(node, operation)
        return node

    def _strategic(self, objects: list[Node], patch: Node, target: Node | None) -> list[Node]:
        """Objects with a patch merged into those that it means: the target's, else the one of its own kind and name."""
        result = []
        for node in objects:
            self.spend(target.value if target else None)
            meant = _same(node, patch) if target is None else _targeted(node, target)
            if meant:
                self.spend(node.value, patch.value)
            merged = strategic(node, _anonymous(patch) if target is not None else patch) if meant else node
            if merged is not None:
                result.append(merged)
        return result

    def _patch(self, folder: str, node: Node, *, inline: bool) -> list[Node]:
        path = within(folder, node.text)
        return list(node.parsed()) if inline else self.documents(path) if path else []

    def _replaced(self, folder: str, root: Node, objects: list[Node]) -> list[Node]:
        """`replacements`: what their targets hold is another object's to say, and not followed."""
        for entry in root.get("replacements").list():
            path = within(folder, entry.get("path").text)
            for rule in [entry] if entry.get("targets") else self.documents(path) if path else []:
                source = rule.get("source")
                text = "{{ " + f"{source.get('kind').text}/{source.get('name').text}" + " }}"
                value = Node(source.document, source.keys, text, source.inside)
                for target in rule.get("targets").list():
                    self.spend(target.value, *(node.value for node in objects))
                    paths = [list(steps(node.text)) for node in target.get("fieldPaths").list()]
                    objects = [
                        _filled(node, paths, value) if _targeted(node, target.get("select")) else node
                        for node in objects
                    ]
        return objects


def _filled(node: Node, paths: list[list[str | tuple[str, str]]], value: Node) -> Node:
    for path in paths:
        node = replaced(node, path, value)
    return node


def _folder(path: str) -> str:
    return "" if path == "." else path


def _named(folder: str, root: Node, *keys: str) -> Iterator[str]:
    names = (node.text for key in keys for node in root.get(key).list())
    return (path for name in names if (path := within(folder, name)) is not None)


def _listed(node: Node) -> Iterator[Node]:
    """An object, or those of a list of them."""
    if node.get("kind").text.endswith("List") and isinstance(node.get("items").value, list):
        yield from node.get("items").list()
    else:
        yield node


def _plain(path: str, text: str) -> Document:
    """A file that is one text."""
    return Document(path, "text", text, "", Parsed([text], dict))


def _anonymous(patch: Node) -> Node:
    """A patch for a target, whose own kind and name say nothing."""
    return made(patch, {key: node for key, node in patch.items() if key not in ("apiVersion", "kind")})


def _same(node: Node, patch: Node) -> bool:
    keys = (("kind",), ("metadata", "name"))
    return all(node.get(*key).text == patch.get(*key).text for key in keys)


def _targeted(node: Node, target: Node) -> bool:
    """Whether a target's selector chooses an object: kind, name and the like are whole regular expressions."""
    group, _, version = node.get("apiVersion").text.rpartition("/")
    asked = {
        "kind": node.get("kind").text,
        "name": node.get("metadata", "name").text,
        "group": group,
        "version": version,
    }
    if any(want.text and not _matches(want.text, asked[key]) for key in asked if (want := target.get(key))):
        return False
    for key, labels in (("labelSelector", "labels"), ("annotationSelector", "annotations")):
        for part in filter(None, target.get(key).text.split(",")):
            name, equals, value = part.partition("=")
            if not equals or name.endswith("!"):
                raise UnmergeableError(f"`{key}: {part}`")
            if node.get("metadata", labels, name.strip()).text != value.lstrip("=").strip():
                return False
    return True


def _matches(pattern: str, text: str) -> bool:
    """A name, `.*`, `llama-.*`, `a|b`. What else is a regular expression is not run: it is the repository's own."""
    if not re.fullmatch(r"[\w./|*-]*", pattern):
        raise UnmergeableError(f"the selector `{pattern}`")
    return any(_like(part, text) for part in pattern.split("|"))


def _like(part: str, text: str) -> bool:
    before, star, after = part.partition(".*")
    if ".*" in after or "*" in before + after:
        raise UnmergeableError(f"the selector `{part}`")
    if not star:
        return part == text
    return text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)


def overlaid(facts: Facts, read: Callable[[str], bytes | None]) -> Facts:
    """The facts with what overlays deploy in the place of what their bases and patches say by themselves."""
    if not facts.of(Kustomization):
        return facts
    builder = _Builder(facts, read)
    said: list[Said] = [*facts.of(Launch), *facts.of(Texts)]
    known = [fact for fact in said if fact.form not in _OTHERS]
    objects = [fact for fact in facts.of(Manifest) if fact.form == KUBERNETES and not fact.overlay]
    speaking = {fact.at.path for fact in (*known, *objects) if isinstance(fact, Launch | Manifest)}
    gone: set[str] = set()
    built: list[tuple[str, list[Said]]] = []
    for root in builder.roots():
        files = builder.files(root)
        if not files & speaking:
            continue
        try:
            found = builder.objects(root)
        except (UnmergeableError, RecursionError):
            continue  # what the files say by themselves stands
        gone |= {path for path in files if not _alone(path, builder)}
        built.append((root, found))
        patches = _patches(builder, root)
        lacking = [fact for fact in known if isinstance(fact, Launch) and fact.at.path in patches] if patches else []
        if base := builder.remote(root):
            built.append((root, [_elsewhere(fact, base) for fact in lacking if not _met(fact, found)]))
    old = [fact for fact in known if fact.at.path in gone]
    facts = facts.replacing(old, _told_apart(built, known, gone))
    return facts.replacing(objects, _objects(objects, built, gone))


def _objects(own: list[Manifest], built: list[tuple[str, list[Said]]], gone: set[str]) -> list[Manifest]:
    """The objects of files that can be applied as they are, and those of each build; the same object once."""
    alone = [one for one in own if one.at.path not in gone]
    return once([*alone, *(fact for _, found in built for fact in found if isinstance(fact, Manifest))])


def _alone(path: str, builder: _Builder) -> bool:
    """Whether a file is no part of an overlay's own folders: it can be applied as it is, and is judged so as well."""
    folder = posixpath.dirname(path)
    while folder and folder not in builder.folders:
        folder = posixpath.dirname(folder)
    return folder not in builder.folders


def _patches(builder: _Builder, root: str) -> frozenset[str]:
    fact = builder.folders.get(root)
    return frozenset(fact.patches) if fact else frozenset()


def _met(patch: Launch, found: list[Said]) -> bool:
    return any(isinstance(fact, Launch) and fact.name == patch.name for fact in found)


def _elsewhere(patch: Launch, base: str) -> Launch:
    """A patch whose object stands elsewhere: which model it serves, nobody can say here."""
    return replace(patch, given={**patch.given, "model": Word(base, patch.at, known=False)})


def _told_apart(built: list[tuple[str, list[Said]]], known: list[Said], gone: set[str]) -> list[Said]:
    """Each fact once; those of one place and name that differ are told apart by their overlay's folder.

    A pattern that others name (KServe's runtimes) cannot be several: then it is what its own file says.
    """
    result: list[tuple[str, Said]] = []
    by_place: dict[tuple[Location, str], list[Said]] = {}
    for fact in known:
        if fact.at.path not in gone:
            by_place.setdefault((fact.at, fact.name), []).append(fact)
    for root, found in built:
        for fact in found:
            same = by_place.setdefault((fact.at, fact.name), [])
            if not isinstance(fact, Manifest) and fact not in same:
                same.append(fact)
                result.append((root, fact))
    several = {place for place, same in by_place.items() if len(same) > 1}
    own = {(fact.at, fact.name): fact for fact in known}
    patterns = {(f.at, f.name): own.get((f.at, f.name), f) for _, f in result if isinstance(f, Launch) and f.runtime}
    kept: list[Said] = [fact for place, fact in patterns.items() if place in several and fact.at.path in gone]
    for root, fact in result:
        place = (fact.at, fact.name)
        if place not in several or not isinstance(fact, Launch):
            kept.append(fact)
        elif not fact.runtime:
            kept.append(replace(fact, name=_told(fact.name, root)))
    return kept


def _told(name: str, root: str) -> str:
    """`Deployment/llama/server` of an overlay: the object is told apart, its kind and its part stand as they were."""
    kind, slash, rest = name.partition("/")
    inner, part, container = rest.partition("/")
    return f"{kind}{slash}{inner} ({root or '.'}){part}{container}"
