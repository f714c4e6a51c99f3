"""Bytes alive beside weights and cache while transformers reads a prompt: an upper bound, moment by moment.

The peak of a forward pass is the peak of its worst moment. The moments of each class are recorded (moments.py): traces
of transformers' own modules, as formulas of the config. To the worst of them come what `generate()` adds before and
after the pass and what only CUDA's kernels take. The cache is counted in full from the start, so a moment before a
layer has cached its keys and values leaves those two tensors out. docs/memory-model.md gives the argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Final

from vramguard.memory import moments
from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.families import recorded
from vramguard.memory.ledger import Term, bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.memory.architecture import Attention
    from vramguard.memory.moments import Moment

IMPLEMENTATIONS: Final = ("sdpa", "eager", "flash_attention_2")
SOURCE: Final = "transformers {}, {}, traced by scripts/record_activations.py"


@dataclass(frozen=True)
class Prefill:
    """One forward pass over `sequences` prompts of `tokens` tokens each; more than one means a padded batch."""

    architecture: Architecture
    tokens: int
    sequences: int
    element_bytes: int  # of the model's dtype, 2 or 4
    implementation: str  # one of IMPLEMENTATIONS
    fused_kernels: bool = True  # False where the card has none for this dtype: attention is computed by its formula
    grouped_kernels: bool = True  # False where none takes fewer key heads than query heads
    multiprocessors: int = 132
    mask_heads: int | None = None  # heads that a trace saw masks for, 0 for no mask; None: as recorded

    @property
    def inputs(self) -> dict[str, int]:
        """What formulas are computed from; the config's own names stand beside them in a moment's inputs."""
        hidden = self.architecture.hidden
        return {"sequences": self.sequences, "tokens": self.tokens, "hidden": hidden, "bytes": self.element_bytes}

    @property
    def slides(self) -> bool:
        """Whether the prompt is longer than a window: then a mask is built."""
        return any(self.tokens >= window for window in self.architecture.windows)

    @property
    def pads(self) -> bool:
        """Whether it is one of a padded batch, or repeats the keys of wider heads as transformers does for one."""
        return self.sequences > 1 or any(group.head_dim > _FLASH_HEAD_DIM for group in self.architecture.attention)

    @cached_property
    def moments(self) -> list[Moment]:
        """Moments that this pass may come to; UnprovenError where its class was not recorded."""
        network = self.architecture
        table = moments.of(network)
        wider = moments.rank(network.activation) > moments.rank(table.activation(network.variant))
        return table.moments(network, self.implementation, window=self.slides, batch=self.pads, any_activation=wider)

    @property
    def always_masked(self) -> bool:
        """Whether the class builds a mask, or a bias in its place, for a single short prompt too."""
        return bool(self._squares) if self.mask_heads is None else self.mask_heads > 0

    @property
    def mask_per_head(self) -> bool:
        """Whether that mask is one for each head (a position bias), not one for all."""
        if self.mask_heads is not None:
            return self.mask_heads > 1
        shared = {"sequences", "tokens", "bytes"}
        return any({*names} - shared for names in self._squares)

    @cached_property
    def _squares(self) -> list[tuple[str, ...]]:
        table = moments.of(self.architecture)
        plain = table.moments(self.architecture, self.implementation, window=False, batch=False)
        return [names for moment in plain for _, names in moment.terms if names.count("tokens") > 1]


def default_implementation(network: Architecture) -> str:
    """What transformers 5 chooses where nobody asks: sdpa, except for classes that rule it out."""
    return "sdpa" if recorded()["classes"][network.name]["sdpa"] else "eager"


def activations(run: Prefill) -> tuple[Term, ...]:
    """Rows of the ledger; raises UnprovenError for what transformers refuses or was not recorded."""
    _refuse(run)
    return (_inputs(run), _worst_moment(run), *_workspaces(run))


def activations_beside(run: Prefill, traced: tuple[Term, ...]) -> tuple[Term, ...]:
    """Rows with a traced pass in place of the moments, beside it what `generate()` and CUDA's kernels add."""
    _refuse(run)
    return (_inputs(run), *traced, *_workspaces(run))


def _refuse(run: Prefill) -> None:
    implementation, name = run.implementation, run.architecture.name
    if implementation not in IMPLEMENTATIONS:
        raise UnprovenError(f"attn_implementation {implementation} is not supported: {', '.join(IMPLEMENTATIONS)} are")
    if implementation != "eager" and not recorded()["classes"][name][implementation]:
        raise UnprovenError(f"transformers does not run {name} with attn_implementation {implementation}")
    if implementation == "flash_attention_2" and run.element_bytes != 2:  # noqa: PLR2004 - bytes of a half
        raise UnprovenError("flash_attention_2 needs float16 or bfloat16")


def _inputs(run: Prefill) -> Term:
    """ids, 2-D mask and positions in int64, each with a copy that generate() makes."""
    return bound("activations/inputs", "sequences * tokens * 64", _only(run.inputs, "sequences", "tokens"))


def _worst_moment(run: Prefill) -> Term:
    inputs = {**run.architecture.sizes, **run.inputs}
    worst = max(run.moments, key=lambda moment: moment.bytes(inputs))
    needed = {name for name in inputs if any(name in factor for factor in worst.names)} | {*run.inputs}
    source = SOURCE.format(recorded()["transformers"], run.architecture.name)
    # last token's logits, cast to float32, processed, sorted with int64 indices, softmax, cumulated, drawn from
    sampling = "sequences * tokens * hidden * 2 * bytes + sequences * vocab * 64"
    sampled = {**run.inputs, "vocab": run.architecture.vocab}
    # At the end of the last layer its output is alive beside the whole cache.
    lower = "sequences * tokens * hidden * bytes"
    given = _only(inputs, *sorted(needed))
    seen = bound(f"activations/{worst.at}", worst.formula, given, lower=f"min({worst.formula}, {lower})", source=source)
    drawn = bound("activations/sampling", sampling, sampled, lower=lower, source="transformers, generation/utils.py")
    return max(seen, drawn, key=lambda term: term.upper_bytes)


def _workspaces(run: Prefill) -> Iterator[Term]:
    """Memory that only CUDA's kernels take; a trace on the CPU does not see it."""
    if run.implementation == "eager" or not run.architecture.attention:
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
            "sequences * masks * tokens * (2 * tokens + 16) * bytes",
            {**_only(inputs, "sequences", "tokens", "bytes"), "masks": inputs["heads"] if run.mask_per_head else 1},
            source=source.format("convert_boolean_attn_mask, preprocess_mask, pad_bias"),
        )
    plain = max((_by_formula(run, group) for group in run.architecture.attention), key=prod)
    if prod(plain):
        # scores, softmax and its guard against empty rows (13 bytes each), the causal mask, and queries, keys,
        # values and output in float32, two of them scaled
        yield bound(
            "activations/cuda_math_attention",
            "sequences * heads * tokens * tokens * 13 + sequences * tokens * tokens * 5"
            " + sequences * tokens * heads * head_dim * 28",
            {**_only(inputs, "heads", "head_dim"), "sequences": plain[0], "tokens": plain[1]},
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


def _sees_mask(run: Prefill, group: Attention) -> bool:
    """Whether sdpa gets a mask, not its causal flag."""
    windowed = group.window is not None and run.tokens >= group.window
    return run.sequences > 1 or windowed or run.always_masked


_FLASH_HEAD_DIM: Final = 256


def _by_formula(run: Prefill, group: Attention) -> tuple[int, int]:
    """Sequences and tokens for which PyTorch has no fused kernel and computes attention score by score; 0 for none.

    Keys are passed on as they are, fewer than the queries, only where there is no mask (use_gqa_in_sdpa): one prompt,
    within its window. A larger request counts such a smaller one, which may come instead.
    """
    fewer = group.kv_heads < group.heads
    if run.architecture.model_type == "falcon" and fewer:
        return run.sequences, run.tokens  # one key head, which no fused kernel takes without enable_gqa
    if not run.fused_kernels or group.head_dim % 8 != 0:
        return run.sequences, run.tokens
    if fewer and not run.grouped_kernels and group.head_dim <= _FLASH_HEAD_DIM and not run.always_masked:
        return 1, run.tokens if group.window is None else min(run.tokens, group.window - 1)
    return 0, 0


# Flash attention, which takes half precision without a mask, needs no buffer; wider outputs than this do not stay in
# registers (kKeepOutputInRF).
_REGISTER_HEAD_DIM: Final = 128


def _only(inputs: Mapping[str, int], *names: str) -> dict[str, int]:
    return {name: inputs[name] for name in names}
