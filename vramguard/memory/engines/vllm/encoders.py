"""Rows of the ledger for the encoder of a class that takes pictures or sound: its largest pass and what is kept of it.

Before the decoder's step, vLLM's profile run encodes as many of the largest items as its budget of tokens holds, and
keeps their outputs and their inputs until the step is over (v1/worker/gpu_model_runner.py: profile_run; budget:
v1/core/encoder_cache_manager.py, compute_mm_encoder_budget; items: multimodal/encoder_budget.py, before 0.16
v1/worker/utils.py, MultiModalBudget._get_max_items). The scheduler later counts tokens only, not items, so that a batch
of smaller items may pass more patches through the tower than was profiled: that is a row of its own.

A pass is counted as `activations.widest` counts a decoder's: hidden states and residual, and what the widest module of
one layer keeps alive. Attention over patches is by kernels without score matrices (layers/attention/
mm_encoder_attention.py); a mask is a row where a tower has one. Every card holds the whole of it: with
--mm-encoder-tp-mode weights the hidden states are whole, with data a card may be given all items.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.memory.engines.vllm.items import item_of
from vramguard.memory.engines.vllm.pixels import levels_of
from vramguard.memory.engines.vllm.profiles import implementations, releases
from vramguard.memory.expression import evaluate
from vramguard.memory.ledger import bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.memory.engines.vllm.batch import Step
    from vramguard.memory.engines.vllm.item import Item
    from vramguard.memory.ledger import Term

_PROFILE: Final = "vLLM, v1/worker/gpu_model_runner.py (profile_run), multimodal/encoder_budget.py (_get_max_items)"
_SERVING: Final = "vLLM, v1/worker/gpu_model_runner.py (_execute_mm_encoder), model_executor/models/utils.py"
_TABLES: Final = 64  # distinct sizes of items that are assumed to come, of 1,024 whose tables Qwen2.5-VL's tower keeps
_TOWER: Final = re.compile("vision|visual|audio|image|encoder")
_MERGED_LINEARS: Final = ("projector", "connector", "merger", "adapter", "embed_vision")

# Bytes of a pass: the widest layer of the tower with what is kept of earlier ones, or its projection to the decoder's
# hidden size; of `patches`, of which `rows` remain when they are projected.
_PASS: Final = (
    "max(patches * (kept + layer) * bytes + masks * patches * patches * bytes, "
    "patches * (kept + 4 * tower) * bytes + rows * projected * bytes)"
)


def takes(step: Step) -> bool:
    """Whether a pass of the encoder ever runs: the class is one with a tower, and somebody may use it."""
    workload = step.ask.workload
    kinds = implementations(step.loaded.network.name, workload.engine_version)
    return not workload.language_model_only and "multimodal" in kinds


def rows(step: Step, decoder: int) -> tuple[Term, ...]:
    """What the encoder adds to the profile run, whose decoder's step takes `decoder` bytes; UnprovenError if unknown.

    activations/encoder: what its pass takes beyond that step, which comes after it; and outputs of its whole budget of
    tokens, with the inputs of the pass. activations/deepstack: buffers of what inner layers of the tower give a batch.
    """
    profiled = (_encoder(step, _item(step), decoder),) if takes(step) else ()
    return (*profiled, *_deepstack(step))


def _encoder(step: Step, item: Item, decoder: int) -> Term:
    patches = _profiled(step, item)
    inputs = {
        **_sizes(step, item, patches, mask_copies=_copies(step, item, patches)),
        "numbers": item.numbers,
        "tokens": _budget(step, item),
        "hidden": _output(step, item),
        "decoder": decoder,
    }
    formula = f"max(0, {_PASS} - decoder) + tokens * hidden * bytes + patches * numbers * bytes"
    return bound("activations/encoder", formula, inputs, source=f"{_PROFILE}; {item.source}")


def _deepstack(step: Step) -> tuple[Term, ...]:
    """Buffers that the model makes for a whole batch; older releases do where nobody may look, too."""
    levels = levels_of(step.loaded.network)
    if not levels:
        return ()
    inputs = {"levels": levels, "batched": step.sizes.tokens, "hidden": step.loaded.network.hidden}
    inputs["bytes"] = step.loaded.element_bytes
    source = "vLLM, model_executor/models/qwen3_vl.py (deepstack_input_embeds)"
    return (bound("activations/deepstack", "levels * batched * hidden * bytes", inputs, source=source),)


def unprofiled(step: Step, decoder: int) -> tuple[Term, ...]:
    """What a running server may take of the encoder beyond the profile run: its batches, and tables that it keeps.

    runtime/encoder_batch: its pass over more patches than were profiled; or merging, which looks up embeddings, copies
    the outputs flat and counts (eight bytes each) and spreads (one) a mask over every number of them
    (Tensor.masked_scatter_), of inner layers too, which are parted from the others first.
    """
    if not takes(step):
        return ()
    item = _item(step)
    batches = _smaller(step, item, decoder) if item.shrinks else _batches(step, item, decoder)
    return (batches, *_tables(step, item))


def _batches(step: Step, item: Item, decoder: int) -> Term:
    """Of items whose largest size is given: a batch of smaller ones may have more patches for each token."""
    profiled = _encoder(step, item, decoder)
    outputs = profiled.inputs["tokens"] * profiled.inputs["hidden"] * step.loaded.element_bytes
    patches = -(-_budget(step, item) // item.least_tokens) * item.patches_of_least
    return _beyond(step, item, patches, decoder + profiled.upper_bytes - outputs, 0)


def _smaller(step: Step, item: Item, decoder: int) -> Term:
    """Of items whose largest size may be set lower than is assumed, all of whose tokens have as many patches.

    The profile run has as many of the largest as its budget holds. Where one is larger than a batch's tokens the budget
    is that one, so that no batch has more patches; else it fills more than half of those tokens, and a batch all.
    """
    batched, each = step.sizes.tokens, item.patches_of_least
    half = _sizes(step, item, batched // 2 * each, mask_copies=0)
    passed = evaluate(_PASS, half)
    profiled = max(decoder, passed) + half["patches"] * item.numbers * half["bytes"]
    return _beyond(step, item, batched * each, profiled, batched - batched // 2)


def _beyond(step: Step, item: Item, patches: int, profiled: int, unkept: int) -> Term:
    inputs = {
        **_sizes(step, item, patches, mask_copies=_copies(step, item, None)),
        "numbers": item.numbers,
        "batched": step.sizes.tokens,
        "hidden": _output(step, item),
        "copies": 4 if item.levels else 3,
        "profiled": profiled,
        "unkept": unkept,
    }
    merging = "batched * hidden * (copies * bytes + 9)"
    formula = f"max(0, max({_PASS} + patches * numbers * bytes, {merging}) - profiled) + unkept * hidden * bytes"
    return bound("runtime/encoder_batch", formula, inputs, source=f"{_SERVING}; {item.source}")


def _tables(step: Step, item: Item) -> tuple[Term, ...]:
    """Tables of positions that stay on the card for each of the last sizes, by frames, height and width."""
    if not item.tabled:
        return ()
    merged, budget = item.patches_of_least, _budget(step, item)
    inputs = {
        "sizes": _TABLES,
        "patches": merged * min(budget, step.context or budget),  # an item is no longer than a prompt
        "largest": merged * budget,  # the profile run's may be
        "tabled": item.tabled,
        "bytes": max(step.loaded.element_bytes, 2),
    }
    source = "vLLM, model_executor/models/qwen2_5_vl.py (Qwen2_5_VisionTransformer.get_rope_by_thw, LRU of 1,024)"
    formula = "((sizes - 1) * patches + largest) * tabled * bytes"
    return (bound("runtime/encoder_tables", formula, inputs, source=source),)


def outside_bytes(step: Step, decoder: int) -> int:
    """Bytes of the encoder that the profile run does not see, so that they come on top of vLLM's share of the card."""
    found = sum(term.upper_bytes for term in unprofiled(step, decoder))
    if step.variant.runner == "v2" and not step.variant.profile.v2_encodes_at_profile:
        found += sum(term.upper_bytes for term in rows(step, decoder))
    return found


def assumption(step: Step) -> str | None:
    """What the rows take from a processor's class that the model's own preprocessor_config.json may overrule."""
    if not takes(step):
        return None
    item = _item(step)
    if not item.tabled:
        return item.assumed
    sizes = f"pictures and films come in at most {_TABLES} sizes, of each of which the tower keeps tables (up to 1,024)"
    return f"{item.assumed}; {sizes}" if item.assumed else sizes


def _item(step: Step) -> Item:
    """What the class encodes, of the oldest release that the step may be of."""
    oldest = max(step.variant.profile.span[0], releases(step.ask.workload.engine_version)[0])
    return item_of(step.loaded.network, step.ask.config, step.context, oldest)


def _output(step: Step, item: Item) -> int:
    """Numbers that a token of the encoder's output has."""
    return step.loaded.network.hidden * (1 + item.levels)


def _budget(step: Step, item: Item) -> int:
    """Tokens of the encoder's cache, whose outputs are kept, and of one batch."""
    return max(step.sizes.tokens, item.tokens)


def _profiled(step: Step, item: Item) -> int:
    """Patches of the profile run."""
    budget, tokens = _budget(step, item), item.profiled_tokens
    count = max(1, budget // tokens) if item.whole else -(-budget // tokens)
    return count * item.profiled_patches


def _copies(step: Step, item: Item, patches: int | None) -> int:
    """Matrices of patches x patches that stand at once: the mask, and its copy with rows of a multiple of 8 numbers."""
    if not item.masked or step.variant.profile.span[0] >= item.unmasked_from:
        return 0
    return 1 if patches is not None and patches % 8 == 0 else 2


def _sizes(step: Step, item: Item, patches: int, *, mask_copies: int) -> Mapping[str, int]:
    """Inputs of a pass."""
    hidden, wide = item.hidden, item.intermediate
    # Who calls a layer holds its input, and the first one's; beside them stand the state after attention and its norm.
    # Attention: queries, keys and values, the same in one piece each, and its result before and after the projection;
    # rotation in float32 has queries and keys as real and as complex numbers, before and after.
    attention = (20 if item.rotates else 12) * hidden
    mlp = 4 * hidden + (2 if item.plain else 4) * wide
    embedding = 3 * item.numbers + item.embedded * hidden
    quantized = max(hidden, wide) if step.packed_tower else 0
    return {
        "patches": patches,
        "rows": -(-patches * item.rows // item.rows_of),
        "layer": max(attention, mlp, embedding) + quantized + item.more,
        "kept": item.kept,
        "tower": hidden,
        "projected": _projected(step) + 3 * step.loaded.network.hidden,
        "masks": mask_copies,
        "bytes": step.loaded.element_bytes,
    }


def _projected(step: Step) -> int:
    """Numbers that a row has before and after each matrix of the projection, all of them alive."""
    found = 0
    for tensor in step.loaded.network.tensors:
        named = any(word in tensor.name for word in _MERGED_LINEARS)
        if named and len(tensor.shape) == 2 and tensor.kind in ("linear", "parameter"):  # noqa: PLR2004
            found += sum(tensor.shape) * tensor.copies
    if not found:
        found = 2 * step.loaded.network.hidden
    return found
