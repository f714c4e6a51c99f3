"""Whether what a job deploys is a model of this repository: by the files that it applies, by code, by its words."""

from __future__ import annotations

import posixpath
import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.values import UNREAD
from vramguard.link.cluster import cluster
from vramguard.link.cluster.own import owned
from vramguard.link.code.outputs import answering
from vramguard.link.pipelines import known

if TYPE_CHECKING:
    from vramguard.facts import Facts
    from vramguard.link.pipelines.acts import Act, Acts
    from vramguard.link.pipelines.parts import Job, Pipeline

_FILES: Final = re.compile(
    r"(?:^|\s)(?:-f|-k|--filename|--kustomize|--values|-chdir)[= ]?(\S+)"
    r"|(?:upgrade|install)\b(?: --?\S+)* \S+ (\./\S+|\S+/\S+)"
)


class Models:
    """What a repository has of models."""

    def __init__(self, facts: Facts, acts: Acts) -> None:
        self.facts = facts
        self.acts = acts

    @cached_property
    def served(self) -> frozenset[str]:
        """The files that declare what serves a model."""
        return frozenset(
            one.at.path for one in cluster(self.facts).surfaces if self.facts.classify(one.at.path) not in UNREAD
        )

    @cached_property
    def answers(self) -> frozenset[str]:
        """The files of code that answer with what a model says."""
        return frozenset((*(path for path, _ in answering(self.facts)), *self.running))

    @cached_property
    def running(self) -> frozenset[str]:
        """The files of applications that run a model themselves."""
        return frozenset(path for one in owned(self.facts).modelled for path in one.files)

    @cached_property
    def any(self) -> bool:
        """Whether the repository serves or trains a model at all."""
        return bool(self.served or self.acts.starts.down or self.answers)

    def concerns(self, pipeline: Pipeline, job: Job, act: Act) -> bool:
        """Whether an act brings a model into use."""
        if act.kind == "promote":
            return not act.after or act.after == "push" or self._trained(pipeline, job)
        if act.steps and act.script:
            return True
        applied = self._applied(act)
        if applied is not None:
            return applied
        said = f"{job.key} {job.label} {act.step.name} {act.command} {pipeline.name}"
        own = f"{job.key} {job.label} {act.step.name} {act.command}"
        if known.says("tracking", own) or (known.says("beside", own) and not known.says("model", own)):
            return False
        if known.says("model", f"{said} {' '.join(act.step.env)} {' '.join(act.step.given.values())}"):
            return self.any
        return bool(self.answers) and not known.says("beside", said)

    @staticmethod
    def before(job: Job, act: Act) -> bool:
        """Whether it is said to be of a stage before the one in use: development, a trial, staging."""
        said = f"{job.key} {job.label} {act.step.name}"
        return known.says("staging", said) and not known.says("serving", f"{said} {act.command} {act.step.env}")

    def _trained(self, pipeline: Pipeline, job: Job) -> bool:
        return any(found.kind == "train" for one in (*pipeline.before(job), job) for found in self.acts.of(one))

    def _applied(self, act: Act) -> bool | None:
        """Whether the files that a command applies hold a model's server; None where they are not of the repository."""
        found: list[str] = []
        for match in _FILES.finditer(act.command):
            name = posixpath.normpath((match[1] or match[2] or "").strip("\"'"))
            if name in (".", "-") or "$" in name or name.startswith("http"):
                continue
            found += [path for path in self.facts.paths if path == name or path.startswith(f"{name}/")]
        if not found:
            return None
        return bool(self.served.intersection(found))
