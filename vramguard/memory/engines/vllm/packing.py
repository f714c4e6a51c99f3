"""Packed weights as vLLM keeps them: what it takes, what its kernels round up, and what packing while loading takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.resident import resident
from vramguard.memory.engines.shards import TOWER, ParallelismError, shares
from vramguard.memory.engines.vllm.profiles import least_capability, quantizations
from vramguard.memory.engines.vllm.variants import LAST
from vramguard.memory.ledger import Term, bound
from vramguard.memory.weights import scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vramguard.memory.architecture import Tensor
    from vramguard.memory.engines import Ask
    from vramguard.memory.engines.shards import Rank
    from vramguard.memory.engines.vllm.variants import Variant
    from vramguard.memory.quantization import Scheme
    from vramguard.memory.runtime import Device
    from vramguard.memory.weights import Loaded

_MARLIN: Final = 128
_MX_GROUP: Final = 32
_HIDDEN: Final = 256
_BLACKWELL: Final = 10
_HOPPER: Final = 9
_ORACLE: Final = (0, 19)  # before, the card decided by itself
_PACKS_ONE_BY_ONE: Final = (0, 16)
_MLP: Final = ("gate_proj", "up_proj", "gate_up_proj", "down_proj")
_ANY_TOWER: Final = re.compile("vision|visual|audio|image|encoder")
_REFINED: Final = (0, 31)  # from this release on, scales of experts are made finer where blocks do not divide


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


def loading(
    ask: Ask, loaded: Loaded, rank: Rank, variants: Sequence[Variant], serving: Sequence[Term]
) -> Iterator[Term]:
    """What loading takes beyond serving, of whose rows all but the start's stand in its place.

    Before 0.16 weights that become fp8 as they are loaded are all on the card in the model's dtype at first, and each
    is then packed beside itself (0.15.1, layers/quantization/fp8.py, create_weights; since then on the meta device).
    """
    scheme = loaded.scheme
    early = any(variant.profile.span[0] < _PACKS_ONE_BY_ONE for variant in variants)
    if scheme is None or scheme.method != "fp8" or not scheme.on_the_fly or not early:
        return
    rows = resident(ask.config, loaded._replace(scheme=None), rank)
    inputs = {
        "dense": sum(term.upper_bytes for term in rows),
        "largest": max(term.upper_bytes // term.inputs.get("copies", 1) for term in rows),
        "serving": sum(term.upper_bytes for term in serving if term.name != "runtime/start"),
    }
    source = "vLLM 0.15.1, model_executor/layers/quantization/fp8.py (Fp8OnlineLinearMethod)"
    yield bound("runtime/loading", "max(0, dense + largest - serving)", inputs, source=source)


def refuse_blocks(ask: Ask, rank: Rank, variants: Sequence[Variant]) -> None:
    """Raise ParallelismError where a card's share of an MLP is no whole number of blocks that share a scale.

    (vLLM, layers/quantization/utils/fp8_utils.py, validate_fp8_block_shape; of experts validate_fp8_block_shape_moe,
    which refuses until 0.30.)
    """
    given = ask.config.get("quantization_config")
    block = given.get("weight_block_size") if isinstance(given, Mapping) else None
    if rank.tensor_parallel == 1 or not isinstance(block, list) or len(block) != 2:  # noqa: PLR2004 - rows, columns
        return
    refined = any(variant.profile.span[1] > _REFINED for variant in variants)
    for share in shares(ask.network, rank):
        tensor = share.most
        experts = tensor.kind == "experts" or ".experts." in tensor.name
        leaf = tensor.name.removesuffix(".weight").rpartition(".")[2]
        if (
            leaf not in _MLP
            or share.least is None
            or TOWER.search(tensor.name)
            or (experts and (refined or rank.expert_ranks))
        ):
            continue
        inner = [size for size in tensor.shape[-2:] if size != ask.network.hidden] or [tensor.shape[-1]]
        parts = 2 if leaf == "gate_up_proj" else 1
        if any(isinstance(each, int) and each > 0 and inner[-1] // parts % each for each in block):
            what = f"{tensor.name}: {inner[-1] // parts} rows on a card are no whole number of blocks of {block[0]}"
            raise ParallelismError(f"{what}, which vllm refuses at tensor_parallel_size {rank.tensor_parallel}")


def padding(
    loaded: Loaded, device: Device, variants: Sequence[Variant]
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] | None:
    """What the kernels of MXFP4 experts round sizes up to, at least and at most of those that a card may be given.

    At most, intermediate and hidden size: Marlin 128 and 256; on Blackwell TRT-LLM 256 (128 since 0.27) and 256; on
    Hopper, before 0.19, Triton, whose layouts round the intermediate size to 256 and no other (vLLM,
    layers/quantization/mxfp4.py, get_mxfp4_backend; since then fused_moe/oracle/mxfp4.py,
    mxfp4_round_up_hidden_size_and_intermediate_size). At least, the intermediate size: to 32, which share a scale.
    """
    if loaded.scheme is None or loaded.scheme.method != "mxfp4":
        return None
    inner, outer = _MARLIN, _HIDDEN
    if device.generation >= _BLACKWELL:
        inner = max(variant.profile.mxfp4_trtllm_intermediate for variant in variants)
    elif device.generation == _HOPPER and all(variant.profile.span[1] <= _ORACLE for variant in variants):
        inner, outer = _HIDDEN, 1
    return _padded(_MX_GROUP, 1), _padded(inner, outer)


def _padded(inner: int, outer: int) -> Callable[[Tensor], Tensor]:
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


def packs_tower(loaded: Loaded) -> bool:
    """Whether a quantizer takes a matrix of the tower, whose inputs are then packed too, a byte each at most."""
    if loaded.scheme is None:
        return False
    from vramguard.memory.quantization.scheme import split  # loaded only where something is quantized

    choose = loaded.scheme.rule.chooser(loaded.quantized)
    return any(_ANY_TOWER.search(tensor.name) and any(split(tensor, choose)) for tensor in loaded.network.tensors)
