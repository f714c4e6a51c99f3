"""What was read, fact by fact: `vramguard.facts/1` for programs, a list of places for people."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Final

from vramguard.extract.masking import masked_within
from vramguard.facts import (
    Certificate,
    CodeModule,
    Deployment,
    HelmChart,
    HelmKey,
    HelmRelease,
    HelmUnread,
    HelmUnrendered,
    Kustomization,
    Launch,
    Lock,
    LockedModel,
    Manifest,
    ModelConfig,
    ModuleNames,
    Project,
    PythonModule,
    PythonText,
    Recipe,
    ScriptText,
    Texts,
    Unknown,
    WeightFile,
    WeightIndex,
)
from vramguard.report import Context
from vramguard.report.escape import plain, to_json
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.console import Console

    from vramguard.facts import Fact

_OTHERWISE: Final = {"kind": "sort", "path": "route"}
SCHEMA: Final = "vramguard.facts/1"
_CHARTS: Final = (HelmChart, HelmKey, HelmRelease, HelmUnread, HelmUnrendered, Kustomization)
_MEANS: Final = (
    Launch,
    Texts,
    Manifest,
    PythonModule,
    PythonText,
    CodeModule,
    ModuleNames,
    Recipe,
    ScriptText,
    *_CHARTS,
)  # what deployments, surfaces and images are made of: said in theirs, by the name of its place


def render(facts: Iterable[Fact], prefix: str = "") -> str:
    """The facts as JSON."""
    return to_json(as_json(facts, prefix))


def as_json(facts: Iterable[Fact], prefix: str = "") -> dict[str, Any]:
    """The facts in JSON's types. Absent is null, written but not knowable is {"unknown": as written}."""
    context = Context(prefix=prefix)
    return {"schema": SCHEMA, "facts": [_entry(fact, context) for fact in facts if not isinstance(fact, _MEANS)]}


def _entry(fact: Fact, context: Context) -> dict[str, Any]:
    fields = _SHORTENED[type(fact)](fact, context) if type(fact) in _SHORTENED else _said(fact, context)
    at = fact.at
    return {
        "kind": kind(fact),
        "path": context.path(at.path),
        "line": at.line,
        "column": at.column,
        **masked_within(plain(fields)),
    }


def kind(fact: Fact) -> str:
    """The fact's type in words joined by dashes: `model-config`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(fact).__name__).lower()


def _fields(fact: Fact, *without: str) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(fact) if field.name not in ("at", *without)]
    return {name: getattr(fact, name) for name in names}


def _said(fact: Fact, context: Context) -> dict[str, Any]:
    """The fields of a fact, places in them as places; one that has the name of a key of every entry goes by another."""
    return {_OTHERWISE.get(name, name): _shown(value, context) for name, value in _fields(fact).items()}


def _shown(value: object, context: Context) -> object:
    if isinstance(value, Location):
        return _place(value, context)
    if isinstance(value, tuple):
        return [_shown(inner, context) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type | Unknown):
        return {field.name: _shown(getattr(value, field.name), context) for field in dataclasses.fields(value)}
    return value


def _project(fact: Project, _: Context) -> Mapping[str, Any]:
    return _fields(fact, "content_hash", "declared")


def _lock(fact: Lock, _: Context) -> Mapping[str, Any]:
    """A lock with the number of its packages: of those, how many have a hash, and how many can have none."""
    packages = fact.packages
    return {
        "form": fact.form,
        "packages": len(packages),
        "hashed": sum(bool(package.hashes) for package in packages),
        "local": sum(package.local is not None for package in packages),
        "content_hash": fact.content_hash,
    }


def _model_config(fact: ModelConfig, _: Context) -> Mapping[str, Any]:
    said = {name: fact.config.get(name) for name in ("model_type", "architectures")}
    elsewhere = {"model": fact.model, "origin": fact.origin, "source": fact.source} if fact.model else {}
    return {**said, "sha256": fact.sha256, **elsewhere}


def _locked_model(fact: LockedModel, _: Context) -> Mapping[str, Any]:
    """A row of the lock of models, with the type of its config instead of the whole."""
    tensors = None if fact.tensors is None else len(fact.tensors)
    model_type = None if fact.config is None else fact.config.get("model_type")
    return {**_fields(fact, "config", "index_sha256"), "model_type": model_type, "tensors": tensors}


def _weight_file(fact: WeightFile, _: Context) -> Mapping[str, Any]:
    """A file of weights with the number of its tensors, and its bytes by their type."""
    dtypes: dict[str, int] = {}
    for tensor in fact.tensors:
        dtypes[tensor.dtype] = dtypes.get(tensor.dtype, 0) + tensor.bytes
    counts = {"tensors": len(fact.tensors), "parameters": fact.parameters, "bytes": fact.bytes}
    architecture = fact.values.get("general.architecture")
    return {"format": fact.format, "architecture": architecture, **counts, "bytes_by_dtype": dtypes}


def _weight_index(fact: WeightIndex, _: Context) -> Mapping[str, Any]:
    counts = {"tensors": len(fact.files), "files": len(set(fact.files.values()))}
    return {**counts, "total_size": fact.total_size, "total_parameters": fact.total_parameters}


def _certificate(fact: Certificate, _: Context) -> Mapping[str, Any]:
    return {"bytes": len(fact.text)}


def _deployment(fact: Deployment, context: Context) -> Mapping[str, Any]:
    config = context.path(fact.config) if fact.config is not None else None
    at = {name: _place(place, context) for name, place in fact.places.items()}
    return {**_fields(fact, "places"), "config": config, "at": at}


def _place(at: Location, context: Context) -> dict[str, Any]:
    return {"path": context.path(at.path), "line": at.line, "column": at.column}


_SHORTENED: Final[dict[type, Callable[[Any, Context], Mapping[str, Any]]]] = {
    Project: _project,
    Lock: _lock,
    ModelConfig: _model_config,
    LockedModel: _locked_model,
    WeightFile: _weight_file,
    WeightIndex: _weight_index,
    Certificate: _certificate,
    Deployment: _deployment,
}
_SILENT: Final = ("kind", "path", "line", "column", "at", "sha256")


def print_facts(facts: Iterable[Fact], prefix: str, console: Console) -> None:
    """A paragraph for each fact: its place, its kind, and what it says."""
    from vramguard.report.page import Page

    out = Page(console)
    counts: dict[str, int] = {}
    for entry in as_json(facts, prefix)["facts"]:
        counts[entry["kind"]] = counts.get(entry["kind"], 0) + 1
        out.line((f"{entry['path']}:{entry['line']}:{entry['column']}", "bold"), f": {entry['kind']}")
        said = [f"{name} {_word(value)}" for name, value in entry.items() if _is_said(name, value)]
        out.write("; ".join(said), indent=4)
    if not counts:
        out.write(f"nothing to read in {prefix or '.'}")
        return
    out.blank()
    out.write("vramguard: ", ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items())))


def _is_said(name: str, value: object) -> bool:
    """Whether a person wants to read it: not what is absent or empty, and of the flags only those that are judged."""
    absent = value is None or value in ("", [], {}) or (value is False and name not in ("pinned", "hashed"))
    return not absent and name not in _SILENT


def _word(value: object) -> str:
    if isinstance(value, dict) and set(value) == {"unknown"}:
        return f"unknown ({value['unknown']})"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
