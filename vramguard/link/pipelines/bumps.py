"""Updates that merge themselves: Renovate's `automerge`, and workflows that merge what Dependabot opens.

docs.renovatebot.com/configuration-options, `automerge` and `packageRules` (each matcher narrows, a later rule wins);
docs.github.com, "Automating Dependabot with GitHub Actions".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from vramguard import data
from vramguard.facts import Image, Requirement
from vramguard.facts.outputs import Step as Evidence
from vramguard.facts.values import UNREAD
from vramguard.link.cluster import cluster
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.pipelines.flows import Flows

_IMAGES: Final = frozenset(
    {
        "dockerfile",
        "docker-compose",
        "kubernetes",
        "helm-values",
        "helmv3",
        "kustomize",
        "argocd",
        "flux",
        "docker",
        "helm",
        "regex",
        "custom.regex",
    }
)
_PACKAGES: Final = frozenset(
    {"pip_requirements", "pip_setup", "pip-compile", "pep621", "poetry", "pipenv", "setup-cfg", "pypi", "python"}
)
_NAMES: Final = (
    "matchPackageNames",
    "matchDepNames",
    "matchPackagePatterns",
    "matchDepPatterns",
    "matchPackagePrefixes",
    "packageNames",
    "packagePatterns",
    "matchSourceUrls",
    "matchSourceUrlPrefixes",
)
_ELSE: Final = (
    "matchFileNames",
    "matchPaths",
    "matchBaseBranches",
    "matchRepositories",
    "matchCurrentVersion",
    "matchConfidence",
    "matchJsonata",
)
_PLACES: Final = ("matchManagers", "matchDatasources", "matchCategories", "managers", "datasources")
_TYPES: Final = frozenset({"major", "minor", "patch", "digest", "rollback", "replacement"})
_ECOSYSTEMS: Final = frozenset({"pip", "uv", "docker", "docker-compose", "helm"})
_PRESETS: Final = re.compile(r"(^|:)automerge(All|Minor|Patch|Digest|StableNonMajor|Major)$")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an update would move that a model runs on: an image, a package. `managers`: by which Renovate knows it."""

    name: str
    at: Location
    managers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Merging:
    """Where updates merge themselves, and what of a model's is among them."""

    at: Location
    by: str
    candidate: Candidate
    steps: tuple[Evidence, ...]


def merging(flows: Flows) -> Iterator[Merging]:
    """Every place where an update of what a model runs on merges itself."""
    facts = flows.facts
    held = cluster(facts)
    configured, depend = held.configured("renovate"), held.configured("dependabot")
    if not configured and not depend:
        return
    candidates = _candidates(facts)
    for manifest in configured if candidates else ():
        yield from _renovate(manifest, candidates)
    ecosystems = {
        one.get("package-ecosystem").text for manifest in depend for one in manifest.node.get("updates").list()
    }
    if candidates and ecosystems & _ECOSYSTEMS:
        yield from _merged(flows, [one for one in candidates if _known(one, ecosystems)])


def _known(one: Candidate, ecosystems: set[str]) -> bool:
    return bool(ecosystems & ({"pip", "uv"} if one.managers is _PACKAGES else {"docker", "docker-compose", "helm"}))


def _candidates(facts: Facts) -> list[Candidate]:
    patterns = [re.compile(row["pattern"]) for row in data.load("pipelines")["runs_on"]]
    found: dict[str, Candidate] = {}
    for one in facts.of(Requirement):
        if facts.classify(one.at.path) not in UNREAD and any(
            pattern.fullmatch(one.name.lower()) for pattern in patterns
        ):
            found.setdefault(one.name.lower(), Candidate(one.name, one.at, _PACKAGES))
    for image in facts.of(Image):
        last = image.name.rpartition("/")[2].lower()
        if facts.classify(image.at.path) not in UNREAD and any(pattern.fullmatch(last) for pattern in patterns):
            found.setdefault(image.name, Candidate(image.name, image.at, _IMAGES))
    return list(found.values())


# ---- Renovate


def _renovate(manifest: Manifest, candidates: list[Candidate]) -> Iterator[Merging]:
    root = manifest.node
    rules = list(root.get("packageRules").list())
    wide = _wide(root)
    for one in candidates:
        place, said = wide, "all updates merge themselves"
        for rule in rules:
            if not _matches(rule, one):
                continue
            on = rule.get("automerge")
            if on.text == "true":
                place, said = on, "updates of this rule merge themselves"
            elif on.text == "false":
                place = None
        if place is not None:
            yield Merging(
                place.at, "Renovate", one, (Evidence(place.at, said), Evidence(one.at, f"`{one.name}` is one of them"))
            )
            return


def _wide(root: Node) -> Node | None:
    if root.get("automerge").text == "true":
        return root.get("automerge")
    for kind in ("minor", "patch", "digest", "major"):
        if root.get(kind, "automerge").text == "true":
            return root.get(kind, "automerge")
    return next((one for one in root.get("extends").list() if _PRESETS.search(one.text)), None)


def _matches(rule: Node, one: Candidate) -> bool:
    """Whether a rule is sure to speak of a candidate."""
    if any(rule.get(key) for key in _ELSE) or _is_aside(rule, one):
        return False
    said = [(key, word.text) for key in _NAMES for word in rule.get(key).words()]
    excluded = [("", word.text) for key in _EXCLUDED for word in rule.get(key).words()]
    excluded += [(key, text[1:]) for key, text in said if text.startswith("!")]
    if any(_names(key, text, one) for key, text in excluded):
        return False
    wanted = [(key, text) for key, text in said if not text.startswith("!")]
    return not wanted or any(_names(key, text, one) for key, text in wanted)


_EXCLUDED: Final = ("excludePackageNames", "excludePackagePatterns")
_ASIDE: Final = re.compile(r"dev|test|^action$|^optionalDependencies$")


def _is_aside(rule: Node, one: Candidate) -> bool:
    """Whether a rule is of tools for development, of another kind of update, or of what other managers know."""
    kinds = [word.text for word in rule.get("matchDepTypes").words()]
    if kinds and all(map(_ASIDE.search, kinds)):
        return True
    types = {word.text for word in rule.get("matchUpdateTypes").words()}
    if types and not types & _TYPES:
        return True
    named = [{word.text for word in rule.get(key).words()} for key in _PLACES]
    return any(words and not words & one.managers for words in named)


def _names(key: str, text: str, one: Candidate) -> bool:
    name = one.name.lower()
    if text.startswith("/") and text.rstrip("i").endswith("/"):
        return _part(text.strip("i").strip("/"), name)
    if key.endswith("Patterns"):
        return text in ("*", ".*") or _part(text, name)
    if key.endswith("Prefixes"):
        return name.startswith(text.lower())
    return fnmatchcase(name, text.lower()) or name == text.lower()


def _part(pattern: str, name: str) -> bool:
    """Whether a plain part of a pattern stands in a name; the pattern itself, which is a stranger's, is not run."""
    plain = [part for part in re.split(r"[\^$.*+?()\[\]{}|\\]+", pattern) if len(part) > 2]  # noqa: PLR2004 - says something
    return any(part.lower() in name for part in plain)


# ---- Dependabot


_BOT: Final = re.compile(r"dependabot", re.IGNORECASE)
_NARROW: Final = re.compile(
    r"package-ecosystem|dependency-names|dependency-type\s*==\s*'direct:development'|github[_-]actions"
)


def _merged(flows: Flows, candidates: list[Candidate]) -> Iterator[Merging]:
    for pipeline in flows.all:
        for job in pipeline.jobs:
            for act in flows.acts.of(job):
                names = (pipeline.name, job.key, job.label, job.condition)
                text = " ".join((*names, act.step.condition, act.step.name, act.command))
                if act.kind == "merge" and candidates and _BOT.search(text) and not _NARROW.search(text):
                    one = candidates[0]
                    steps = (
                        Evidence(act.at, f"`{act.shown}` merges what Dependabot opens"),
                        Evidence(one.at, f"`{one.name}` is one of them"),
                    )
                    yield Merging(act.at, "a workflow", one, steps)
