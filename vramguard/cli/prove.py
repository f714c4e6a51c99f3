"""`vramguard prove`: its options are the keys of a `[[deployment]]` table, under the names that the engines use."""

from __future__ import annotations

import sys
import typing
from dataclasses import fields
from enum import StrEnum
from fractions import Fraction
from inspect import Parameter, signature
from pathlib import Path  # noqa: TC003 - typer asks for it
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vramguard.cli.options import (
    Budget,
    Config,
    Exit,
    Method,
    Online,
    Output,
    PlainFormat,
    console,
    fraction,
    number,
    working,
    write,
)
from vramguard.schema import POSITIVE, SHARE
from vramguard.settings import DeploymentTable

if TYPE_CHECKING:
    from vramguard.engine import Proven

_CHOICES: Final[dict[str, Any]] = {
    "engine": StrEnum("Engine", ["transformers", "vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp"]),
    "attn_implementation": StrEnum("Attention", ["sdpa", "eager", "flash_attention_2"]),
    "mode": StrEnum("Mode", ["inference", "training"]),
}
_SHORT: Final = {"tensor_parallel_size": "-tp", "pipeline_parallel_size": "-pp"}
_ABSENT: Final = ("config", "model", "revision", "card")  # what the target says itself, or only several can


def prove(  # noqa: PLR0913 - one parameter per option
    target: Annotated[str, typer.Argument(help="A config.json, its folder, FILE:LINE of a deployment, or a hub id.")],
    *,
    budget: Budget = None,
    method: Annotated[Method, typer.Option(help="Formulas of the config, or the real forward pass.")] = Method.ANALYTIC,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print the proof.")] = PlainFormat.TEXT,
    output: Output = None,
    config: Config = None,
    online: Online = False,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Write the proof here, for `verify` and `check` to hold it up to.", metavar="FILE"),
    ] = None,
    **workload: Any,  # noqa: ANN401 - one for each key of a deployment
) -> None:
    """Prove the peak VRAM of one model: exit 0 if it fits the budget, 1 if it does not or cannot be proved."""
    from vramguard.report import proof as shown
    from vramguard.target import Terms, prove_target

    given = {name: _plain(value) for name, value in workload.items() if value is not None}
    with working(f"proving {target}"):
        proven = prove_target(target, Terms(config, budget, method.value, online), given)
    if certificate is not None:
        _certify(target, proven, given, certificate)
    if output is not None:
        write(output, shown.render(output_format.value, proven))
    if output is not None or output_format is PlainFormat.TEXT:
        shown.print_proof(proven, console())
    else:
        sys.stdout.write(shown.render(output_format.value, proven))
    raise typer.Exit(Exit.CLEAN if proven.proof.answer.value == "FITS" else Exit.FINDINGS)


def _certify(target: str, proven: Proven, given: dict[str, Any], path: Path) -> None:
    from vramguard.certified import certificate_of
    from vramguard.report.escape import visible
    from vramguard.source import kind_of

    write(path, certificate_of(target, proven, given, path))
    if kind_of(path.name) != "certificate":
        name = f"{path.stem}.certificate.json"
        hint = f"`check` knows a certificate by its name: call it `{name}` to have it judged (VG206)"
        sys.stderr.write(f"vramguard: {visible(hint)}\n")


def _plain(value: object) -> object:
    """A value as a deployment's fact has it."""
    if isinstance(value, Fraction):
        return str(float(value))
    return str(value) if isinstance(value, StrEnum) else value


def _spell_out() -> None:
    """Give Typer one parameter for each key of a deployment, in the place of `**workload`."""
    own = signature(prove, eval_str=True).parameters.values()
    first, *others = (item for item in own if item.kind is not Parameter.VAR_KEYWORD)
    hints = typing.get_type_hints(DeploymentTable)
    keys = (
        Parameter(key.name, Parameter.KEYWORD_ONLY, default=None, annotation=_option(key, hints[key.name]))
        for key in fields(DeploymentTable)
        if key.name not in _ABSENT
    )
    parameters = [first, *keys, *others]
    prove.__signature__ = signature(prove).replace(parameters=parameters)  # type: ignore[attr-defined]
    prove.__annotations__ = {item.name: item.annotation for item in parameters} | {"return": None}


def _option(key: Any, hint: Any) -> Any:  # noqa: ANN401 - a dataclass's field and its type
    kind: Any = next(part for part in typing.get_args(hint) if part is not type(None))
    limit, name = key.metadata["limit"], f"--{key.name.replace('_', '-')}"
    extra: dict[str, Any] = {"help": f"{key.metadata['doc']}."}
    if kind is int and limit is POSITIVE:
        extra["min"] = 1
    if kind is Fraction:
        extra |= {"parser": fraction if limit is SHARE else number, "metavar": "NUMBER"}
    names = [f"{name}/--no-{name[2:]}" if kind is bool else name, *([_SHORT[key.name]] if key.name in _SHORT else [])]
    return Annotated[_CHOICES.get(key.name, kind) | None, typer.Option(*names, **extra)]


_spell_out()
