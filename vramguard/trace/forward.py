"""One forward pass of transformers' own class, traced without weights, without data and without a GPU.

Tensors are fake CPU tensors: every operation runs with shapes only, and attention stays one operation. (On PyTorch's
meta device it is decomposed, which overstates the peak by orders of magnitude.) Gradients are off by `no_grad`, as in
generate(), and not by `inference_mode`: under that PyTorch shows a mode the composite operations (a softmax in
another dtype, a product of four-dimensional tensors) and hides what they allocate inside.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers.utils import import_utils

from vramguard.trace.attention import fused
from vramguard.trace.caches import held
from vramguard.trace.living import Living
from vramguard.trace.model import build
from vramguard.trace.reading import Reading
from vramguard.trace.record import Allocation, Trace, TraceError
from vramguard.trace.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Allocation", "Trace", "TraceError", "trace"]

_REASON = 300  # characters of an exception that are worth reading


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
        with _quiet(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), fused() as masks, _lenient():
            with Values():
                model = build(config, implementation, getattr(torch, dtype), class_name)
            reading = Reading(model, sequences, logits_to_keep)
            if past:
                with Values(sequences * past, past):
                    reading.read(past)
                masks.clear()
            traced = _traced(reading, tokens, past + tokens)
            return replace(traced, mask_heads=max(masks, default=0))
    except TraceError:
        raise
    except Exception as error:
        name = class_name or config.get("model_type")
        reason = " ".join(str(error).split())[:_REASON]
        raise TraceError(f"{name}: {type(error).__name__}: {reason}") from error


def _traced(reading: Reading, tokens: int, length: int) -> Trace:
    """Trace the reading of the next tokens of sequences that are `length` long then."""
    model = reading.model
    living = Living(reading.sequences * length, length)
    living.ignore([*model.parameters(), *model.buffers()])
    living.count([tensor for _, tensor in held(reading.cache)], "cache")
    living.count(reading.encoded, "encoder")
    with living, living.naming(model):
        reading.read(tokens)
    for layer, tensor in held(reading.cache):
        living.hold(layer, tensor)
    return living.finished()


@contextmanager
def _lenient() -> Iterator[None]:
    """Let fake tensors pass for real ones where transformers, or PyTorch, treats them otherwise.

    A module converts its weights in its forward (nllb_moe's router), an expert is named by one (`f"expert_{index}"`),
    and a mask is looked at and found to hide nothing, which transformers does not try with a tensor that it knows to
    be fake (`is_tracing`); values.py knows what such a mask holds.
    """
    with ExitStack() as stack:
        stack.enter_context(_set(torch.utils, "swap_tensors", _assign))
        stack.enter_context(_set(FakeTensor, "__format__", _written))
        stack.enter_context(_set(import_utils, "is_fake_tensor", lambda _: False))
        yield


@contextmanager
def _set(holder: object, name: str, value: object) -> Iterator[None]:
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


def _assign(old: torch.Tensor, new: torch.Tensor) -> None:
    old.data = new.data


def _written(tensor: torch.Tensor, form: str) -> str:
    return format(tensor.item() if not tensor.dim() else str(tensor), form)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from logging the failures that become a TraceError, and transformers from advising on this run."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    disabled, verbosity = logger.disabled, transformers.logging.get_verbosity()
    logger.disabled = True
    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled
        transformers.logging.set_verbosity(verbosity)
