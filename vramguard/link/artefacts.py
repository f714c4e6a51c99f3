"""Models, data sets and code that Python takes from elsewhere by name: which, at which revision, and whether trusted.

A name counts only where the repository's text tells it, and where it can be no path: constants, defaults, joined paths
and settings are followed as for deployments. What is already a deployment is left to that.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vramguard import data
from vramguard.extract.declaration import commit
from vramguard.facts import Artefact, Deployment, PythonModule, Unknown
from vramguard.link.loading import LAST, OLD, OLD_DATA, TOKENIZERS, loader_of
from vramguard.link.names import on_hub
from vramguard.link.python import origin_of, read
from vramguard.link.python.fields import Arguments, flag, text
from vramguard.link.python.names import Repository
from vramguard.link.python.values import Reader
from vramguard.source.expression import dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.loading import Loader
    from vramguard.source import Location
    from vramguard.source.program import Called

_REGISTERED: Final = re.compile(r"models:/{1,3}([^/@\s]{1,200})(?:/([^/@\s]{1,200})|@([^/@\s]{1,200}))/?")
_TIMM: Final = re.compile(r"(?:hf-hub|hf_hub):([^@\s]{1,200})(?:@(\S{1,200}))?")
_TORCH_HUB: Final = re.compile(r"([\w.-]{1,100}/[\w.-]{1,100})(?::(\S{1,200}))?")
_FETCHES: Final = "HuggingFaceModel"  # BentoML's, which fetches a model into its store
_SAVED: Final = re.compile(r"/(?:checkpoint(?:-\d+)?|final(?:_checkpoint|_model)?|best(?:_model)?|merged(?:_model)?)\Z")
_FILE: Final = re.compile(r"\.(?:json|jsonl|csv|parquet|txt|py|pt|pth|bin|gguf|safetensors|zip|tar|gz)\Z")


@lru_cache(maxsize=4)  # Facts are compared by identity
def artefacts(facts: Facts) -> tuple[Artefact, ...]:
    """Everything that is taken from elsewhere by a name that the repository tells, in the order of its place."""
    stated = [one for one in facts.of(Artefact) if one.source != "hub" or named_on_hub(one, facts)]
    if not facts.of(PythonModule):  # of the other texts none is parsed then
        return tuple(stated)
    known = {deployment.at for deployment in facts.of(Deployment) if deployment.form == "python"}
    called = list(_called(facts))
    given = _given(one for _, one in called)
    found = [_with_revision(one, given) for place, one in called if place not in known]
    return tuple(sorted([*stated, *found], key=lambda one: one.at))


@lru_cache(maxsize=4)
def downloaded(facts: Facts) -> Mapping[tuple[str, str], str | Unknown | None]:
    """The revisions of what BentoML fetches when it builds, by path and name: whoever loads it gets its folder."""
    return _given(artefacts(facts))


def _given(found: Iterable[Artefact]) -> dict[tuple[str, str], str | Unknown | None]:
    return {(one.at.path, str(one.name).casefold()): one.revision for one in found if one.loader == _FETCHES}


def _with_revision(found: Artefact, given: Mapping[tuple[str, str], str | Unknown | None]) -> Artefact:
    """What is loaded from the folder that BentoML has fetched is at the revision that was fetched."""
    revision = given.get((found.at.path, str(found.name).casefold()))
    return found if found.revision is not None or revision is None else replace(found, revision=revision)


def _called(facts: Facts) -> Iterator[tuple[Location, Artefact]]:
    """What Python loads, each with the place of its call."""
    repository = Repository(facts)
    for module in repository.every.values():
        aliases = {one.name: one.attribute for one in module.imports if one.attribute}
        for one in module.calls if module.loads else ():
            last = dotted(one.call.function).rpartition(".")[2]
            if not LAST.fullmatch(aliases.get(last, last)):
                continue
            origin = origin_of(Reader(repository), module, one)
            loader = None if origin is None else loader_of(origin)
            if origin is None or loader is None:
                continue
            found = _loaded(_read(repository, module, one, loader), loader, origin)
            if found is not None and (found.source != "hub" or named_on_hub(found, facts)):
                yield module.place(one.call), found


def _read(repository: Repository, module: PythonModule, one: Called, loader: Loader) -> Arguments:
    arguments = Arguments(Reader(repository), module, one, {}, {})
    read(arguments, loader.positional)
    for key in ("model_kwargs", "config_kwargs"):  # what a wrapper hands on
        held = arguments.values.get(key)
        for name, value in held.items() if isinstance(held, dict) else ():
            arguments.values.setdefault(str(name), value)
            arguments.places.setdefault(str(name), arguments.places[key])
    return arguments


def _loaded(arguments: Arguments, loader: Loader, origin: str) -> Artefact | None:
    """What a call loads; None where its name is not told, or it says itself that it is a folder."""
    value, at = arguments.take(*loader.named)
    name = text(value)
    if not isinstance(name, str) or at is None or arguments.values.get("local_files_only") is True:
        return None
    revision, revision_at = arguments.take("revision")
    trusted, trusted_at = arguments.take("trust_remote_code")
    spread = arguments.values.get("**")
    return _SOURCES.get(loader.source, _as_it_is)(
        Artefact(
            at=at,
            kind=_kind(loader, origin, arguments),
            form="python",
            name=name,
            revision=Unknown("**") if revision is None and isinstance(spread, Unknown) else text(revision),
            loader=".".join(origin.split(".")[-2:]) if "from_pretrained" in origin else origin.rpartition(".")[2],
            source=loader.source,
            trusted=flag(trusted),
            code_revision=text(arguments.take("code_revision")[0]),
            revision_at=revision_at,
            trusted_at=trusted_at,
        ),
        arguments,
    )


def _kind(loader: Loader, origin: str, arguments: Arguments) -> str:
    if arguments.values.get("repo_type") in ("dataset", "space"):
        return "dataset" if arguments.values["repo_type"] == "dataset" else "code"
    owner = origin.split(".")[-2] if "." in origin else ""
    return "tokenizer" if loader.kind == "model" and TOKENIZERS.match(owner) else loader.kind


def _as_it_is(found: Artefact, _: Arguments) -> Artefact | None:
    return found


def _of_timm(found: Artefact, _: Arguments) -> Artefact | None:
    """`hf-hub:owner/name@revision`; other names are timm's own, whose files it checks by hash."""
    match = _TIMM.fullmatch(str(found.name))
    return None if match is None else replace(found, name=match[1], revision=match[2], source="hub")


def _of_torch(found: Artefact, arguments: Arguments) -> Artefact | None:
    """`owner/name:ref` of GitHub; a folder, with `source="local"`."""
    match = _TORCH_HUB.fullmatch(str(found.name))
    local = arguments.values.get("source", "github") != "github"
    return None if match is None or local else replace(found, name=match[1], revision=match[2])


def _of_mlflow(found: Artefact, _: Arguments) -> Artefact | None:
    match = _REGISTERED.fullmatch(str(found.name))
    return None if match is None else replace(found, revision=match[2] or f"@{match[3]}")


_SOURCES: Final[dict[str, Callable[[Artefact, Arguments], Artefact | None]]] = {
    "timm": _of_timm, "torch-hub": _of_torch, "mlflow": _of_mlflow,
}  # fmt: skip


def named_on_hub(found: Artefact, facts: Facts) -> bool:
    """Whether an artefact is one of the hub: no path of the machine or of this repository, and no single word that
    nobody knows there.
    """
    if not isinstance(found.name, str):
        return False
    named = on_hub(Deployment(found.at, declared=False, model=found.name), facts)
    if named is None:
        return False
    if "/" in named.model:
        return _FILE.search(named.model) is None and _SAVED.search(named.model) is None
    if found.kind == "dataset":
        return named.model in OLD_DATA
    return OLD.fullmatch(named.model) is not None or data.model(named.model) is not None


def loose(found: Artefact) -> str:
    """Why what an artefact names may be another thing tomorrow; "" where it may not, and where nobody can tell."""
    if isinstance(found.revision, Unknown):
        return ""
    if found.source == "mlflow":
        return _of_registry(found.revision or "")
    if found.source == "bucket":
        return "`latest` is a folder that somebody fills anew"
    return commit(found.revision)


def _of_registry(version: str) -> str:
    if version.isdecimal():
        return ""
    if version == "latest":
        return "`latest` is whichever version is the newest that day"
    kind = "an alias" if version.startswith("@") else "a stage"
    return f"`{version}` is {kind}, which can be given to another version"


def code_is_loose(trusted: object, revision: object, code_revision: object) -> bool:
    """Whether code is run that its owner may change: asked for, and at no full commit that the text tells."""
    if trusted is not True:
        return False
    given = [value for value in (revision, code_revision) if value is not None]
    return not any(isinstance(value, Unknown) or not commit(str(value)) for value in given)
