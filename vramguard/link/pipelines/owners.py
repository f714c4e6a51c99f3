"""Who owns the files that decide what a model is: weights, data, the configuration of training, our own policy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.discover import is_pattern, matcher
from vramguard.facts import CodeOwners, PathClass
from vramguard.facts.outputs import Step as Evidence
from vramguard.facts.values import UNREAD
from vramguard.link.pipelines import HOSTED, known
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Facts
    from vramguard.facts.pipelines import OwnerRule
    from vramguard.link.pipelines.acts import Act
    from vramguard.link.pipelines.flows import Flows
    from vramguard.link.pipelines.models import Models
    from vramguard.link.pipelines.parts import Job, Pipeline

_MAX_WILDCARDS: Final = 5  # of a pattern
_PLACES: Final = (".github/", "", "docs/", ".gitlab/")  # in the order in which GitHub looks
_KINDS: Final = (
    (
        "weights",
        re.compile(
            r"\.(safetensors|pth?|ckpt|pkl|joblib|onnx|h5|keras|gguf)(\.dvc)?$|(^|/)(vramguard\.lock|dvc\.lock)$|(^|/)models?/[^/]+\.dvc$",
            re.IGNORECASE,
        ),
    ),
    (
        "data",
        re.compile(
            r"\.dvc$|(^|/)dvc\.yaml$|(^|/)(data|datasets?)/([^/]+/)*[^/]+\.(csv|parquet|jsonl|tsv)$", re.IGNORECASE
        ),
    ),
    (
        "the configuration of training",
        re.compile(r"(^|/)(params\.ya?ml|[\w-]*(train|training|finetune|sft|dpo)[\w-]*\.(ya?ml|toml))$", re.IGNORECASE),
    ),
    ("vramguard's own policy", re.compile(r"(^|/)vramguard\.toml$")),
)
_OTHER: Final = re.compile(r"(^|/)\.(github|gitlab|circleci)/|(^|/)(docs?|k8s|charts?|deploy|manifests)/")


# Where a host looks for pipelines of this repository: one in a folder further down is somebody's example.
_HERE: Final = re.compile(r"\.[a-z]+/|[^/]+\Z")


@dataclass(frozen=True, slots=True)
class Unowned:
    """Files of one kind that nobody owns; the first of them, and how many."""

    at: Location
    kind: str
    path: str
    count: int
    steps: tuple[Evidence, ...] = ()


def unowned(flows: Flows, models: Models) -> Iterator[Unowned]:
    """What a CODEOWNERS file leaves out; or that there is none where a model is trained or deployed."""
    facts = flows.facts
    files = {one.at.path: one for one in facts.of(CodeOwners)}
    held = next((files[name] for place in _PLACES if (name := f"{place}CODEOWNERS") in files), None)
    if held is not None:
        if models.any:
            yield from _left_out(facts, held)
    elif "OWNERS" not in facts.paths:
        yield from _without(flows, models)


def _left_out(facts: Facts, held: CodeOwners) -> Iterator[Unowned]:
    rules = [(matcher((rule.pattern,)), rule) for rule in reversed(held.rules) if _is_simple(rule.pattern)]
    for kind, pattern in _KINDS:
        paths = [path for path in sorted(facts.paths) if pattern.search(path) and _counts(facts, kind, path)]
        open_ = [path for path in paths if not _owned(path, rules)]
        if open_:
            yield Unowned(held.at, kind, open_[0], len(open_), (Evidence(Location(open_[0]), "nobody owns it"),))


def _is_simple(pattern: str) -> bool:
    """Whether a person would write the pattern: wildcards by the dozen are aimed at whoever matches them."""
    return len(re.findall(r"\*+", pattern)) <= _MAX_WILDCARDS and is_pattern(pattern)


def _counts(facts: Facts, kind: str, path: str) -> bool:
    if facts.classify(path) in UNREAD:
        return False
    return kind != "the configuration of training" or not _OTHER.search(path)


def _owned(path: str, rules: list[tuple[Callable[[str], bool], OwnerRule]]) -> bool:
    return next((bool(rule.owners) for matches, rule in rules if matches(path)), False)


def _without(flows: Flows, models: Models) -> Iterator[Unowned]:
    """One finding, at the first pipeline that trains or deploys: a forge's, else one of a cluster."""
    hosted = [one for one in flows.all if one.form in HOSTED and _HERE.match(one.at.path)]
    hosted = [one for one in hosted if flows.facts.classify(one.at.path) not in UNREAD]
    by_itself = {one.at.path for one in flows.retraining()}
    found: list[tuple[int, str, Location, str]] = []
    for pipeline in hosted:
        path = pipeline.at.path
        for job, act in _acts(flows, pipeline):
            if act.kind == "train" and act.script and flows.facts.classify(act.script) in _ASIDE:
                continue
            counts = (
                models.concerns(pipeline, job, act)
                if act.kind in ("deploy", "promote", "bump")
                else act.sure or path in by_itself
            )
            rank = _RANKS.get(act.kind) if counts else None
            if rank is not None:
                found.append((rank, path, act.at, _said(act)))
    found = found or list(_named(flows, hosted)) or list(_of_cluster(flows))
    last = () if models.served or models.running else (_RANKS["deploy"], _RANKS["bump"])  # of models that others run
    for _, path, _, at, said in sorted((rank in last, path, rank, at, said) for rank, path, at, said in found)[:1]:
        yield Unowned(Location(path), "", path, 0, (Evidence(at, said),))


_IMAGE: Final = re.compile(r"docker/build-push-action|docker push")  # what is pushed is no trial, whatever its name is
_ASIDE: Final = (*UNREAD, PathClass.EXAMPLE, PathClass.DOCS)
_RANKS: Final = {"train": 1, "promote": 2, "deploy": 3, "bump": 4}


def _acts(flows: Flows, pipeline: Pipeline) -> Iterator[tuple[Job, Act]]:
    kept = any(_IMAGE.match(act.command) for job in pipeline.jobs for act in flows.acts.of(job) if act.kind == "keep")
    for job in pipeline.jobs:
        if kept or not flows.acts.tries(job, pipeline):
            yield from ((job, act) for act in flows.acts.of(job))


def _said(act: Act) -> str:
    return f"`{act.shown}` {'trains' if act.kind == 'train' else 'brings into use'} a model"


def _named(flows: Flows, hosted: list[Pipeline]) -> Iterator[tuple[int, str, Location, str]]:
    """Pipelines that are there for training by their names, of a repository whose code trains."""
    for one in hosted if flows.acts.starts.down else ():
        said = f"{one.name} {one.at.path.rpartition('/')[2]}"
        if known.says("training", said) and not known.says("no-training", said):
            yield 0, one.at.path, one.at, f"`{one.name}` is there for training, as its name says"


def _of_cluster(flows: Flows) -> Iterator[tuple[int, str, Location, str]]:
    """Pipelines of a cluster that run scripts of this repository which train or promote."""
    for pipeline in flows.all:
        shown = flows.facts.classify(pipeline.at.path) in _ASIDE
        for _, act in () if shown or pipeline.form in HOSTED else _acts(flows, pipeline):
            if act.script and (act.kind == "promote" or (act.kind == "train" and act.sure)):
                yield 0, pipeline.at.path, act.at, _said(act)
