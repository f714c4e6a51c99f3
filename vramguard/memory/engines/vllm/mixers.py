"""What a running server's mixers take and the profile run does not show.

Where a layer of states or of latents has no metadata, as in the profile run, it returns before its kernels, so that
the cache is sized without them (vLLM 0.33.0, layers/mamba/mamba_mixer2.py, MambaMixer2.conv_ssm_forward;
gdn/qwen_gdn_linear_attn.py, _forward_core; layers/attention/mla_attention.py, forward_impl). What they allocate is
counted here from the sources: of every release since 0.10.2 the most. A batch may be prompts of every sequence at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.engines.vllm.layout import BLOCK_SIZE
from vramguard.memory.engines.vllm.specs import language
from vramguard.memory.engines.vllm.states import DELTA, LIGHTNING, MAMBA_1, MAMBA_2, SHORT, SIZES
from vramguard.memory.expression import ceil_div
from vramguard.memory.ledger import Term, bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.memory.engines.vllm.batch import Step

_SSD: Final = "layers/mamba/ops/ssd_combined.py, ssd_chunk_state.py, ssd_state_passing.py, ssd_bmm.py"
_FLA: Final = (
    "third_party/flash_linear_attention/ops (before 0.30 layers/fla/ops): chunk.py, chunk_delta_h.py, wy_fast.py"
)
_SPARSE: Final = ("deepseek_v32", "glm_moe_dsa")
_HOPPER: Final = 9
_SPARSE_HEADS: Final = 128  # FlashMLA's sparse kernels pad the heads of a rank to 64, on Blackwell to 128


class _Kernels(NamedTuple):
    """Bytes of one mixer's kernels as a formula, the names of its inputs, and where they were read."""

    formula: str
    inputs: Mapping[str, int]
    source: str


def unprofiled(step: Step, profiled: int, latent: Mapping[str, int]) -> tuple[Term, ...]:
    """One row, runtime/mixer_kernels: the largest mixer's pass beyond the `profiled` bytes that are counted anyway.

    `latent` has the sizes of latent attention's pieces of a context, as `batch` knows them; empty for other attention.
    Beside a mixer stand hidden states, the residual, and the mixer's own result.
    """
    found = [kernels for kernels in (_recurrent(step), _latent(step, latent)) if kernels is not None]
    if not found:
        return ()
    inputs = {"batched": step.sizes.tokens, "hidden": step.loaded.network.hidden, "bytes": step.loaded.element_bytes}
    inputs |= {"seqs": min(step.sizes.sequences, step.sizes.tokens), "profiled": profiled}
    for kernels in found:
        inputs |= kernels.inputs
    passes = ", ".join(kernels.formula for kernels in found)
    formula = f"max(0, 4 * batched * hidden * bytes + max({passes}) - profiled)"
    return (bound("runtime/mixer_kernels", formula, inputs, source=f"vLLM, {'; '.join(k.source for k in found)}"),)


def _recurrent(step: Step) -> _Kernels | None:
    """The kernels of layers with states; None where there are none, or none on the rank."""
    network = step.loaded.network
    caches = [cache for cache in network.caches if cache.states and not (cache.keys or cache.values)]
    kind = language(network)
    sizes = _sizes(step)
    if not caches or not sizes:
        return None
    scans = caches[0].states if kind in LIGHTNING else caches[0].states[1:]
    sizes["state"] = ceil_div(sum(state.elements for state in scans), step.rank.tensor_parallel)
    rows = ((MAMBA_2, _mamba_2), (MAMBA_1, _mamba_1), (DELTA, _delta), (LIGHTNING, _lightning), (SHORT, _short))
    return next((kernels(step, sizes) for kinds, kernels in rows if kind in kinds), None)


def _sizes(step: Step) -> dict[str, int]:
    """Of one mixer on the rank: rows of its projections and of its convolution, width of its result, heads."""
    most: dict[str, int] = {}
    for tensor in step.tensors:
        *path, leaf = tensor.name.removesuffix(".weight").split(".")
        if not _MIXERS.isdisjoint(path):
            axis = 1 if leaf in ("out_proj", "o_proj") and len(tensor.shape) > 1 else 0
            size = max(tensor.shape) if leaf == "A_log" else tensor.shape[axis]
            most[leaf] = max(size, most.get(leaf, 0))
    convolved = most.get("conv1d", most.get("conv"))
    if convolved is None and "qkv_proj" not in most:
        return {}
    return {
        "projected": sum(most.get(name, 0) for name in _TOGETHER) or sum(most.get(name, 0) for name in _APART),
        "convolved": convolved or 0,
        "inner": max(1, most.get("out_proj", most.get("o_proj", 0))),
        "heads": most.get("A_log", 0),
        "parameters": most.get("x_proj", 0),
    }


_MIXERS: Final = frozenset(("mamba", "mixer", "linear_attn", "conv", "self_attn"))
_TOGETHER: Final = ("in_proj", "in_proj_qkv", "in_proj_z", "in_proj_qkvz", "in_proj_a", "in_proj_b", "in_proj_ba")
_APART: Final = ("q_proj", "k_proj", "v_proj", "qkv_proj", "g_proj", "f_b_proj", "g_b_proj", "output_gate")


def _mamba_2(step: Step, sizes: Mapping[str, int]) -> _Kernels:
    """Chunks of the scan: a state of each, and once more as it is passed on; time steps; C x B of each group.

    A chunk ends where a sequence does, and at each multiple of its length from the sequence's start. A sequence that
    goes on after a cached prefix may do so in the midst of one, and may keep a checkpoint in the midst of another;
    prefixes end where blocks of 16 tokens do, as chunks do, so that such a sequence has 16 tokens or more. Only one
    goes on after a step that was full. Of each sequence the state as it was and as it is, before 0.11 twice.
    """
    network, variant = step.loaded.network, step.variant
    inputs = {
        **{name: sizes[name] for name in ("projected", "convolved", "inner", "heads", "state")},
        "chunk": next((network.sizes[name] for name in SIZES.chunks if network.sizes.get(name)), SIZES.chunk),
        "seams": variant.manager.hybrid_prefix_caching + ("mamba2" in variant.manager.checkpoints),
        "groups": ceil_div(
            next((network.sizes[name] for name in SIZES.groups if name in network.sizes), 1), step.rank.tensor_parallel
        ),
        "kept": 12 if variant.profile.span[0] < _SCANS_IN_PLACE else 8,
        "scaled": 1 + (language(network) == "falcon_h1"),  # by mup_vector
    }
    chunks = f"min(batched, batched // chunk + seqs + seams * min(seqs, batched // {BLOCK_SIZE}) + 2)"
    scan = f"{chunks} * (8 * state + 8 * heads * chunk + 4 * groups * chunk * chunk) + kept * seqs * state"
    # The norm of groups computes in float32: the gate, its activation, the product and its square.
    scanning = f"2 * batched * bytes * convolved + {scan}"
    formula = f"batched * bytes * (scaled * projected + inner) + max(16 * batched * inner, {scanning})"
    return _Kernels(formula, inputs, f"layers/mamba/mamba_mixer2.py; {_SSD}")


_SCANS_IN_PLACE: Final = (0, 11)


def _mamba_1(_step: Step, sizes: Mapping[str, int]) -> _Kernels:
    """Inputs of the selective scan, each once more where it is not contiguous; states are changed in place."""
    names = ("projected", "inner", "parameters")
    formula = "batched * bytes * (projected + 8 * inner + 3 * parameters)"
    source = "layers/mamba/mamba_mixer.py; layers/mamba/ops/mamba_ssm.py, selective_scan_fn"
    return _Kernels(formula, {name: sizes[name] for name in names}, source)


def _delta(step: Step, sizes: Mapping[str, int]) -> _Kernels:
    """Chunks of 64 tokens: a state of each in the model's dtype, their triangular systems, and what solves them.

    Of the convolution's width: what goes in, and comes out; queries, keys and values split, normed, and contiguous, by
    eager code once more before. Of a result's: gate, output, solved values, new values, result, and its merger with
    that of decoded tokens; with a decay for each channel (KDA) eight more, two of them in float32. The solved keys. Of
    each sequence its state as it was, in float32, and as it is; and as a checkpoint.
    """
    gated = language(step.loaded.network) == "kimi_linear"
    kept = 10 + 4 * ("kda" in step.variant.manager.checkpoints)
    inputs = {name: sizes[name] for name in ("projected", "convolved", "inner", "heads", "state")}
    inputs |= {"results": 14 if gated else 6, "systems": 2 if gated else 1, "kept": kept}
    formula = (
        "batched * (bytes * (projected + 6 * convolved + results * inner + heads * state // inner)"
        " + systems * heads * (64 * (4 + bytes) + 16)) + (batched // 64 + seqs) * state * bytes + kept * seqs * state"
    )
    return _Kernels(formula, inputs, f"layers/mamba/gdn and layers/kda.py; {_FLA}, kda.py")


def _short(_step: Step, sizes: Mapping[str, int]) -> _Kernels:
    """Three parts, the product of two, its copy, its convolution, and that times the third, for prompts and decodes."""
    formula = "batched * bytes * (projected + 6 * convolved)"
    inputs = {name: sizes[name] for name in ("projected", "convolved")}
    return _Kernels(formula, inputs, "layers/mamba/short_conv.py")


def _lightning(_step: Step, sizes: Mapping[str, int]) -> _Kernels:
    """Sequences one after the other: blocks of 256 tokens have a state each, in float32."""
    names = ("projected", "inner", "state")
    formula = "batched * (bytes * (3 * projected + 8 * inner) + 8 * projected) + (batched // 256 + 5) * 4 * state"
    source = "layers/mamba/linear/minimax_linear_attn.py; layers/lightning_attn.py"
    return _Kernels(formula, {name: sizes[name] for name in names}, source)


def _latent(step: Step, latent: Mapping[str, int]) -> _Kernels | None:
    """Latent attention: prompts as heads of their own, decoded tokens as one head of latents for all.

    Prompts: queries twice, keys and values from the latent, keys joined with their rotary part, values padded to the
    width of keys, and four results (of the new tokens, of a piece of the context, of all pieces, merged); of a piece of
    the context its keys and values, and the keys joined, while the one before has either. Sparse attention does prompts
    as it decodes.
    """
    if not latent:
        return None
    network, sizes = step.loaded.network, step.sizes
    nope, valued = network.sizes.get("qk_nope_head_dim", 0), network.sizes.get("v_head_dim", 0)
    keyed = nope + network.sizes.get("qk_rope_head_dim", 0)
    heads = ceil_div(max(group.heads for group in network.attention), step.rank.tensor_parallel)
    sparse = language(network) in _SPARSE
    padded = step.device.generation != _HOPPER  # FlashAttention 3 takes values that are narrower than keys
    inputs = {
        "latent": latent["latent"],
        "latent_heads": heads,
        "padded_heads": max(heads, _SPARSE_HEADS) if sparse else heads,
        "keyed": keyed,
        "valued": valued,
        "unfolded": nope + valued,
        "padded": keyed if padded else 0,
        "resulting": keyed if padded else valued,
        "pieces": 0 if sparse else latent["pieces"],
        "decoded": sizes.tokens if sparse else min(sizes.tokens, sizes.sequences * (1 + sizes.drafts)),
    }
    prompt = "batched * (3 * keyed + unfolded + padded + 4 * resulting)"
    piece = "pieces * (unfolded + keyed + max(unfolded, keyed) + padded)"
    decodes = "decoded * (3 * padded_heads * latent + latent_heads * (2 * keyed + 2 * valued))"
    formula = f"bytes * max({'0' if sparse else f'latent_heads * ({prompt} + {piece})'}, {decodes})"
    source = "layers/attention/mla_attention.py, MLACommonImpl (0.10.2: v1/attention/backends/mla/common.py)"
    return _Kernels(formula, inputs, source)
