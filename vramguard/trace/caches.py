"""The cache of a pass: the one that generate() would make, and whatever tensors it holds in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator


def new_cache(model: Any) -> Any:  # noqa: ANN401 - transformers' classes
    """The empty cache that generate() passes (`_prepare_cache_for_generation`); None where the model makes its own."""
    supported = getattr(model, "_supports_default_dynamic_cache", None)
    if supported is None or not model.can_generate() or not supported():
        return None
    config = model.config.get_text_config(decoder=True)
    cache = DynamicCache(config=config)
    return EncoderDecoderCache(cache, DynamicCache(config=config)) if model.config.is_encoder_decoder else cache


def held(cache: object) -> Iterator[tuple[int, torch.Tensor]]:
    """Every tensor that a cache holds, with its layer; 0 where it holds the tensors of all layers in one."""
    yield from _held(cache, None, set())


def _held(thing: object, layer: int | None, seen: set[int]) -> Iterator[tuple[int, torch.Tensor]]:
    if isinstance(thing, torch.Tensor):
        if thing.dim():  # a scalar is a counter
            yield layer or 0, thing
    elif id(thing) not in seen:
        seen.add(id(thing))
        for number, item in _parts(thing):
            yield from _held(item, number if layer is None else layer, seen)


def _parts(thing: object) -> Iterator[tuple[int | None, object]]:
    """What a cache, a layer of one or a container holds; numbered where that is a number of the layer."""
    if isinstance(thing, list | tuple):
        yield from enumerate(thing)
    elif isinstance(thing, Mapping):
        yield from ((key if isinstance(key, int) else None, item) for key, item in thing.items())
    elif isinstance(thing, Cache) or _is_state(thing):
        yield from ((None, item) for item in vars(thing).values())


def _is_state(thing: object) -> bool:
    """Whether this is a layer of a cache or another holder of states; modules and configs are none."""
    ours = type(thing).__module__.startswith("transformers.") and hasattr(thing, "__dict__")
    return ours and not isinstance(thing, torch.nn.Module) and not hasattr(thing, "model_type")
