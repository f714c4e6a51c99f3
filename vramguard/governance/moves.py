"""The base as it would be had the head's pure renames happened there: a file that only moves brings no new debt."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from vramguard.classes import classifier
from vramguard.discover import matcher
from vramguard.source import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.discover import GitTree, WorkTree
    from vramguard.engine import Policy
    from vramguard.source.heads import Head
    from vramguard.source.sampling import Sample


class Moved:
    """A tree: the base's files, those that the head renames under their new names.

    A rename counts where the bytes are the same and the policy judges both places alike: what moves from a test folder
    to where it is served is new there.
    """

    def __init__(self, base: GitTree, head: WorkTree) -> None:
        self._base = base
        self._head = head
        self._alike: Callable[[str], object] = lambda _: None

    def policy(self, policy: Policy) -> Policy:
        """The base's policy, its deployments following their configs; from here on it says which places are alike."""
        settings = policy.configuration.settings
        classify, excluded = classifier(settings.classes), matcher(settings.exclude)
        waivers = [matcher(waiver.paths) for waiver in settings.waiver]
        self._alike = lambda path: (kind_of(path), classify(path), excluded(path), [waived(path) for waived in waivers])
        new_names = {old: new for new, old in self._old_names.items()}
        deployments = tuple(
            dataclasses.replace(item, config=new_names.get(item.config or "", item.config))
            for item in policy.configuration.deployments
        )
        return dataclasses.replace(
            policy, configuration=dataclasses.replace(policy.configuration, deployments=deployments)
        )

    @cached_property
    def _old_names(self) -> Mapping[str, str]:
        """The base's name of each file that the head moves."""
        before = self._base.paths()
        added = sorted(set(self._head.paths()).difference(before))
        gone: dict[str, list[str]] = {}
        for path in reversed(before) if added else ():
            if not (self._head.root / path).exists():  # git lists what is deleted and not yet staged
                gone.setdefault(self._base.blobs[path], []).append(path)
        found: dict[str, str] = {}
        for path in added if gone else ():
            candidates = gone.get(_blob(self._head, path, len(self._base.commit)), [])
            old = next((old for old in reversed(candidates) if self._alike(old) == self._alike(path)), None)
            if old is not None:
                candidates.remove(old)
                found[path] = old
        return found

    def paths(self) -> list[str]:
        """Every file, under its new name."""
        return sorted({*self._base.paths(), *self._old_names} - {*self._old_names.values()})

    def read(self, path: str) -> bytes | None:
        """A file's bytes as committed in the base."""
        return self._base.read(self._old_names.get(path, path))

    def head(self, path: str) -> Head | None:
        """The header of a file of weights as committed in the base."""
        return self._base.head(self._old_names.get(path, path))

    def sample(self, path: str, kind: str) -> Sample | None:
        """What is read of a file of data as committed in the base."""
        return self._base.sample(self._old_names.get(path, path), kind)


def _blob(tree: WorkTree, path: str, digits: int) -> str:
    try:
        data = tree.read(path)
    except (OSError, ValueError):
        data = None
    return "" if data is None else blob_name(data, digits)


def blob_name(data: bytes, digits: int) -> str:
    """The object name that git gives these bytes: SHA-1 of 40 digits, or SHA-256 of 64."""
    content = b"blob %d\0" % len(data) + data
    if digits == 64:  # noqa: PLR2004 - the digits of SHA-256
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
