"""One forward pass of transformers' own class, traced without weights, without data and without a GPU.

Tensors are fake CPU tensors: every operation runs with shapes only, and attention stays one operation. (On PyTorch's
meta device it is decomposed, which overstates the peak by orders of magnitude.)
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vramguard.trace.caches import held, new_cache
from vramguard.trace.living import Living
from vramguard.trace.model import build
from vramguard.trace.record import Allocation, Trace, TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Allocation", "Trace", "TraceError", "trace"]


def trace(  # noqa: PLR0913 - what a pass is a function of
    config: Mapping[str, object],
    tokens: int,
    sequences: int = 1,
    *,
    implementation: str | None = None,
    dtype: str = "bfloat16",
    class_name: str | None = None,
    logits_to_keep: int | None = 1,
    past: int = 0,
) -> Trace:
    """Trace the pass that reads `sequences` prompts of `tokens` tokens; more than one are a padded batch with a mask.

    `past` above 0: a step of `tokens` tokens (one, for generation) after `past` that are cached; only the step is
    traced, and the cache before it is alive from the start. `class_name`: transformers' class, else
    `architectures[0]`, else the first auto class that knows the model type. `logits_to_keep`: None for all tokens'.
    Raises TraceError for whatever transformers, or the absence of data, does not let through.
    """
    if tokens < 1 or sequences < 1 or past < 0:
        raise TraceError(f"{sequences} sequences of {tokens} tokens after {past} are no pass")
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            model = build(config, implementation, getattr(torch, dtype), class_name)
            keep = {} if logits_to_keep is None else {"logits_to_keep": logits_to_keep}
            return _traced(model, tokens, sequences, past, keep)
    except TraceError:
        raise
    except Exception as error:
        name = class_name or config.get("architectures") or config.get("model_type")
        reason = " ".join(str(error).split())[:400]
        raise TraceError(f"{name}: {type(error).__name__}: {reason}") from error


def _traced(model: Any, tokens: int, sequences: int, past: int, keep: Mapping[str, int]) -> Trace:  # noqa: ANN401 - a torch module
    cache = new_cache(model)
    if past:
        _call(model, cache, past, sequences, 0, keep)
    living = Living(past + tokens)
    living.ignore([*model.parameters(), *model.buffers()])
    if past:
        living.count([tensor for _, tensor in held(cache)], "cache")
    names = {id(module): name for name, module in model.named_modules()}
    with living, living.naming(names):
        cache = _call(model, cache, tokens, sequences, past, keep)
    for layer, tensor in held(cache):
        living.hold(layer, tensor)
    return living.finished()


def _call(  # noqa: PLR0913
    model: Any,  # noqa: ANN401 - a torch module
    cache: object,
    tokens: int,
    sequences: int,
    past: int,
    keep: Mapping[str, int],
) -> object:
    """Run the model once and return its cache. Nothing else of its output outlives the call."""
    parameters = inspect.signature(model.forward).parameters
    open_ended = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    given: dict[str, Any] = {"input_ids": torch.zeros(sequences, tokens, dtype=torch.long)}
    if sequences > 1:
        given["attention_mask"] = torch.ones(sequences, past + tokens, dtype=torch.long)
    name = "cache_params" if "cache_params" in parameters else "past_key_values"
    optional = {name: cache, "use_cache": True, **keep} if cache is not None else {"use_cache": True, **keep}
    given |= {key: value for key, value in optional.items() if key in parameters or (open_ended and key != "logits_to_keep")}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = given["input_ids"]
    output = model(**given)
    return getattr(output, name, None) if cache is None else cache
