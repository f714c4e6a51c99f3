"""A proof as a certificate: what it is of, what was asked for, and every number that the answer rests on.

Hides which parts of a proof a certificate holds, and how two are compared. `verifier` reads it with no help from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard import __version__
from vramguard.memory import Answer, Workload
from vramguard.memory.expression import names
from vramguard.verifier import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory import Proof, Term

CONFIG: Final = "config"  # kinds of what a certificate is of
DEPLOYMENT: Final = "deployment"
_FREE: Final = ("written_by", "sha256")  # say nothing about the proof
_TYPES: Final = {"int": int, "bool": bool, "str": str}
_ASKED: Final = {field.name: _TYPES[str(field.type).partition(" ")[0]] for field in fields(Workload)}


class Subject(NamedTuple):
    """What a certificate is of: a config.json, or a deployment in a file. Paths are relative to the certificate's."""

    kind: str
    path: str
    config: str | None  # the path of the model's config.json; None where it is no file
    sha256: str  # of that config


class UncertifiedError(ValueError):
    """Why there is no certificate of a proof, in words."""


def certify(proof: Proof, subject: Subject, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate of a proof of `subject` for what was `asked` beside its own words. Raises `UncertifiedError`."""
    if proof.answer is Answer.UNKNOWN or proof.totals is None:
        raise UncertifiedError(f"nothing is proved, so there is nothing to certify: {proof.reason}")
    if proof.method != "analytic":
        raise UncertifiedError("a certificate is of the analytic method, which anybody can compute again")
    return {
        "schema": SCHEMA,
        "written_by": f"vramguard {__version__}",
        "of": {subject.kind: subject.path},
        "asked": {key: asked[key] for key in sorted(asked)},
        "config": {"path": subject.config, "sha256": subject.sha256},
        "method": proof.method,
        "model": {"type": proof.model_type, "architecture": proof.architecture},
        "workload": asdict(proof.workload),
        "parameters": {"total": proof.parameters, "active": proof.active_parameters},
        "model_weight_bytes": proof.model_weight_bytes,
        "kv_cache_bytes_per_token": proof.kv_cache_bytes_per_token,
        "device": _device(proof),
        "ledger": [_row(term) for term in proof.ledger],
        "totals": asdict(proof.totals),
        "pool": asdict(proof.pool) if proof.pool else None,
        "answer": proof.answer.value,
        "reason": proof.reason,
        "headroom_bytes": proof.headroom_bytes,
        "max_fitting_model_len": proof.max_fitting_model_len,
        "min_fitting_gpus": proof.min_fitting_gpus,
        "spill_bytes": proof.spill_bytes,
        "offload_bytes": proof.offload_bytes,
        "assumptions": list(proof.assumptions),
    }


def _device(proof: Proof) -> dict[str, Any]:
    device = proof.device
    return {
        "name": device.name,
        "capacity_bytes": device.capacity_bytes,
        "context_lower_bytes": device.context_lower_bytes,
        "context_upper_bytes": device.context_upper_bytes,
        "budget_fraction": proof.budget_fraction,
        "budget_bytes": proof.budget_bytes,
        "assumed": proof.gpu_assumed,
    }


def _row(term: Term) -> dict[str, Any]:
    """A row; of its inputs only those that a formula reads, so that no number stands there unchecked."""
    read = names(term.formula) | (names(term.lower_formula) if term.lower_formula else frozenset())
    return {
        "name": term.name,
        "lower_bytes": term.lower_bytes,
        "upper_bytes": term.upper_bytes,
        "formula": term.formula,
        "lower_formula": term.lower_formula,
        "inputs": {name: value for name, value in term.inputs.items() if name in read},
        "kind": term.kind.value,
        "source": term.source,
    }


def subject_of(value: Mapping[str, Any]) -> Subject:
    """What a certificate says it is of. Raises `UncertifiedError` where it says nothing that could be."""
    of, config = value.get("of"), value.get("config")
    match of, config:
        case {**one}, {"path": str() | None as path, "sha256": str(digest)} if len(one) == 1:
            kind, file = next(iter(one.items()))
            if kind in (CONFIG, DEPLOYMENT) and isinstance(file, str):
                return Subject(kind, file, path, digest)
    raise UncertifiedError("it does not say which config.json or deployment it is of")


def asked_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """What a certificate says was asked for. Raises `UncertifiedError` for what no deployment can be asked."""
    asked = value.get("asked")
    if not isinstance(asked, Mapping) or any(type(item) is not _ASKED.get(key) for key, item in asked.items()):
        raise UncertifiedError("what it says was asked for is no workload")
    return dict(asked)


def differences(old: object, new: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where two certificates differ but for their free text: the keys of the place in the old one, and how."""
    yield from _differences(_proper(old), _proper(new), ())


def _proper(value: object) -> object:
    return {key: item for key, item in value.items() if key not in _FREE} if isinstance(value, Mapping) else value


def _differences(old: object, new: object, keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), (*keys, key))
    elif keys == ("ledger",) and isinstance(old, list) and isinstance(new, list):
        yield from _of_rows(old, new)
    elif type(old) is not type(new) or old != new:
        yield keys, f"{_path(keys)} is {_said(old)}, and proved again {_said(new)}"


def _of_rows(old: list[Any], new: list[Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Rows are told by their names, so that one more does not make those below it others."""
    before, after = _named(old), _named(new)
    for name, number in before.items():
        if name not in after:
            yield ("ledger", number), f"the row {name} is in no proof of today"
        else:
            yield from _differences(old[number], new[after[name]], ("ledger", number))
    for name in after.keys() - before.keys():
        yield ("ledger",), f"the row {name} is missing"
    if len(before) < len(old):
        yield ("ledger",), "rows stand in it twice"
    elif before.keys() == after.keys() and list(before) != list(after):
        yield ("ledger",), "its rows stand in another order"


def _named(rows: list[Any]) -> dict[str, int]:
    return {str(row.get("name")) if isinstance(row, Mapping) else "": number for number, row in enumerate(rows)}


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT: Final = _Absent()


def _said(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line on a screen


def _path(keys: tuple[str | int, ...]) -> str:
    return ".".join(map(str, keys))
