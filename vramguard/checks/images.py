"""Demand 1: container images and the code of pipelines, each at a digest."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, weight
from vramguard.facts import Action, Image, PathClass, Unknown
from vramguard.link.images import grade, images, plain, written
from vramguard.link.peers import configured

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Facts
    from vramguard.source import Location

_PIPELINES = ("workflow", "tekton", "shell", "makefile")
_SHOWN = 5  # places of one finding that are shown beside the first


@check("unpinned-image")
@dataclass(frozen=True)
class UnpinnedImage:
    """An image without a digest, in any file that names one.

    One finding for each image of a file, at its first place. Stages, `scratch` and images that the repository builds
    have no digest to write. A fixed tag weighs `tagged`; a name that something else fills in weighs `unknown`; what is
    started by one of the forms of `pipelines` weighs `elsewhere`, since it serves no customer.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    tagged: Severity = Severity.ERROR
    unknown: Severity = Severity.WARNING
    pipelines: tuple[str, ...] = _PIPELINES
    elsewhere: Severity = Severity.WARNING

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each image of each file."""
        groups: dict[tuple[str, str], list[Image]] = defaultdict(list)
        for image in images(facts):
            if image.pinned is not True and image.pinned is not None:
                groups[image.at.path, written(image)].append(image)
        for (path, text), group in groups.items():
            judged, weaker = weight(self, facts, path)
            if judged:
                values = {"image": text, "reason": group[0].reason, "exact": _exact(group[0]), "more": _more(group)}
                values["keys"] = _keys(group[0])
                aside = self.elsewhere if group[0].form in self.pipelines else None
                severity = min(filter(None, (weaker, aside, self._severity(group[0]))), default=None)
                yield Problem(group[0].at, values, _others(group), severity, len(group), subject=text)

    def _severity(self, image: Image) -> Severity | None:
        return {"tagged": self.tagged, "unknown": self.unknown}.get(grade(image))


def _exact(image: Image) -> str:
    """How the image would read if it were exact, with the one word left to fill in set in capitals."""
    if image.form == "helm" and ":" not in image.name.rpartition("/")[2] and image.tag is None:
        return "digest: sha256:DIGEST"
    tag = image.tag.text if isinstance(image.tag, Unknown) else image.tag
    return f"{image.name}{f':{tag}' if tag else ''}@sha256:DIGEST"


def _keys(image: Image) -> str:
    """Where a digest goes in a file that has a key of its own for it."""
    if image.use.startswith("replaces "):
        return " In a kustomization it is `digest:` in the place of `newTag:`."
    return " In a chart's values it is the key `digest` beside `repository`." if image.form == "helm" else ""


def _more(group: Sequence[Image | Action]) -> str:
    return f" ({len(group)} times in this file)" if len(group) > 1 else ""


def _others(group: Sequence[Image | Action]) -> tuple[Evidence, ...]:
    return tuple(Evidence(item.at, "and here") for item in group[1 : 1 + _SHOWN])


@check("unpinned-action")
@dataclass(frozen=True)
class UnpinnedAction:
    """Code of another repository that a pipeline runs at a branch or a tag.

    Nothing is said where one of `quiet_with` is set up: it judges the same. `trusted`: names, or owners as `actions/`,
    that may stay at a tag. `forms`: workflow, action, pre-commit.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    forms: tuple[str, ...] = ("workflow",)
    quiet_with: tuple[str, ...] = ("zizmor",)
    trusted: tuple[str, ...] = ()

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each action of each file."""
        if any(configured(facts, tool) for tool in self.quiet_with):
            return
        groups: dict[tuple[str, str], list[Action]] = defaultdict(list)
        for action in facts.of(Action):
            if action.form in self.forms and self._is_open(action):
                groups[action.at.path, _called(action)].append(action)
        for (path, text), group in groups.items():
            judged, weaker = weight(self, facts, path)
            if judged:
                values = {"action": text, "name": group[0].name, "reason": group[0].reason, "more": _more(group)}
                yield Problem(group[0].at, values, _others(group), weaker, len(group), subject=text)

    def _is_open(self, action: Action) -> bool:
        trusted = any(
            action.name == name or (name[-1:] == "/" and action.name.startswith(name)) for name in self.trusted
        )
        return action.pinned is not True and action.pinned is not None and not trusted


def _called(action: Action) -> str:
    reference = action.reference.text if isinstance(action.reference, Unknown) else action.reference
    return action.name if reference is None else f"{action.name}@{reference}"


class _Claim(NamedTuple):
    """That a digest or a commit is a version: by a tag beside it, or by the comment behind it."""

    at: Location
    name: str
    digest: str
    version: str  # as written


_VERSION = re.compile(r"(?<![\w.])v?([0-9]{1,5}(?:\.[0-9]{1,6}){0,3})(?![0-9])([\w.+-]{0,60})")
_OURS = re.compile(r"(?:vramguard|zizmor|noqa|nosec|checkov|yamllint)\b", re.IGNORECASE)
_FULL = 3  # parts of a version that names one release: v4 and v4.2 move on purpose


@check("digest-comment-mismatch")
@dataclass(frozen=True)
class DigestCommentMismatch:
    """A digest or a commit whose version, by its tag or its comment, another place of the repository contradicts.

    Only what the repository itself says is compared: v4 and v4.2.2 agree, v4.2.1 and v4.2.2 do not.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each place that contradicts the first of its kind, or itself."""
        claims = [*_of_actions(facts), *_of_images(facts)]
        for claim, other, what in (*_within(facts), *_versions(claims), *_digests(claims)):
            judged, severity = weight(self, facts, claim.at.path)
            if judged:
                evidence = (Evidence(other.at, f"{other.version} here"),) if other.at != claim.at else ()
                values = {"name": claim.name, "what": what}
                yield Problem(claim.at, values, evidence, severity, subject=f"{claim.name};{claim.digest}")


def _of_actions(facts: Facts) -> Iterator[_Claim]:
    for action in facts.of(Action):
        if action.pinned is True and isinstance(action.reference, str) and (version := _said(action.comment)):
            yield _Claim(action.at, "/".join(action.name.lower().split("/")[:2]), action.reference, version)


def _of_images(facts: Facts) -> Iterator[_Claim]:
    for image in images(facts):
        tag = image.tag if isinstance(image.tag, str) and re.match(r"v?[0-9]+\.[0-9]", image.tag) else None
        version = tag or _said(image.comment)
        if image.pinned is True and isinstance(image.digest, str) and version:
            yield _Claim(image.at, plain(image.name), image.digest, version)


def _said(comment: str) -> str | None:
    """The version that a comment names, if it names one."""
    found = [] if _OURS.match(comment) else list(_VERSION.finditer(comment))
    return found[0][0] if len(found) == 1 else None


def _within(facts: Facts) -> Iterator[tuple[_Claim, _Claim, str]]:
    """Images whose comment contradicts the tag beside it."""
    for image in images(facts):
        version = _said(image.comment) if image.pinned is True else None
        if version and isinstance(image.tag, str) and isinstance(image.digest, str) and _differ(image.tag, version):
            claim = _Claim(image.at, plain(image.name), image.digest, image.tag)
            yield claim, claim, f"its tag is {image.tag}, and the comment behind it says {version}"


def _versions(claims: list[_Claim]) -> Iterator[tuple[_Claim, _Claim, str]]:
    """One digest under two versions."""
    first: dict[tuple[str, str], _Claim] = {}
    for claim in claims:
        other = first.setdefault((claim.name, claim.digest), claim)
        if _differ(claim.version, other.version):
            yield claim, other, f"{_short(claim.digest)} is {claim.version} here and {other.version} in {_place(other)}"


def _digests(claims: list[_Claim]) -> Iterator[tuple[_Claim, _Claim, str]]:
    """One release under two digests."""
    first: dict[tuple[str, str], _Claim] = {}
    for claim in claims:
        numbers = _numbers(claim.version)
        if numbers is None or len(numbers) < _FULL:
            continue
        other = first.setdefault((claim.name, claim.version.removeprefix("v")), claim)
        if other.digest != claim.digest:
            here, there = _short(claim.digest), _short(other.digest)
            yield claim, other, f"{claim.version} is {here} here and {there} in {_place(other)}"


def _differ(one: str, two: str) -> bool:
    """Whether two versions cannot be the same release: 4.2 may be 4.2.2, and 4.3 may not."""
    a, b = _numbers(one), _numbers(two)
    return a is not None and b is not None and any(x != y for x, y in zip(a, b, strict=False))


def _numbers(version: str) -> tuple[int, ...] | None:
    match = _VERSION.match(version)
    return tuple(map(int, match[1].split("."))) if match else None


def _short(digest: str) -> str:
    return f"`{digest[: digest.find(':') + 13]}`"


def _place(claim: _Claim) -> str:
    return f"{claim.at.path}:{claim.at.line}"
