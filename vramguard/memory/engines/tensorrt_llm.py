"""TensorRT-LLM: a forward pass over the largest batch, then a cache in a share of what that left free.

Its PyTorch backend, the default since 1.0: `KvCacheCreator` measures a peak, weights included, and gives the cache
free_gpu_memory_fraction of the rest. (TensorRT-LLM 1.2, tensorrt_llm/_torch/pyexecutor/_util.py.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import Ask, Deployed, Holding, stated
from vramguard.memory.engines.decoder_rows import HALF, Card, card, collectives, layer_pass, layers, words
from vramguard.memory.engines.resident import rounding
from vramguard.memory.engines.shards import ParallelismError, Rank
from vramguard.memory.engines.stated import share
from vramguard.memory.ledger import Ledger, Term, bound, measured
from vramguard.memory.runtime import runtime
from vramguard.memory.weights import Loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.verdict import Workload

MODELED_VERSION: Final = "1.2.1"
_SOURCE: Final = "TensorRT-LLM 1.2, tensorrt_llm/_torch/{}"
# _torch/models, register_auto_model: dense decoders that were read. The workspaces of its fused experts were not.
_CLASSES: Final = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_HEAD_DIMS: Final = (64, 128, 256)  # with fused context attention; without, its workspace is the prompt's square
_BATCH: Final = 2048  # llmapi/llm_args.py (BaseLlmArgs): max_batch_size, max_num_tokens
_TOKENS: Final = 8192
_BLOCK: Final = 32  # KvCacheConfig: tokens_per_block, free_gpu_memory_fraction
_FRACTION: Final = "0.9"
_GRAPHS: Final = (*range(1, 33), 64, 128)  # CudaGraphConfig without padding, as it is by default
_PADDED_GRAPHS: Final = (1, 2, 4, *range(8, 129, 8))
_GRAPH_LAYER_BYTES: Final = 2_776_307  # 8.605 GiB of 52 graphs and 64 layers
_GRAPH_SOURCE: Final = (
    "SGLang's start-up log of Olmo-3-32B on a B200 (sgl-project/sglang#13666): 8.60 GiB for the graphs of 52 batch "
    "sizes and 64 layers, the most seen; in vLLM's logs on H100 80GB at most 1.85 GiB for those of 51"
)
_AMPERE: Final = (8, 0)
_EIGHT_BITS: Final = ("fp8", "fp8_e4m3")


def refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what is not modelled; the message names the feature."""
    _refuse_version(workload.engine_version)
    if network.name not in _CLASSES:
        raise UnprovenError(f"{network.name} is not supported yet for tensorrt-llm: {', '.join(_CLASSES)} are")
    if workload.data_parallel_size not in (None, 1):
        raise UnprovenError(f"data_parallel_size {workload.data_parallel_size} is not supported yet for tensorrt-llm")
    if workload.quantization not in (None, "none"):
        raise UnprovenError(f"quantization {workload.quantization} is not supported yet for tensorrt-llm")
    for name in ("cpu_offload_gb", "enable_expert_parallel", "n_gpu_layers"):
        if getattr(workload, name):
            raise UnprovenError(f"{name} is not supported for tensorrt-llm")
    if workload.attn_implementation not in (None, "TRTLLM"):
        raise UnprovenError(f"attn_implementation {workload.attn_implementation} is not supported, TRTLLM is")
    if workload.kv_cache_dtype not in (None, "auto", *HALF, *_EIGHT_BITS):
        raise UnprovenError(f"kv_cache_dtype {workload.kv_cache_dtype} is not supported yet for tensorrt-llm")
    block = workload.block_size or _BLOCK
    if block & (block - 1):
        raise UnprovenError(f"block_size {block}: tokens_per_block is a power of two")
    if any(group.head_dim not in _HEAD_DIMS for group in network.attention):
        sizes = sorted({group.head_dim for group in network.attention})
        raise UnprovenError(f"head_dim {sizes}: whether tensorrt-llm has fused attention for it is not known")
    _stages(network, workload)


def _refuse_version(version: str | None) -> None:
    match = re.match(r"v?(\d+)\.(\d+)", version or MODELED_VERSION)
    release = (int(match[1]), int(match[2])) if match else None
    if release is not None and release[0] == 0:
        raise UnprovenError(
            f"tensorrt-llm {version} runs TensorRT engines, whose activation memory is fixed when they are built: it "
            "stands in the build's log (Total Activation Memory), in no config"
        )
    if release == (1, 0):
        raise UnprovenError("tensorrt-llm 1.0: the buffers of its TRTLLMSampler were not read; 1.1 and 1.2 are known")
    if release not in ((1, 1), (1, 2)):
        raise UnprovenError(f"tensorrt-llm {version} is not supported, 1.1 and 1.2 are")


def _stages(network: Architecture, workload: Workload) -> tuple[Rank, ...]:
    """One card of each stage: the first ones have a layer more where they do not divide (mapping.py, pp_layers)."""
    parallel, stages = workload.tensor_parallel_size or 1, workload.pipeline_parallel_size or 1
    for group in network.attention:
        uneven = group.kv_heads % parallel and parallel % group.kv_heads
        if group.heads % parallel or uneven:
            raise ParallelismError(
                f"{group.heads} heads and {group.kv_heads} key heads do not go with tp_size {parallel}"
            )
    if stages > network.layers:
        raise ParallelismError(f"pipeline_parallel_size {stages} is more than the model's {network.layers} layers")
    each, rest = divmod(network.layers, stages)
    starts = [stage * each + min(stage, rest) for stage in range(stages + 1)]
    return tuple(Rank(parallel, stages, stage, (starts[stage], starts[stage + 1])) for stage in range(stages))


def dtypes(network: Architecture, workload: Workload) -> tuple[str, ...]:
    """The dtype that is said, else the config's, else bfloat16 (model_config.py, torch_dtype)."""
    return (stated.dtype(workload, network.dtype) or "bfloat16",)


def plan(ask: Ask, dtype: str) -> Serving:
    """Fill in what the workload leaves open; raises UnprovenError."""
    if dtype not in HALF:
        raise UnprovenError(f"dtype {dtype} is not supported for tensorrt-llm: {', '.join(HALF)} are")
    if ask.config.get("quantization_config"):
        raise UnprovenError("the config's quantization_config is not supported yet for tensorrt-llm")
    if ask.device.capability < _AMPERE:
        raise UnprovenError(f"GPU {ask.device.name}: tensorrt-llm's fused attention needs compute capability 8.0")
    said = share("gpu_memory_utilization", ask.workload.gpu_memory_utilization or _FRACTION)
    return Serving(ask=ask, loaded=Loaded(ask.network, dtype), fraction=said)


@dataclass(frozen=True)
class Serving(Deployed):
    """One card of each stage of a pipeline."""

    ask: Ask
    loaded: Loaded
    fraction: Fraction  # of what is free after the measured peak

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the model's weights, tied ones once, each once."""
        return sum(tensor.elements for tensor in self.ask.network.tensors) * self.loaded.element_bytes

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of one more token on all cards together."""
        return self._token_bytes(self.ask.network.layers) * self._parallel

    @property
    def _parallel(self) -> int:
        return self.ask.workload.tensor_parallel_size or 1

    @property
    def _batch(self) -> int:
        """max_batch_size."""
        return max(self.ask.workload.max_num_seqs or _BATCH, self.sequences)

    @property
    def _prefill(self) -> int:
        """max_num_tokens."""
        return self.ask.workload.max_num_batched_tokens or _TOKENS

    @property
    def _block(self) -> int:
        return self.ask.workload.block_size or _BLOCK

    @property
    def _kv_bytes(self) -> int:
        return 1 if self.ask.workload.kv_cache_dtype in _EIGHT_BITS else 2

    @property
    def _graphs(self) -> tuple[int, ...]:
        """Batch sizes that may have a graph, of a list with padding or one without."""
        if self.ask.workload.enforce_eager:
            return ()
        longest = max(_GRAPHS, _PADDED_GRAPHS, key=lambda sizes: sum(size <= self._batch for size in sizes))
        return tuple(size for size in longest if size <= self._batch)

    @cached_property
    def _card(self) -> Card:
        return card(self.ask.network, self._parallel)

    def _token_bytes(self, layers: int) -> int:
        return layers * 2 * self._card.keys * self._kv_bytes

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """One of each stage."""
        return tuple(self._ledger(tokens, rank) for rank in _stages(self.ask.network, self.ask.workload))

    def _ledger(self, tokens: int, rank: Rank) -> Ledger:
        weights = self._weights(rank)
        rows = (*weights, self._cache(tokens, rank), *self._pass(tokens), *self._steps(tokens))
        return Ledger((*rows, *self._process(rank, weights), *self._buffers(tokens)))

    def _weights(self, rank: Rank) -> tuple[Term, ...]:
        """Embedding and head are split by words, and padded to a multiple of the cards (modules/embedding.py)."""
        rows, tied = -(-self._card.vocab // self._parallel), self.ask.network.tied
        here = {}
        if rank.first or (rank.last and tied):
            here["embed_tokens"] = rows
        if rank.last and not tied:
            here["lm_head"] = rows
        return (*words(self.ask.network, here, 2), *layers(self.ask.config, self.loaded, rank))

    def _cache(self, tokens: int, rank: Rank) -> Term:
        """Blocks of the sequences, which hold two tokens more than they have (num_extra_tokens_per_seq)."""
        inputs = {"sequences": self.sequences, "tokens": tokens, "block": self._block}
        inputs |= {"layers": rank.layers[1] - rank.layers[0], "keys": self._card.keys, "kv_bytes": self._kv_bytes}
        per_token = "block * layers * 2 * keys * kv_bytes"
        return bound(
            "kv_cache/paged",
            f"sequences * ceil_div(tokens + 2, block) * {per_token} + 2097152",
            inputs,
            lower=f"sequences * ceil_div(tokens, block) * {per_token}",
            source=_SOURCE.format("pyexecutor/resource_manager.py (KVCacheManager): no window unless one is set"),
        )

    def _pass(self, tokens: int) -> Iterator[Term]:
        """The largest prefill, which the measured peak has."""
        source = _SOURCE.format("models/modeling_llama.py, modeling_qwen3.py; modules/gated_mlp.py, attention.py")
        yield layer_pass(self._card, 10, self._prefill, min(tokens, self._prefill), source)
        inputs = {"tokens": self._prefill, "sequences": self._batch, **self._card.inputs("queries")}
        inputs["head_dim"] = max(group.head_dim for group in self.ask.network.attention)
        yield bound(
            "activations/attention_workspace",
            "33554432 + 2 * tokens * queries + 12 * (sequences + 1) + 2 * sequences * head_dim + 8 * tokens + 2944",
            inputs,
            source="TensorRT-LLM 1.2, cpp/tensorrt_llm/common/attentionOp.cpp: getWorkspaceSizeForContext",
        )

    def _steps(self, tokens: int) -> Iterator[Term]:
        """A step of generation of the largest batch, which the measured peak does not have: beside a prefill's."""
        rows = {"sequences": self._batch, "vocab": self._card.vocab, "parallel": self._parallel}
        yield bound(
            "activations/sampling",
            "sequences * vocab * (6 * min(parallel, 2) + 40)",
            rows,
            source=_SOURCE.format("pyexecutor/sampling_utils.py (top_k_top_p_sampling_batch), logits in float32"),
        )
        group = max(self.ask.network.attention, key=lambda group: group.heads)
        keys = max(1, group.kv_heads // self._parallel)
        inputs = {"sequences": self._batch, "queries": self._card.queries, "head_dim": group.head_dim}
        inputs |= {"heads": group.heads // self._parallel, "group": -(-group.heads // self._parallel // keys)}
        inputs |= {"tiles": max(1, -(-tokens // 16_000), -(-self.ask.device.multiprocessors // inputs["heads"]))}
        decode = "sequences * (2 * queries + 8 * heads) * tiles"
        xqa = "sequences * (4 * queries + 17408) + 6000 * (8 * group * head_dim + 256 + 8 * ceil_div(group, 32) * 32)"
        yield bound(
            "activations/generation_workspace",
            f"max({decode}, {xqa} + 16 * sequences * head_dim) + 1048576",
            inputs,
            source="TensorRT-LLM 1.2, cpp/tensorrt_llm/common/attentionOp.cpp: getWorkspaceSizeForGeneration; "
            "kernels/xqaDispatcher.cpp: getWorkspaceSize, kXQA_MAX_NUM_SUB_SEQ",
        )

    def _process(self, rank: Rank, weights: tuple[Term, ...]) -> Iterator[Term]:
        context, workspaces, _ = runtime(self.ask.network, self.ask.device, ())
        yield context
        yield workspaces
        yield from collectives(self._parallel * rank.stages)
        if self._graphs:
            most = len(self._graphs) * (rank.layers[1] - rank.layers[0]) * _GRAPH_LAYER_BYTES
            yield measured("runtime/cuda_graphs", 0, most, _GRAPH_SOURCE)
        yield from rounding(weights, 1)

    def _buffers(self, tokens: int) -> Iterator[Term]:
        """Tables and inputs that stay."""
        network = self.ask.network
        head_dim = max(group.head_dim for group in network.attention)
        inputs = {"positions": max(network.context, tokens), "head_dim": head_dim, "tables": 2}
        source = _SOURCE.format("attention_backend/interface.py (RopeParams): float32, pairs and halves")
        yield bound("runtime/rotary_tables", "tables * positions * head_dim * 4", inputs, source=source)
        inputs = {"rows": self._batch + sum(self._graphs), "tokens": tokens, "block": self._block}
        yield bound(
            "runtime/batch_buffers",
            "rows * (2 * ceil_div(tokens + 2, block) * 4 + 64) + prefill * 64",
            {**inputs, "prefill": self._prefill},
            source=_SOURCE.format("attention_backend/trtllm.py (kv_cache_block_offsets, for each graph its own)"),
        )

    def holding(self, tokens: int) -> Holding:
        """The cache of the card that has least for it, and what the fullest card holds."""
        held = [self._held(tokens, rank) for rank in _stages(self.ask.network, self.ask.workload)]
        least = min(held, key=lambda one: one.tokens)
        fullest = max(held, key=lambda one: one.reserved_bytes)
        return replace(least, reserved_bytes=fullest.reserved_bytes, outside_bytes=fullest.outside_bytes)

    def _held(self, tokens: int, rank: Rank) -> Holding:
        ledger, capacity, share = self._ledger(tokens, rank), self.ask.device.capacity_bytes, self.fraction
        steps = sum(term.upper_bytes for term in self._steps(tokens))
        peak = ledger.upper_bytes() - ledger.upper_bytes("kv_cache") - steps
        token = self._token_bytes(rank.layers[1] - rank.layers[0])
        asked = self._asked(token)
        least = max(int(share * (capacity - peak)), 0)
        most = max(int(share * (capacity * 33 // 32 - ledger.lower_bytes("weights"))), 0)
        if asked is not None:
            least, most = min(least, asked), min(most, asked)
        block = self._block * token
        least, most = least // block * block, most // block * block
        reserved = int(share * capacity) + int((1 - share) * peak) if asked is None else peak + most
        needed = -(-tokens // self._block) * block
        return Holding(
            reserved_bytes=min(capacity, max(reserved, peak) + steps),
            outside_bytes=peak + steps,
            lower_bytes=least,
            upper_bytes=most,
            tokens=least // token,
            concurrency=(least, needed),
            starts=True if least >= needed else False if most < needed else None,
        )

    def _asked(self, token: int) -> int | None:
        """Bytes that max_tokens or max_gpu_total_bytes cap the cache at."""
        workload = self.ask.workload
        blocks, size = workload.num_gpu_blocks_override, workload.kv_cache_memory_bytes
        caps = [blocks * self._block * token] if blocks else []
        return min([*caps, *([size] if size else [])], default=None)

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in."""
        workload = self.ask.workload
        stages = workload.pipeline_parallel_size or 1
        return replace(
            workload,
            engine="tensorrt-llm",
            mode="inference",
            gpu=self.ask.device.name,
            gpus=workload.gpus or self._parallel * stages,
            tensor_parallel_size=self._parallel,
            pipeline_parallel_size=stages,
            dtype=self.loaded.dtype,
            kv_cache_dtype=workload.kv_cache_dtype if self._kv_bytes == 1 else self.loaded.dtype,
            max_model_len=tokens,
            concurrency=self.sequences,
            max_num_seqs=self._batch,
            max_num_batched_tokens=self._prefill,
            gpu_memory_utilization=workload.gpu_memory_utilization or _FRACTION,
            attn_implementation="TRTLLM",
            block_size=self._block,
            engine_version=workload.engine_version or MODELED_VERSION,
        )

    def assumptions(self, tokens: int) -> Iterator[str]:
        """What nobody stated, what an option means here, then what always is."""
        workload = self.ask.workload
        if workload.engine_version is None:
            yield f"engine_version is not stated; tensorrt-llm {MODELED_VERSION} is assumed"
        elif workload.engine_version != MODELED_VERSION:
            yield f"tensorrt-llm {workload.engine_version} allocates as 1.2, which was read"
        if workload.max_model_len is None:
            yield f"max_seq_len is not stated; the config's {tokens} is assumed"
        yield "where the cache is smaller than one sequence, max_seq_len is lowered to it with a warning, not refused"
        if workload.max_num_seqs is None:
            yield f"max_batch_size is not stated; {self._batch} is the default"
        if workload.max_num_batched_tokens is None:
            yield f"max_num_tokens is not stated; {self._prefill} is the default"
        if workload.dtype in (None, "auto"):
            yield f"dtype is not stated; {self.loaded.dtype} is assumed"
        said = "0.9, the default," if workload.gpu_memory_utilization is None else workload.gpu_memory_utilization
        yield f"gpu_memory_utilization is free_gpu_memory_fraction: {said} of what weights and activations leave free"
        if workload.concurrency is None:
            yield "concurrency is not stated; one sequence of the full length at a time is assumed"
        if workload.swap_space is not None:
            yield f"swap_space {workload.swap_space} has no effect on tensorrt-llm"
        yield from _ASSUMPTIONS


_ASSUMPTIONS: Final = (
    "sole tenant of the card: no other process, display or MIG neighbour uses its memory",
    "no leak: nothing but the weights, the cache and one batch is kept from one request to the next",
    "the PyTorch backend, which is the default; no torch.compile, no speculative decoding, no adapter, one beam",
    "the checkpoint has no hf_quant_config.json beside its config, which would say that it is quantized",
    "no context logits, no generation logits and no log-probabilities are returned",
    "CUDA graphs and collectives take no more than in SGLang and vLLM, where they were measured",
    "unmeasured: no public start-up log of these classes was compared, only its arithmetic of cache and workspace",
    "what PyTorch's allocator holds beyond live tensors is the row for it: the cache is not in its pool",
)
