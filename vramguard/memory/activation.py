"""Bytes alive beside weights and cache while transformers reads a prompt: an upper bound, moment by moment.

The peak of a forward pass is the peak of its worst moment. `_moments` lists every moment that can be the worst with
what is alive then, read off the modeling code of transformers 5.23; docs/memory-model.md gives the argument for each.
What lives through the whole pass (masks, rotary table, inputs) is counted once beside it. The cache is counted in full
from the start, so a moment before a layer has cached its keys and values may leave those two tensors out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.expression import evaluate
from vramguard.memory.ledger import Term, bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.memory.architecture import Attention, FeedForward

IMPLEMENTATIONS: Final = ("sdpa", "eager", "flash_attention_2")
SOURCE: Final = "transformers 5.23.0, models/{}/modeling_{}.py; docs/memory-model.md, activations"

# Tensors as large as the activation's input that exist at once inside it, input and output among them. Whatever is
# not listed counts 6, more than any activation without weights needs; ATen has a kernel of its own for these.
_ACTIVATIONS: Final = dict.fromkeys(
    ("silu", "swish", "gelu", "gelu_pytorch_tanh", "relu", "relu6", "tanh", "sigmoid", "leaky_relu", "hardswish"), 2
) | {"gelu_new": 4, "linear": 1}
_ANY_ACTIVATION: Final = 6


class _Traits(NamedTuple):
    """What one family's forward keeps alive: how many tensors of the hidden size, at which moment."""

    attention: int = 3  # embeddings, the layer's input, the norm's output
    feed_forward: int = 4  # embeddings, the layer's input, the residual, the norm's output
    norm: int | None = 3  # beside a norm that computes in float32 (None: LayerNorm, one kernel)
    norm_weight: bool = False  # the norm widens its weight to float32 and adds one to it
    fused_qkv: bool = False  # one projection, whose storage lives through the attention
    fused_gate: bool = False  # gate and up are one projection, whose storage lives through the MLP
    rotary: bool = True
    one_mask: bool = False  # where layers slide, no other mask is built
    both_masks: bool = False  # a sliding mask is built even where no layer slides
    kept_weights: int = 1  # layers whose eager attention weights are bound to a name at once
    activation: tuple[str, str] = ("hidden_act", "silu")  # key of the config, default of its class


_GPT: Final = _Traits(norm=None, fused_qkv=True)
_FAMILIES: Final[Mapping[str, _Traits]] = {
    "llama": _Traits(),
    "mistral": _Traits(one_mask=True),
    "mixtral": _Traits(one_mask=True),
    "qwen2": _Traits(),
    "qwen2_moe": _Traits(both_masks=True),
    "qwen3": _Traits(),
    "qwen3_moe": _Traits(),
    "gemma": _Traits(norm_weight=True, activation=("hidden_act", "gelu_pytorch_tanh")),
    "gemma2": _Traits(norm=4, norm_weight=True, both_masks=True, activation=("hidden_activation", "gelu_pytorch_tanh")),
    "phi3": _Traits(fused_qkv=True, fused_gate=True, one_mask=True),
    # wpe's output and the attention's output stay bound to names
    "gpt2": _GPT._replace(attention=4, feed_forward=6, rotary=False, activation=("activation_function", "gelu_new")),
    "gpt_neox": _GPT._replace(feed_forward=5, activation=("hidden_act", "gelu")),
    # the loop over the layers keeps the last one's outputs
    "falcon": _GPT._replace(attention=4, feed_forward=6, kept_weights=2, activation=("activation", "gelu")),
}


@dataclass(frozen=True, slots=True)
class Prefill:
    """One forward pass over `sequences` prompts of `tokens` tokens each; more than one means a padded batch."""

    architecture: Architecture
    tokens: int
    sequences: int
    element_bytes: int  # of the model's dtype, 2 or 4
    implementation: str  # one of IMPLEMENTATIONS
    activation: str | None = None  # name in ACT2FN, None where it is not known
    fused_kernels: bool = True  # False where the card has none for this dtype: attention is computed by its formula
    grouped_kernels: bool = True  # False where none takes fewer key heads than query heads
    multiprocessors: int = 132

    @property
    def inputs(self) -> dict[str, int]:
        return {
            "sequences": self.sequences,
            "tokens": self.tokens,
            "hidden": self.architecture.hidden,
            "bytes": self.element_bytes,
        }


class Moment(NamedTuple):
    """Bytes alive at one moment, as a formula and its inputs."""

    name: str
    formula: str
    inputs: Mapping[str, int]


def default_implementation(architecture: Architecture) -> str:
    """What transformers 5 chooses where nobody asks: sdpa, except for the one class here that rules it out."""
    return "eager" if architecture.model_type == "gemma2" else "sdpa"


def activation_name(model_type: str, config: Mapping[str, object]) -> str | None:
    """Name of the MLP's activation function in a config; None for a value that is no name."""
    key, default = _traits(model_type).activation
    name = config.get(key, default)
    return name if isinstance(name, str) else None


def activations(run: Prefill) -> tuple[Term, ...]:
    """Rows of the ledger; raises UnprovenError for what transformers refuses or this module does not know."""
    _refuse(run)
    source = SOURCE.format(run.architecture.model_type, run.architecture.model_type)
    return (*_whole_pass(run, source), _worst_moment(run, source), *_workspaces(run))


def _traits(model_type: str) -> _Traits:
    traits = _FAMILIES.get(model_type)
    if traits is None:
        raise UnprovenError(f"activations of {model_type} are not known")
    return traits


def _refuse(run: Prefill) -> None:
    model_type, implementation = run.architecture.model_type, run.implementation
    _traits(model_type)
    if implementation not in IMPLEMENTATIONS:
        raise UnprovenError(f"attn_implementation {implementation} is not supported: {', '.join(IMPLEMENTATIONS)} are")
    if model_type == "gemma2" and implementation == "sdpa":
        raise UnprovenError("transformers does not run gemma2 with attn_implementation sdpa")
    if implementation == "flash_attention_2" and run.element_bytes != 2:  # noqa: PLR2004 - bytes of a half
        raise UnprovenError("flash_attention_2 needs float16 or bfloat16")


def _whole_pass(run: Prefill, source: str) -> Iterator[Term]:
    # ids, 2-D mask and positions in int64, each with a copy that generate() makes
    yield bound("activations/inputs", "sequences * tokens * 64", _only(run.inputs, "sequences", "tokens"))
    if _traits(run.architecture.model_type).rotary:
        head_dim = max(group.head_dim for group in run.architecture.attention)
        inputs = {**_only(run.inputs, "sequences", "tokens", "bytes"), "head_dim": head_dim}
        yield bound("activations/rotary", "2 * sequences * tokens * head_dim * bytes", inputs, source=source)
    masks = _masks(run)
    if masks:
        item = run.element_bytes if run.implementation == "eager" else 1  # booleans for sdpa
        yield bound(
            "activations/mask",
            "masks * sequences * tokens * tokens * item_bytes",
            {**_only(run.inputs, "sequences", "tokens"), "masks": masks, "item_bytes": item},
            source="transformers 5.23.0, masking_utils.py (sdpa_mask, eager_mask)",
        )


def _masks(run: Prefill) -> int:
    """How many n x n masks live through the pass: none where a kernel's own causal flag does."""
    if run.implementation == "flash_attention_2":
        return 0
    traits = _traits(run.architecture.model_type)
    windows = {group.window for group in run.architecture.attention}
    sliding = windows - {None}
    # transformers builds the plain mask too where only one kind is used, unless the family builds exactly one
    full = not (traits.one_mask and sliding)
    if run.implementation == "eager" or run.sequences > 1 or run.architecture.model_type == "falcon":
        return full + (len(sliding) or traits.both_masks)
    if traits.both_masks and not sliding:
        return 1  # of window 0, which no prompt is shorter than
    return sum(window is not None and run.tokens >= window for window in sliding)


def _worst_moment(run: Prefill, source: str) -> Term:
    worst = max(_moments(run), key=lambda moment: evaluate(moment.formula, moment.inputs))
    # At the end of the last layer its output is alive beside the whole cache.
    lower = "sequences * tokens * hidden * bytes"
    return bound(f"activations/{worst.name}", worst.formula, {**run.inputs, **worst.inputs}, lower=lower, source=source)


def _moments(run: Prefill) -> Iterator[Moment]:
    network, traits = run.architecture, _traits(run.architecture.model_type)
    for group in network.attention:
        yield _attention(run, group)
    for feed_forward in network.feed_forward:
        yield from _after_attention(run, _feed_forward(run, feed_forward))
    yield from _after_attention(run, _sums(run))
    hidden = "sequences * tokens * hidden"
    if traits.rotary:
        head_dim = max(group.head_dim for group in network.attention)
        # angles, their concatenation, cosine and sine, each with its scaled and its cast copy
        rotary = f"{hidden} * 2 * bytes + sequences * tokens * head_dim * 24"
        yield Moment("rotary_table", rotary, {**run.inputs, "head_dim": head_dim})
    if _masks(run):
        # three boolean intermediates
        yield Moment("mask_building", f"{hidden} * 2 * bytes + sequences * tokens * tokens * 3", run.inputs)
    # last token's logits, cast to float32, processed, sorted with int64 indices, softmax, cumulated, drawn from
    sampling = f"{hidden} * 2 * bytes + sequences * vocab * 64"
    yield Moment("sampling", sampling, {**run.inputs, "vocab": network.vocab})


def _after_attention(run: Prefill, moments: Iterable[Moment]) -> Iterator[Moment]:
    """Moments later in the layer: eager attention's weights stay bound to a name of the layer until it returns."""
    for name, formula, inputs in moments:
        if run.implementation == "eager":
            heads = max(group.heads for group in run.architecture.attention)
            kept = _traits(run.architecture.model_type).kept_weights
            weights = f"{kept} * sequences * heads * tokens * tokens * bytes"
            yield Moment(name, f"{formula} + {weights}", {**inputs, "heads": heads})
        else:
            yield Moment(name, formula, inputs)


def _sums(run: Prefill) -> Iterator[Moment]:
    """Norms that compute in float32, and the residual sums."""
    hidden, traits = "sequences * tokens * hidden", _traits(run.architecture.model_type)
    if traits.norm is not None:
        # x.float() and its square, or the product and its scaled copy: two of 4 bytes
        weight = " + hidden * 8" if traits.norm_weight else ""
        yield Moment("norm", f"{hidden} * ({traits.norm} * bytes + 8){weight}", run.inputs)
    yield Moment("residual_sum", f"{hidden} * 6 * bytes", run.inputs)


def _attention(run: Prefill, group: Attention) -> Moment:
    """Projections, rotation, cache update, scores and output of one layer."""
    traits, query, key = (
        _traits(run.architecture.model_type),
        group.heads * group.head_dim,
        group.kv_heads * group.head_dim,
    )
    inputs = {**run.inputs, "streams": traits.attention, "query": query, "key": key, "heads": group.heads}
    inputs["cached"] = group.cached_heads * group.head_dim
    scores, repeated = _scores(run, group)
    held = _HELD_FUSED if traits.fused_qkv else _HELD_SPLIT
    if run.architecture.model_type == "falcon":
        held = _HELD_FALCON
    if any(".q_norm." in tensor.name for tensor in run.architecture.tensors):
        # the projection beside the two float32 tensors of its norm
        held = f"max({held}, query + ceil_div(8 * query, bytes))"
    if traits.fused_qkv:
        # The rotation's concatenation lays the queries out head by head, and so the output, which is then copied.
        kernel = f"query + 2 * key + 2 * query + max(hidden, {repeated} + query)"
    else:
        kernel = f"2 * query + max(hidden, {repeated})"
    peak = f"max({held}, {kernel})"
    return Moment("attention", f"sequences * tokens * bytes * (streams * hidden + {peak}) + {scores}", inputs)


# Elements per token of one layer's queries, keys and values, less what the layer is about to cache: at the rotation
# of the queries (three of their size beside the projections) or of the keys, and at the concatenation.
_HELD_SPLIT: Final = "max(4 * query, 2 * query + 3 * key)"
_HELD_FUSED: Final = "max(4 * query, 3 * query + 2 * key)"
_HELD_FALCON: Final = "query + 2 * key + max(4 * query, 2 * query + 3 * cached)"


def _scores(run: Prefill, group: Attention) -> tuple[str, str]:
    """Bytes of the scores and their like, and elements per token that the kernel adds to queries and output."""
    repeated = "2 * query" if group.kv_heads < group.heads and not group.broadcast else "0"
    if run.implementation == "eager":
        # the output's contiguous copy, and where there is a batch one of the queries
        width = _EAGER_SCORES.get(run.architecture.model_type, "10")
        return f"sequences * heads * tokens * tokens * ({width})", f"{repeated} + 2 * query"
    statistics = "sequences * tokens * heads * 4"  # logsumexp
    if run.implementation == "flash_attention_2":
        # queries, keys, values without their padding, the output with it again
        return statistics, "2 * query + 2 * key" if run.sequences > 1 else "0"
    return statistics, "0" if _passes_groups_on(run, group) else repeated


# Bytes of each score: the scores in half precision, a float32 copy of them and its softmax (float32 scores need no
# copy, 8 bytes; 10 keeps the bound from falling as the dtype widens). GPT-2 stays in the model's dtype;
# Falcon keeps scores, masked scores and both sides of the softmax.
_EAGER_SCORES: Final = {"gpt2": "2 * bytes", "falcon": "4 * bytes"}


def _sees_mask(run: Prefill, group: Attention) -> bool:
    """Whether sdpa gets a mask, not its causal flag."""
    if run.sequences > 1 or run.architecture.model_type == "falcon":
        return True
    return group.window is not None and run.tokens >= group.window


def _passes_groups_on(run: Prefill, group: Attention) -> bool:
    """Whether transformers gives sdpa the keys as they are, not repeated for every query head (use_gqa_in_sdpa)."""
    return not _sees_mask(run, group) and group.head_dim <= _FLASH_HEAD_DIM


_FLASH_HEAD_DIM: Final = 256


def _decomposed(run: Prefill, group: Attention) -> bool:
    """Whether PyTorch has no fused kernel for this call and computes attention by its formula, score by score."""
    fewer = group.cached_heads < group.heads
    if run.architecture.model_type == "falcon" and fewer:
        return True  # one key head against many query heads, which no fused kernel takes without enable_gqa
    grouped = fewer and _passes_groups_on(run, group)
    return not run.fused_kernels or (grouped and not run.grouped_kernels) or group.head_dim % 8 != 0


def _feed_forward(run: Prefill, group: FeedForward) -> Iterator[Moment]:
    traits = _traits(run.architecture.model_type)
    active = _ACTIVATIONS.get(run.activation or "", _ANY_ACTIVATION)
    inputs = {**run.inputs, "streams": traits.feed_forward, "width": group.width}
    if group.experts:
        yield _experts(run, group, active)
        inputs["width"] = group.shared_width
    tokens = "sequences * tokens * bytes"
    if traits.fused_gate:
        # both halves of the projection, then what the activation holds beyond its input, and the product
        widths = f"max({active + 2} * width, 3 * width + hidden)"
    elif group.gated:
        widths = f"max({max(active, 3)} * width, width + hidden)"
    else:
        # with a bias falcon adds it out of place
        widths = f"max({max(active, 2)} * width, width + 2 * hidden)"
    if inputs["width"]:
        yield Moment("feed_forward", f"{tokens} * (streams * hidden + {widths})", inputs)


def _experts(run: Prefill, group: FeedForward, active: int) -> Moment:
    """Grouped matrix products over every (token, expert) pair, or a loop over experts where they are not available."""
    inputs = {
        **run.inputs,
        "streams": _traits(run.architecture.model_type).feed_forward + bool(group.shared_width),
        "width": group.width,
        "experts": group.experts,
        "chosen": group.experts_per_token,
    }
    # the gathered inputs live to the end; beside them the two projections and the activation, or both outputs,
    # the weighted ones twice over; mixtral's routing weights are float32 and make them so
    gated = f"hidden * bytes + {active + 2} * width * bytes"
    weighted = "4" if run.architecture.model_type == "mixtral" else "bytes"
    output = f"hidden * (2 * bytes + 2 * {weighted})"
    pairs = f"chosen * (64 + max({gated}, {output}, (2 * hidden + width) * bytes)) + hidden * (4 + bytes)"
    # one-hot routing in int64; the worst expert sees every token
    loop = f"16 * chosen * (experts + 1) + (4 * hidden + {active + 2} * width) * bytes + hidden * 4"
    router = "experts * (bytes + 8)"
    formula = f"sequences * tokens * (streams * hidden * bytes + {router} + max({pairs}, {loop}))"
    return Moment("experts", formula, inputs)


def _workspaces(run: Prefill) -> Iterator[Term]:
    """Memory that only CUDA's kernels take; a trace on the CPU does not see it."""
    if run.implementation == "eager":
        return
    group = max(run.architecture.attention, key=lambda group: group.heads * group.head_dim)
    inputs = {**run.inputs, "heads": group.heads, "head_dim": group.head_dim}
    del inputs["hidden"]
    if run.implementation == "sdpa":
        yield from _sdpa_on_cuda(run, inputs)
    # Blocks of 64 queries; the kernel splits the keys only while there are fewer blocks than two per multiprocessor,
    # and into no more parts than 64-key blocks, at most 128.
    queries = "min(sequences * tokens * heads, 64 * blocks)"
    parts = "min(128, ceil_div(min(tokens, ceil_div(64 * blocks, heads)), 64))"
    yield bound(
        "activations/cuda_split_keys",
        f"4 * {queries} * {parts} * (ceil_div(head_dim, 32) * 32 + 1)",
        {**_only(inputs, "sequences", "tokens", "heads", "head_dim"), "blocks": 2 * run.multiprocessors},
        source="PyTorch, native/transformers/cuda/flash_attn/flash_api.cpp: set_params_splitkv, num_splits_heuristic",
    )


def _sdpa_on_cuda(run: Prefill, inputs: Mapping[str, int]) -> Iterator[Term]:
    source = "PyTorch, native/transformers/attention.cpp: {}"
    masked = any(_sees_mask(run, group) for group in run.architecture.attention)
    if masked:
        # the boolean mask in the queries' dtype, and once more with its rows padded to 16 columns
        yield bound(
            "activations/cuda_mask",
            "sequences * tokens * (2 * tokens + 16) * bytes",
            _only(inputs, "sequences", "tokens", "bytes"),
            source=source.format("convert_boolean_attn_mask, preprocess_mask, pad_bias"),
        )
    if any(_decomposed(run, group) for group in run.architecture.attention):
        # scores, softmax and its guard against empty rows (13 bytes each), the causal mask, and queries, keys,
        # values and output in float32, two of them scaled
        yield bound(
            "activations/cuda_math_attention",
            "sequences * heads * tokens * tokens * 13 + sequences * tokens * tokens * 5"
            " + sequences * tokens * heads * head_dim * 28",
            _only(inputs, "sequences", "tokens", "heads", "head_dim"),
            source=source.format("_scaled_dot_product_attention_math"),
        )
    flash = run.grouped_kernels and not masked and inputs["head_dim"] <= _FLASH_HEAD_DIM
    if inputs["head_dim"] > _REGISTER_HEAD_DIM and not flash:
        yield bound(
            "activations/cuda_output_accumulator",
            "4 * sequences * tokens * heads * head_dim",
            _only(inputs, "sequences", "tokens", "heads", "head_dim"),
            source="PyTorch, mem_eff_attention/kernel_forward.h: kNeedsOutputAccumulatorBuffer",
        )


# Flash attention, which takes half precision without a mask, needs no buffer; wider outputs than this do not stay in
# registers (kKeepOutputInRF).
_REGISTER_HEAD_DIM: Final = 128


def _only(inputs: Mapping[str, int], *names: str) -> dict[str, int]:
    return {name: inputs[name] for name in names}
