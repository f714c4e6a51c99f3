"""The vocabulary: what a repository says, each fact with the place that says it.

A fact is a frozen dataclass with `.at`. A value that is absent is None; one that is written but not knowable
(`${VAR}`, `{{ … }}`) is `Unknown`, so that no check mistakes it for a literal, or for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from vramguard.facts.charts import HelmChart, HelmKey, HelmRelease, HelmUnread, HelmUnrendered, Kustomization, Subchart
from vramguard.facts.code import CodeFact
from vramguard.facts.datafiles import DataFile
from vramguard.facts.fields import ModuleNames, NumberField, ResponseModel, SchemaClass
from vramguard.facts.imaging import DebugSetting, Recipe, ScriptText
from vramguard.facts.launches import Deployment, Hardware, Launch, Texts
from vramguard.facts.manifests import Manifest
from vramguard.facts.models import (
    Artefact,
    Certificate,
    LockedModel,
    LockedTensor,
    ModelConfig,
    ModelMissing,
    WeightFile,
    WeightIndex,
)
from vramguard.facts.outputs import KnownCall
from vramguard.facts.packages import (
    Action,
    Channels,
    Declared,
    Fetch,
    Image,
    Include,
    Install,
    Lock,
    LockedPackage,
    Project,
    Requirement,
    RequirementOption,
    Unaudited,
    Vulnerability,
)
from vramguard.facts.pipelines import CodeOwners, Protection
from vramguard.facts.saves import TrainerSettings
from vramguard.facts.telemetry import PythonMetrics
from vramguard.facts.values import PathClass, Reference, Unknown, Word
from vramguard.source import Location, Unreadable
from vramguard.source.graph import CodeModule
from vramguard.source.program import PythonModule, PythonText, TrainingMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Action",
    "Artefact",
    "Certificate",
    "Channels",
    "CodeModule",
    "CodeOwners",
    "DataFile",
    "DebugSetting",
    "Declared",
    "Deployment",
    "DuplicateKey",
    "Fact",
    "Facts",
    "Fetch",
    "Hardware",
    "HelmChart",
    "HelmKey",
    "HelmRelease",
    "HelmUnread",
    "HelmUnrendered",
    "Image",
    "Include",
    "Install",
    "KnownCall",
    "Kustomization",
    "Launch",
    "Lock",
    "LockedModel",
    "LockedPackage",
    "LockedTensor",
    "Manifest",
    "ModelConfig",
    "ModelMissing",
    "ModuleNames",
    "NumberField",
    "PathClass",
    "Project",
    "Protection",
    "PythonMetrics",
    "PythonModule",
    "PythonText",
    "Recipe",
    "Reference",
    "Requirement",
    "RequirementOption",
    "ResponseModel",
    "SchemaClass",
    "ScriptText",
    "Subchart",
    "Texts",
    "TrainerSettings",
    "TrainingMode",
    "Unaudited",
    "Unknown",
    "Unreadable",
    "Vulnerability",
    "WeightFile",
    "WeightIndex",
    "Word",
]


@dataclass(frozen=True, slots=True)
class DuplicateKey:
    """A key that a file gives twice: readers differ on which one counts."""

    at: Location
    message: str


Fact = (
    Requirement
    | Include
    | Install
    | Fetch
    | Image
    | Action
    | Channels
    | Vulnerability
    | Unaudited
    | RequirementOption
    | Project
    | Lock
    | ModelConfig
    | LockedModel
    | ModelMissing
    | Artefact
    | Certificate
    | WeightFile
    | WeightIndex
    | DataFile
    | Launch
    | Texts
    | Manifest
    | CodeOwners
    | Protection
    | PythonMetrics
    | Recipe
    | DebugSetting
    | ScriptText
    | PythonModule
    | PythonText
    | CodeModule
    | CodeFact
    | KnownCall
    | TrainingMode
    | TrainerSettings
    | NumberField
    | SchemaClass
    | ResponseModel
    | ModuleNames
    | Deployment
    | HelmChart
    | HelmKey
    | HelmRelease
    | HelmUnread
    | HelmUnrendered
    | Kustomization
    | DuplicateKey
    | Unreadable
)
F = TypeVar("F")


class Facts:
    """All facts of one repository, by type, in the order of their places.

    `paths` are all of its files, those that nobody reads included.
    """

    def __init__(
        self,
        facts: Iterable[Fact],
        classify: Callable[[str], PathClass] = lambda _: PathClass.SERVING,
        paths: Iterable[str] = (),
    ) -> None:
        self.paths = frozenset(paths)
        self._by_type: dict[type, list[Any]] = defaultdict(list)
        for fact in facts:
            self._by_type[type(fact)].append(fact)
        for found in self._by_type.values():
            found.sort(key=lambda fact: fact.at)
        self.classify = classify
        self._joined: dict[str, Any] = {}

    def once(self, name: str, join: Callable[[Facts], F]) -> F:
        """A joined view of these facts, made when it is first asked for."""
        if name not in self._joined:
            self._joined[name] = join(self)
        found: F = self._joined[name]
        return found

    def of(self, kind: type[F]) -> list[F]:
        """Every fact of this type, sorted by place."""
        return self._by_type[kind]

    def __iter__(self) -> Iterator[Fact]:
        return iter(sorted((fact for found in self._by_type.values() for fact in found), key=lambda fact: fact.at))

    def adding(self, more: Iterable[Fact]) -> Facts:
        """These facts and others, which were made of them."""
        return Facts([*(fact for found in self._by_type.values() for fact in found), *more], self.classify, self.paths)

    def replacing(self, old: Iterable[Fact], new: Iterable[Fact]) -> Facts:
        """These facts with others in the place of some of them."""
        gone = {id(fact) for fact in old}
        kept = (fact for found in self._by_type.values() for fact in found if id(fact) not in gone)
        return Facts([*kept, *new], self.classify, self.paths)
