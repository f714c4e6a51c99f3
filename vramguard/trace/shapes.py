"""The weights of a class of transformers by name and shape, from the meta device: no storage, no weights, no code of
the model's own repository.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
import transformers
from transformers.initialization import no_init_weights

from vramguard.trace.model import _classes
from vramguard.trace.record import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NUMBER: Final = re.compile(r"(?<=\.)\d+(?=\.|$)")
_LARGEST: Final = 4096  # of what a config counts modules by: beyond is no model, and building it would only fill memory
_COUNTS: Final = re.compile(r"layer|depth|block|expert|stage")


def table(config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Every parameter, tied ones once: `{name with * for numbers: [shape, dtype, copies]}`. Raises TraceError.

    Weights whose names differ in numbers alone and whose shapes differ stand apart: the later shapes get `#2`, `#3`.
    """
    for key, value in _counts(config):
        if value > _LARGEST:
            raise TraceError(f"{key} is {value}: no model has so many")
    try:
        parsed, model_class = _classes(config, None)
        if not (isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel)):
            raise TraceError(f"transformers has no model of the class {model_class}")
        with torch.device("meta"), no_init_weights():
            made: Any = model_class
            model = made._from_config(parsed)  # noqa: SLF001 - what every auto class calls
            model.tie_weights()
    except TraceError:
        raise
    except Exception as error:  # a config that transformers refuses fails in as many ways as it has classes
        raise TraceError(f"transformers {transformers.__version__} cannot build it: {error}") from error
    return _folded(model)


def _counts(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        if type(value) is int and _COUNTS.search(key):
            yield key, value
        elif isinstance(value, dict):
            yield from _counts(value)


def _folded(model: Any) -> dict[str, list[Any]]:  # noqa: ANN401 - a torch module
    counted: Counter[tuple[str, tuple[int, ...], str]] = Counter()
    for name, weight in model.named_parameters():
        kind = str(weight.dtype).removeprefix("torch.")
        counted[_NUMBER.sub("*", name), tuple(weight.shape), kind] += 1
    result: dict[str, list[Any]] = {}
    for (name, shape, kind), copies in counted.items():
        others = sum(known == name or known.startswith(f"{name}#") for known in result)
        result[f"{name}#{others + 1}" if others else name] = [list(shape), kind, copies]
    return result
