"""The options that say what a model is asked to do: the keys of a `[[deployment]]` table, one option each."""

from __future__ import annotations

import typing
from dataclasses import fields
from enum import StrEnum
from fractions import Fraction
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vramguard.cli.options import fraction, number
from vramguard.schema import POSITIVE, SHARE
from vramguard.settings import DeploymentTable

if TYPE_CHECKING:
    from collections.abc import Callable

_CHOICES: Final[dict[str, Any]] = {
    "engine": StrEnum("Engine", ["transformers", "vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp"]),
    "attn_implementation": StrEnum("Attention", ["sdpa", "eager", "flash_attention_2"]),
    "mode": StrEnum("Mode", ["inference", "training"]),
}
_SHORT: Final = {"tensor_parallel_size": "-tp", "pipeline_parallel_size": "-pp"}
_ABSENT: Final = ("config", "model", "revision", "card")  # what the target says itself, or only several can


def plain(value: object) -> object:
    """A value as a deployment's fact has it."""
    if isinstance(value, Fraction):
        return str(float(value))
    return str(value) if isinstance(value, StrEnum) else value


def spell_out(command: Callable[..., None], without: tuple[str, ...] = ()) -> None:
    """Give Typer one parameter for each key of a deployment but those, in the place of the command's `**workload`."""
    own = signature(command, eval_str=True).parameters.values()
    first, *others = (item for item in own if item.kind is not Parameter.VAR_KEYWORD)
    hints = typing.get_type_hints(DeploymentTable)
    keys = (
        Parameter(key.name, Parameter.KEYWORD_ONLY, default=None, annotation=_option(key, hints[key.name]))
        for key in fields(DeploymentTable)
        if key.name not in (*_ABSENT, *without)
    )
    parameters = [first, *keys, *others]
    command.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters} | {"return": None}


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
