"""Text Generation Inference: one process a card, a warm-up with the largest prefill, then a cache in what is left.

The warm-up computes the logits of every token of that prefill, which serving does not; what it took decides how many
blocks the cache gets. (text-generation-inference 3.3.7, server/text_generation_server/models/flash_causal_lm.py.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import Ask, Deployed, Holding, stated, tgi_launcher
from vramguard.memory.engines.decoder_rows import HALF, Card, card, collectives, layer_pass, layers, words
from vramguard.memory.engines.either import Either
from vramguard.memory.engines.resident import rounding
from vramguard.memory.engines.shards import ParallelismError, Rank
from vramguard.memory.ledger import Ledger, Term, bound, measured
from vramguard.memory.runtime import MIB, runtime
from vramguard.memory.weights import Loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.verdict import Workload

_SOURCE: Final = "text-generation-inference {}, server/text_generation_server/{}"
_GEMMA: Final = ("GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM")
_OWN_HEAD_SIZE: Final = ("LlamaForCausalLM", "GraniteForCausalLM", "Phi3ForCausalLM")  # hidden_size / heads, always
# models/__init__.py, ModelType: decoders of its own (FlashCausalLM) that were read. Others of its list, and all that it
# runs through transformers, are not known.
_CLASSES: Final = (
    *_OWN_HEAD_SIZE,
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Qwen2ForCausalLM",
    "CohereForCausalLM",
    "Starcoder2ForCausalLM",
    *_GEMMA,
)
_TURING: Final = (7, 5)
# 19880 MiB of the process, less 19056 tokens of cache and 16,060,530,688 bytes of weights. The log is in
# tests/receipts/logs/tgi_llama_8b_a10g.log.
_PROCESS: Final = 19_880 * MIB - 19_056 * 131_072 - 16_060_530_688
_PROCESS_SOURCE: Final = (
    "nvidia-smi beside a start-up log of text-generation-inference 2.2 on an A10G (Llama 3.1 8B, CUDA graphs for "
    "1 to 32): what the process holds beside weights and cache: context, modules, graphs"
)


def refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what is not modelled; the message names the feature."""
    tgi_launcher.release(workload.engine_version)
    if network.name not in _CLASSES:
        raise UnprovenError(f"{network.name} is not supported yet for tgi: {', '.join(_CLASSES)} are")
    if not tgi_launcher.has(network.name, workload.engine_version):
        raise UnprovenError(f"tgi {workload.engine_version} has no class of its own for {network.name}")
    _refuse_options(workload)
    for group in network.attention:
        _refuse_heads(network, group.heads, group.kv_heads, group.head_dim, tgi_launcher.shards(workload))


def _refuse_options(workload: Workload) -> None:
    for name in ("pipeline_parallel_size", "data_parallel_size"):
        if getattr(workload, name) not in (None, 1):
            raise UnprovenError(f"{name} {getattr(workload, name)}: tgi has no such option")
    if workload.quantization not in (None, "none"):
        raise UnprovenError(f"quantization {workload.quantization} is not supported yet for tgi")
    for name in (
        "kv_cache_memory_bytes",
        "num_gpu_blocks_override",
        "cpu_offload_gb",
        "enable_expert_parallel",
        "n_gpu_layers",
    ):
        if getattr(workload, name):
            raise UnprovenError(f"{name}: tgi has no such option")
    if (workload.attn_implementation or "paged") not in tgi_launcher.BLOCKS:
        raise UnprovenError(f"attn_implementation {workload.attn_implementation}: tgi has {', '.join(_ATTENTIONS)}")
    if workload.kv_cache_dtype not in (None, "auto", *HALF, *_EIGHT_BITS):
        raise UnprovenError(f"kv_cache_dtype {workload.kv_cache_dtype} is not supported by tgi")


_ATTENTIONS: Final = tuple(tgi_launcher.BLOCKS)
_EIGHT_BITS: Final = ("fp8", "fp8_e4m3", "fp8_e4m3fn", "fp8_e5m2")


def _refuse_heads(network: Architecture, heads: int, kv_heads: int, head_dim: int, shards: int) -> None:
    """Key heads are never repeated, so every card needs a whole number of them (flash_llama_modeling.py)."""
    if heads % shards or kv_heads % shards:
        raise ParallelismError(f"{heads} heads and {kv_heads} key heads cannot be split across num_shard {shards}")
    if network.name in _OWN_HEAD_SIZE and heads * head_dim != network.hidden:
        raise UnprovenError(f"head_dim {head_dim}: tgi takes hidden_size / num_attention_heads of a {network.name}")


def dtypes(network: Architecture, workload: Workload) -> tuple[str, ...]:
    """The dtype that is said, else float16, whatever the config says; bfloat16 for Gemma (models/__init__.py)."""
    return (stated.dtype(workload) or ("bfloat16" if network.name in _GEMMA else "float16"),)


def plan(ask: Ask, dtype: str) -> Serving | Either:
    """Fill in what the workload leaves open; raises UnprovenError."""
    if ask.workload.engine_version is not None:
        return _serving(ask, dtype)
    known = [each for each in tgi_launcher.distinct() if tgi_launcher.has(ask.network.name, each.read)]
    asks = (ask._replace(workload=replace(ask.workload, engine_version=release.read)) for release in known)
    return Either(tuple(_serving(each, dtype) for each in asks), tgi_launcher.READ)


def _serving(ask: Ask, dtype: str) -> Serving:
    if dtype not in HALF:
        raise UnprovenError(f"dtype {dtype} is not supported by tgi: {', '.join(HALF)} are")
    if ask.config.get("quantization_config") or ask.config.get("compression_config"):
        raise UnprovenError("the config's quantization_config is not supported yet for tgi")
    if ask.device.capability < _TURING:
        raise UnprovenError(f"GPU {ask.device.name}: tgi's flash attention needs compute capability 7.5")
    network = ask.network
    if network.name in _GEMMA:  # their norms are loaded, and 1 added to them, in float32
        network = replace(network, float32=("norm",))
    made = Serving(ask=ask, loaded=Loaded(network, dtype))
    if made.launch.attention == "flashdecoding" and ask.workload.kv_cache_dtype in _EIGHT_BITS:
        raise UnprovenError(f"kv_cache_dtype {ask.workload.kv_cache_dtype}: tgi's flashdecoding has no cache of it")
    return made


@dataclass(frozen=True)
class Serving(Deployed):
    """One shard; the others hold as much, but for the biases after a split matrix, which the first one has."""

    ask: Ask
    loaded: Loaded

    @cached_property
    def launch(self) -> tgi_launcher.Launch:
        """What the launcher decides."""
        return tgi_launcher.launch(self.ask.config, self.ask.network, self.ask.workload, self.ask.device)

    @property
    def tokens(self) -> int:
        """The longest sequence, prompt and answer together."""
        return self.launch.max_total_tokens

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the model's weights, each once."""
        return sum(tensor.elements for tensor in self.ask.network.tensors) * self.loaded.element_bytes

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of one more token on all cards together: every layer keeps every token, sliding ones too."""
        return self._token_bytes * self._shards

    @property
    def _shards(self) -> int:
        return tgi_launcher.shards(self.ask.workload)

    @property
    def _kv_bytes(self) -> int:
        return 1 if self.ask.workload.kv_cache_dtype in _EIGHT_BITS else 2

    @cached_property
    def _card(self) -> Card:
        return card(self.ask.network, self._shards)

    @property
    def _token_bytes(self) -> int:
        return self.ask.network.layers * 2 * self._card.keys * self._kv_bytes

    @cached_property
    def _weights(self) -> tuple[Term, ...]:
        return (*words(self.ask.network, self._rows, 2), *layers(self.ask.config, self.loaded, Rank(self._shards)))

    @property
    def _rows(self) -> dict[str, int]:
        """Rows of embedding and head: one more, for words of other shards; a head that does not divide is whole.

        Tied or not, both are loaded (layers/tensor_parallel.py: TensorParallelEmbedding, TensorParallelHead).
        """
        vocab, shards = self._card.vocab, self._shards
        head = vocab // shards if vocab % shards == 0 else vocab
        return {"embed_tokens": -(-vocab // shards) + 1, "lm_head": head}

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """The first shard's."""
        cache = self._cache(tokens)
        return (Ledger((*self._weights, cache, *self._activations(tokens), *self._process(tokens))),)

    def _cache(self, tokens: int) -> Term:
        """Blocks of the sequences, and the one that health checks keep (client/sharded_client.rs)."""
        inputs = {"sequences": self.sequences, "tokens": tokens, "block": self.launch.block, **self._cache_inputs}
        per_token = "layers * 2 * keys * kv_bytes"
        return bound(
            "kv_cache/paged",
            f"(sequences * ceil_div(tokens, block) + 1) * block * {per_token} + layers * 4194304",
            inputs,
            lower=f"sequences * ceil_div(tokens, block) * block * {per_token}",
            source=self._source("layers/attention/kv_cache.py (KVCache); segments of whole 2 MiB"),
        )

    @property
    def _cache_inputs(self) -> dict[str, int]:
        return {"layers": self.ask.network.layers, "keys": self._card.keys, "kv_bytes": self._kv_bytes}

    def _activations(self, tokens: int) -> Iterator[Term]:
        launch = self.launch
        source = self._source("models/custom_modeling")
        kept = 14 if self.ask.network.name in _GEMMA else 10
        yield layer_pass(self._card, kept, launch.prefill, min(launch.prefill_least, tokens), source)
        # Serving needs no logits but those of each sequence's last token: the warm-up's count beside its own cache.
        warm = self._warm_up(tokens, f"{_LOGITS} + {_WARM_CACHE}")
        inputs = {**warm.inputs, "cached": self._cache(tokens).lower_bytes}
        yield bound("activations/warm_up_logits", f"max(0, {warm.formula} - cached)", inputs, source=warm.source)
        yield from self._sequences(tokens)

    def _sequences(self, tokens: int) -> Iterator[Term]:
        """What grows with the number of sequences that run at once."""
        rows = {"sequences": self.launch.sequences, "vocab": self._card.vocab}
        yield bound("activations/sampling", "sequences * vocab * 40", rows, source=self._source("utils/tokens.py"))
        table = {"sequences": self.launch.sequences, "tokens": tokens}
        yield bound(
            "activations/batch",
            "2 * sequences * tokens * 16",
            table,
            source=self._source("models/flash_causal_lm.py: token ids and slots in int64, block tables; and copies"),
        )

    def _warm_up(self, tokens: int, formula: str) -> Term:
        """The warm-up's logits of every token of the largest prefill, and the cache of its requests.

        Each request but the last has as many tokens as one may have, and room for an answer of the rest.
        """
        gathered = 0 if self._shards == 1 else 2  # the other shards' part, and a copy whose rows lie together
        capped = self.ask.network.name == "Gemma2ForCausalLM"  # tanh(logits) beside logits
        prefill = self.launch.prefill
        inputs = {
            "tokens": prefill,
            "vocab": self._card.vocab,
            "copies": self.launch.release.logits_copies + gathered + capped,
            "context": max(tokens, tgi_launcher.SHORTEST) if self.launch.limited else prefill + 1,
            "block": self.launch.block,
            "requests": -(-prefill // (tgi_launcher.SHORTEST - 1)) if self.launch.limited else 1,
            **self._cache_inputs,
        }
        return bound("activations/warm_up", formula, inputs, source=self._source(_WARM_UP))

    def _process(self, tokens: int) -> Iterator[Term]:
        _, workspaces, _ = runtime(self.ask.network, self.ask.device, ())
        most = max(_PROCESS, self.ask.device.context_upper_bytes)
        yield measured("runtime/process", self.ask.device.context_lower_bytes, most, _PROCESS_SOURCE)
        yield workspaces
        yield from collectives(self._shards)
        table = {"tokens": tokens, "head_dim": max(group.head_dim for group in self.ask.network.attention), "tables": 2}
        yield bound(
            "runtime/rotary_tables",
            "tables * tokens * head_dim * 2 + tokens * head_dim * 4",
            table,
            source=self._source("layers/rotary.py (_update_cos_sin_cache): cosines and sines, and their making"),
        )
        yield self._attention()
        yield from rounding(self._weights, 2 * self.ask.network.layers)

    def _attention(self) -> Term:
        if self.launch.attention == "flashinfer":
            return bound(
                "runtime/attention_workspace",
                "134217728 + wrappers * 8388608",
                {"wrappers": 3 + len(tgi_launcher.GRAPHS)},
                source=self._source(
                    "layers/attention/flashinfer.py (get_workspace); flashinfer, _int_workspace_buffer"
                ),
            )
        head_dim = max(group.head_dim for group in self.ask.network.attention)
        # Keys are split until the blocks of 64 queries fill the card at most seven times: then the share of idle
        # multiprocessors is below what the heuristic looks for. paged_attention_v2 keeps less.
        return bound(
            "runtime/attention_workspace",
            "7 * 2 * multiprocessors * 64 * (ceil_div(head_dim, 32) * 32 + 2) * 4",
            {"multiprocessors": self.ask.device.multiprocessors, "head_dim": head_dim},
            source="flash-attention 2, csrc/flash_attn/flash_api.cpp: set_params_splitkv, num_splits_heuristic",
        )

    def holding(self, tokens: int) -> Holding:
        """What the warm-up leaves for the cache, in whole blocks, and what is held with it when all is running."""
        launch, capacity = self.launch, self.ask.device.capacity_bytes
        rows = {term.name: term.upper_bytes for term in self.ledgers(tokens)[0]}
        after = sum(term.upper_bytes for term in self._sequences(tokens))
        process = sum(size for name, size in rows.items() if name.startswith("runtime/"))
        warm = sum(term.upper_bytes for term in self._weights) + process
        warm += rows["activations/layer"] + self._warm_up(tokens, f"{_LOGITS} + {_WARM_SAMPLING}").upper_bytes
        share, free = launch.fraction * launch.release.total_share, launch.release.free_share
        block = launch.block * self._token_bytes
        least = max(int(free * (share * capacity - warm)) // block * block, 0)
        most = max(int(share * capacity * 33 / 32) - self._weight_bytes, 0)  # a card's total differs by less than 3 %
        kept = int((1 - free) * warm)
        held = max(int(free * share * capacity) + kept, warm + self._warm_up(tokens, _WARM_CACHE).upper_bytes)
        return Holding(
            reserved_bytes=min(capacity, held + process + after),
            outside_bytes=process + after + kept,
            lower_bytes=least,
            upper_bytes=most,
            tokens=least // self._token_bytes,
            concurrency=(least // self._token_bytes, tokens),
            starts=self._starts(tokens, least, most),
        )

    @property
    def _weight_bytes(self) -> int:
        return sum(term.lower_bytes for term in self._weights)

    def _starts(self, tokens: int, least: int, most: int) -> bool | None:
        """Without max_total_tokens it starts with what fits."""
        needed = tokens if self.launch.limited else 1
        if least // self._token_bytes >= needed:
            return True
        return False if most // self._token_bytes < needed else None

    def _source(self, where: str) -> str:
        return _SOURCE.format(self.launch.release.read, where)

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in."""
        workload, launch = self.ask.workload, self.launch
        fraction = workload.gpu_memory_utilization or "1.0"
        return replace(
            workload,
            engine="tgi",
            mode="inference",
            gpu=self.ask.device.name,
            gpus=workload.gpus or self._shards,
            tensor_parallel_size=self._shards,
            pipeline_parallel_size=1,
            dtype=self.loaded.dtype,
            kv_cache_dtype=workload.kv_cache_dtype if self._kv_bytes == 1 else self.loaded.dtype,
            max_model_len=tokens,
            concurrency=self.sequences,
            max_num_seqs=launch.sequences,
            max_num_batched_tokens=launch.prefill,
            gpu_memory_utilization=fraction,
            attn_implementation=launch.attention,
            block_size=launch.block,
            engine_version=workload.engine_version or tgi_launcher.MODELED_VERSION,
        )

    def assumptions(self, tokens: int) -> Iterator[str]:
        """What nobody stated, what an option means here, then what always is."""
        workload, launch = self.ask.workload, self.launch
        yield from tgi_launcher.assumptions(workload, launch, tokens)
        if workload.dtype in (None, "auto"):
            yield f"dtype is not stated; tgi loads a {self.ask.network.name} in {self.loaded.dtype}"
        if self.ask.network.tied:
            yield "tied weights: tgi loads them twice, as embedding and as head"
        yield from _ASSUMPTIONS


_LOGITS: Final = "tokens * vocab * copies * 2"
_WARM_SAMPLING: Final = "ceil_div(tokens, context - 1) * (vocab * 40 + 32 * context)"
# Of n requests, n - 1 have context - 1 tokens of the prefill each; the blocks of each are whole. `requests` is the most
# at any context, so that a longer one never needs less.
_WARM_CACHE: Final = (
    "(tokens + ceil_div(tokens, context - 1) + context + requests * (block - 1)) * layers * 2 * keys * kv_bytes"
)
_WARM_UP: Final = "models/flash_causal_lm.py (warmup, generate_token): prefill_logprobs of every token"
_ASSUMPTIONS: Final = (
    "sole tenant of the card: no other process, display or MIG neighbour uses its memory",
    "no leak: nothing but the weights, the cache and one batch is kept from one request to the next",
    "one launcher a card; TGI_WIGGLE_ROOM, PREFILL_CHUNKING and CUDA_GRAPHS are not set in its environment",
    "no adapter, no speculation: LORA_ADAPTERS and --speculate are not set",
    "clients get no log-probabilities of their prompts (enable_prefill_logprobs, which is off)",
    "the process beside weights and cache takes no more than once on an A10G, where that was measured",
    "PyTorch's allocator uses freed blocks again, but not those of the layers for the warm-up's logits: both count",
)
