"""Certificates at the command line: one written of what a target names, and one that is judged where it lies."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vramguard import engine, verifier
from vramguard.certificate import CONFIG, DEPLOYMENT, Subject, UncertifiedError, certify, subject_of
from vramguard.checks.certificates import refusals, reproved
from vramguard.discover import WorkTree
from vramguard.facts import Deployment
from vramguard.schema import ConfigError
from vramguard.scope import find_scope
from vramguard.source import Location, kind_of
from vramguard.target import PROOF, Terms, file_of, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.engine import Proven

_LARGEST: Final = 32 << 20  # bytes of a config.json that are read


def certificate_of(target: str, proven: Proven, given: Mapping[str, Any], path: Path) -> bytes:
    """The certificate of a target's proof, to be written to `path`. Raises `ConfigError` where there can be none."""
    file, line = file_of(target)
    if not file.is_file():
        raise ConfigError(f"a certificate is of a config.json or a deployment in a file, and `{target}` is neither")
    here = path.resolve().parent
    of_config = line is None or file.suffix == ".json"
    if of_config and kind_of(file.name) != "json":
        raise ConfigError(f"`{file}` is not called config.json: `check` would not find what the certificate is of")
    config = file if of_config else _config(find_scope([file]).root, proven)
    subject = Subject(
        CONFIG if of_config else DEPLOYMENT,
        _relative(file, here),
        None if config is None else _relative(config, here),
        proven.sha256,
    )
    try:
        return verifier.written(certify(proven.proof, subject, {k: v for k, v in given.items() if v is not None}))
    except UncertifiedError as error:
        raise ConfigError(str(error)) from None


def _config(root: Path, proven: Proven) -> Path | None:
    """The config.json of a proof, where it is a file of the repository."""
    for base in (Path(), root):
        file = base / proven.at.path
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == proven.sha256:
            return file
    return None


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file.resolve(), folder)).as_posix()


def verify(path: Path, terms: Terms, config: Path | None = None) -> tuple[Mapping[str, Any], list[str]]:
    """A certificate, and every reason to refuse it. Raises `ConfigError` for a file that is none.

    `config`: where the model's config.json lies, if not where the certificate says.
    """
    data = _read(path, verifier.MAX_BYTES + 1)
    if data is None:
        raise ConfigError(f"no certificate at `{path}`")
    try:
        value = verifier.parse(data)
    except verifier.NotACertificateError as error:
        raise ConfigError(f"`{path}` is no certificate: {error}") from None
    try:
        subject = subject_of(value)
    except UncertifiedError as error:
        return value, [str(error)]
    places = {name: path.parent / name for name in (subject.path, subject.config) if name is not None}
    if config is not None and subject.config is not None:
        places[subject.config] = config
    text = None if subject.config is None else _read(places[subject.config], _LARGEST)
    reasons = refusals(data, text)
    missing = next((name for name, place in places.items() if not place.is_file()), None)
    if missing is not None and not reasons:
        half = "its arithmetic holds, and nothing says that it is the model's"
        reasons = [f"not verified: {half}: `{missing}`, which it is the proof of, is not there"]
    return value, reasons or _again(value, subject, places, terms)


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most) if path.is_file() else None
    except (OSError, ValueError):  # ValueError: a path that no system can open
        return None


def _again(value: Mapping[str, Any], subject: Subject, places: Mapping[str, Path], terms: Terms) -> list[str]:
    """What the proof, done anew from the repository around what it is of, says against a certificate."""
    scope = find_scope([places[subject.path]])
    inside = {name: scope.below(place) for name, place in places.items()}
    tree, own = WorkTree(scope.root), inside[subject.path]
    config = scope.below(Path(terms.config)) if terms.config else own if own.endswith(".toml") else None
    policy = engine.load_policy(tree, config, PROOF, budget=terms.budget, online=terms.online)
    configuration = policy.configuration
    if subject.kind == CONFIG:
        only = Deployment(Location(own), declared=True, config=own)
        configuration = replace(configuration, deployments=(only,))
    _, facts = engine.gather(tree, configuration, without=engine.CODE)
    return [one.what for one in reproved(judge(policy), facts, value, inside.__getitem__)]
