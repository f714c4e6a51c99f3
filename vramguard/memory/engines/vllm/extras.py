"""What a vLLM deployment may add to a model: adapters, a draft of the next tokens, weights on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.shards import ROWS
from vramguard.memory.engines.vllm.profiles import drafting, least_capability, quantizations
from vramguard.memory.engines.vllm.specs import language
from vramguard.memory.engines.vllm.variants import LAST
from vramguard.memory.ledger import Term, bound
from vramguard.memory.weights import scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vramguard.memory.architecture import Architecture, Tensor
    from vramguard.memory.engines import Ask
    from vramguard.memory.engines.shards import Rank
    from vramguard.memory.engines.vllm.variants import Variant
    from vramguard.memory.quantization import Scheme
    from vramguard.memory.runtime import Device
    from vramguard.memory.verdict import Workload
    from vramguard.memory.weights import Loaded

_NO_WEIGHTS: Final = ("ngram", "suffix")
_OWN_LAYERS: Final = ("mtp", "deepseek_mtp", "qwen3_next_mtp", "glm4_moe_mtp", "ernie_mtp", "mimo_mtp")
_LORA_RANK: Final = 16  # vLLM, config/lora.py: LoRAConfig.max_lora_rank
_MARLIN: Final = 128
_HIDDEN: Final = 256
_BLACKWELL: Final = 10
_HOPPER: Final = 9
_ORACLE: Final = (0, 19)  # before, the card decided by itself
_LAYERS: Final = ("num_nextn_predict_layers", "num_mtp_layers")


def refuse(workload: Workload) -> None:
    """Raise UnprovenError for a draft whose weights are not known."""
    method = workload.speculative_method
    if method is None:
        if workload.num_speculative_tokens:
            raise UnprovenError("num_speculative_tokens without speculative_method: what drafts them is not known")
        return
    known = drafting(workload.engine_version)
    if known and method not in known:
        raise UnprovenError(f"vllm {workload.engine_version or ''} has no speculative_method {method}")
    if method not in (*_NO_WEIGHTS, *_OWN_LAYERS):
        raise UnprovenError(f"speculative_method {method}: the draft model's own config is not modelled yet")
    if workload.num_speculative_tokens is None:
        raise UnprovenError(f"speculative_method {method} without num_speculative_tokens")


def packed(ask: Ask) -> Scheme | None:
    """How vLLM packs the weights, whatever transformers would do; raises UnprovenError for what it does not take."""
    version, device = ask.workload.engine_version, ask.device
    scheme = scheme_of(ask.config, ask.workload.quantization)
    if scheme is None:
        return None
    if scheme.method not in quantizations(version):
        raise UnprovenError(f"vllm {version or LAST} has no quantization {scheme.method}")
    least = least_capability(scheme.method, version)
    if least is not None and 10 * device.capability[0] + device.capability[1] < least:
        needed = f"{least // 10}.{least % 10}"
        raise UnprovenError(f"vllm takes {scheme.method} on cards of compute capability {needed} and above")
    if scheme.method != "mxfp4":
        return scheme
    from vramguard.memory.quantization.fp4 import unswizzled  # loaded only where something is packed so

    return unswizzled(scheme)


def absorbed(loaded: Loaded, rank: Rank, variants: Sequence[Variant]) -> Iterator[Term]:
    """Copies of the projection of latents, turned for the attention over them.

    Views of kv_b_proj in the sources where that is not quantized; the one log of such a model (DeepSeek-V2-Lite) shows
    as many bytes more, so both are possible.
    """
    network = loaded.network
    latent = network.sizes.get("kv_lora_rank")
    if not latent or not any(language(network) in variant.manager.latent_types for variant in variants):
        return
    heads = -(-max(group.heads for group in network.attention) // rank.tensor_parallel)
    inputs = {
        "layers": rank.layers[1] - rank.layers[0],
        "heads": heads,
        "latent": latent,
        "out": network.sizes.get("qk_nope_head_dim", 0) + network.sizes.get("v_head_dim", 0),
        "bytes": loaded.element_bytes,
    }
    source = "vLLM, model_executor/layers/attention/mla_attention.py (process_weights_after_loading: W_UK_T, W_UV)"
    yield bound("weights/absorbed_projections", "layers * heads * latent * out * bytes", inputs, source=source)


def padding(loaded: Loaded, device: Device, variants: Sequence[Variant]) -> Callable[[Tensor], Tensor] | None:
    """What the kernels of MXFP4 experts round sizes up to, the largest of those that a card may be given; else None.

    Intermediate and hidden size: Marlin 128 and 256; on Blackwell TRT-LLM 256 (128 since 0.27) and 256; on Hopper,
    before 0.19, Triton, whose layouts round the intermediate size to 256 and no other (vLLM,
    layers/quantization/mxfp4.py, get_mxfp4_backend; since then fused_moe/oracle/mxfp4.py,
    mxfp4_round_up_hidden_size_and_intermediate_size).
    """
    if loaded.scheme is None or loaded.scheme.method != "mxfp4":
        return None
    inner, outer = _MARLIN, _HIDDEN
    if device.generation >= _BLACKWELL:
        inner = max(variant.profile.mxfp4_trtllm_intermediate for variant in variants)
    elif device.generation == _HOPPER and all(variant.profile.span[1] <= _ORACLE for variant in variants):
        inner, outer = _HIDDEN, 1
    # Gate and up are rounded each; shapes are those of GptOssExperts, the only class that is packed so.
    steps = {
        "gate_up_proj": (outer, 2 * inner),
        "gate_up_proj_bias": (2 * inner,),
        "down_proj": (inner, outer),
        "down_proj_bias": (outer,),
    }

    def pad(tensor: Tensor) -> Tensor:
        if tensor.kind != "experts":
            return tensor
        count, *sizes = tensor.shape
        rounded = (_round(*each) for each in zip(sizes, steps[tensor.name.rpartition(".")[2]], strict=True))
        return tensor._replace(shape=(count, *rounded))

    return pad


def _round(size: int, step: int) -> int:
    return -(-size // step) * step


def adapters(workload: Workload, network: Architecture, rank: Rank, element_bytes: int) -> Iterator[Term]:
    """Slots of LoRA adapters: a pair of matrices for each Linear of a layer, in the model's dtype, filled or not."""
    if workload.max_loras is None and workload.max_lora_rank is None:
        return
    inputs = {
        "slots": workload.max_loras or 1,
        "rank": workload.max_lora_rank or _LORA_RANK,
        "sides": sum(_sides(tensor, rank.tensor_parallel) for tensor in network.tensors),
        "bytes": element_bytes,
    }
    source = "vLLM, lora/layers/base_linear.py (create_lora_weights), lora/layers/logits_processor.py, config/lora.py"
    yield bound("weights/adapter_slots", "slots * rank * sides * bytes", inputs, source=source)


def _sides(tensor: Tensor, parallel: int) -> int:
    """Rows of both matrices of one adapter of rank 1, for all copies of a weight."""
    if tensor.kind not in ("linear", "conv1d", "experts", "embedding") or len(tensor.shape) < 2:  # noqa: PLR2004
        return 0
    *count, out, into = tensor.shape[-3:]
    leaf = tensor.name.rpartition(".")[0].rpartition(".")[2]
    split = (out + -(-into // parallel)) if leaf in ROWS else (-(-out // parallel) + into)
    return split * tensor.copies * (count[0] if count else 1)


def draft(workload: Workload, network: Architecture, loaded: Loaded, rank: Rank) -> Iterator[Term]:
    """Weights of the layers that guess ahead: as large as the model's largest, with a projection of two states.

    Their embedding and head may be the model's own, or copies.
    """
    if workload.speculative_method not in _OWN_LAYERS or not rank.last:
        return
    number = next((network.sizes[name] for name in _LAYERS if network.sizes.get(name)), 1)
    parallel = rank.tensor_parallel
    inputs = {
        "layers": number,
        "layer": -(-_largest_layer(network) // parallel) * loaded.element_bytes,
        "hidden": network.hidden,
        "vocab": -(-network.vocab // parallel) + 64,
        "bytes": loaded.element_bytes,
    }
    formula = "layers * (layer + 4 * hidden * hidden * bytes) + 2 * vocab * hidden * bytes"
    yield bound("weights/draft", formula, inputs, source="vLLM, model_executor/models/deepseek_mtp.py and its kin")


def _largest_layer(network: Architecture) -> int:
    """Elements of the layer that has most."""
    sizes = [0] * network.layers
    for tensor in network.tensors:
        if tensor.layers and max(tensor.layers) < network.layers:
            for layer in tensor.layers:
                sizes[layer] += tensor.elements // len(tensor.layers)
    return max(sizes, default=network.parameters)
