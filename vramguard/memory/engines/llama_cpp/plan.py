"""The plan of llama-server on one card: defaults, the ledger, and what it rests on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import Ask, Deployed, stated
from vramguard.memory.engines.llama_cpp import buffers, rows
from vramguard.memory.engines.llama_cpp.files import FILES, PLAIN, Model, kinds, named
from vramguard.memory.engines.llama_cpp.layout import entries, family, language
from vramguard.memory.engines.llama_cpp.rows import Cells, File, Placement, padded
from vramguard.memory.ledger import Ledger, Term, bound, measured
from vramguard.memory.quantization.gguf import BLOCKS
from vramguard.memory.runtime import MIB
from vramguard.memory.weights import ELEMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.engines import Holding
    from vramguard.memory.verdict import Workload

MODELED_VERSION: Final = "0.5.0"
MODELED: Final = f"llama.cpp {MODELED_VERSION} (commit 0c1e57098)"
FIRST_BUILD: Final = 7100  # after ggml-org/llama.cpp#17046, which pads the cache as here; -fa is auto since #15434
_SLOTS: Final = 4  # tools/server/server.cpp: n_parallel auto is 4 over one cache
_BATCH: Final = 512  # common/common.h, n_ubatch
_DTYPES: Final = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
_CACHES: Final = {"f32": "F32", "f16": "F16", "bf16": "BF16"} | {
    name: name.upper() for name in ("q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
}  # common/arg.cpp, kv_cache_types
_ATTENTION: Final = {None: None, "auto": None, "on": True, "1": True, "off": False, "0": False}
_OLDEST: Final = (7, 0)  # compute capability whose kernels were read


def refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what is not modelled; the message names the feature."""
    family(network)
    _version(workload.engine_version)
    if (workload.gpus or 1) > 1:
        raise UnprovenError(f"llama.cpp over {workload.gpus} GPUs is not supported yet")
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        if getattr(workload, name) not in (None, 1):
            raise UnprovenError(f"{name} {getattr(workload, name)} is not supported yet for llama.cpp")
    for name in ("max_loras", "num_speculative_tokens", "speculative_method"):
        if getattr(workload, name, None):
            raise UnprovenError(f"{name} is not supported yet for llama.cpp")
    layers = workload.n_gpu_layers
    if layers is not None and layers < -1:
        raise UnprovenError(f"n_gpu_layers {layers} is not a number of layers")
    if workload.attn_implementation not in _ATTENTION:
        raise UnprovenError(
            f"attn_implementation {workload.attn_implementation} is not one of llama.cpp's: on, off, auto"
        )


def _version(said: str | None) -> None:
    """Builds are b1234 or 1234; releases are 0.x.y. The layout of older ones is another."""
    if said is None:
        return
    build = re.fullmatch(r"b?(\d{3,9})", said)
    release = re.fullmatch(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})", said)
    if release is None and (build is None or int(build[1]) < FIRST_BUILD):
        raise UnprovenError(f"llama.cpp {said} is not supported, releases and builds from b{FIRST_BUILD} are")


def dtypes(network: Architecture, workload: Workload) -> tuple[str, ...]:
    """The dtype of the file that is converted: what is said, else the config's; of a packed file any does."""
    said = stated.dtype(workload, network.dtype)
    if said is None and workload.quantization in (None, "none"):
        return tuple(ELEMENT_BYTES)
    return (said or "float16",)


def plan(ask: Ask, dtype: str) -> Server:
    """Fill in what the workload leaves open; raises UnprovenError."""
    network, config = language(ask.network, ask.config)
    ask = ask._replace(network=network, config={**config, **_packing(ask.config)})
    workload = ask.workload
    if dtype not in _DTYPES:
        raise UnprovenError(f"dtype {dtype} is not supported: {', '.join(_DTYPES)} are")
    if ask.device.capability < _OLDEST:
        raise UnprovenError(f"llama.cpp on compute capability {ask.device.compute_capability} is not supported yet")
    packed = workload.quantization not in (None, "none")
    kind = named(str(workload.quantization)) if packed else _DTYPES[dtype]
    known = family(network)
    latent = known.arch == "deepseek2"
    fused = _ATTENTION[workload.attn_implementation]
    layers = workload.n_gpu_layers
    on_card = network.layers + 1 if layers is None or layers < 0 else min(layers, network.layers + 1)
    server = Server(
        ask=ask,
        dtype=dtype,
        file=_file(ask, kind, known.arch),
        placement=Placement(network.layers, on_card),
        cache=_cache(workload.kv_cache_dtype),
        fused=buffers.fuses(network, latent=latent) if fused is None else fused,
        slides=known.slides and known.sliding_layers in (None, network.layers),
        latent=latent,
    )
    _check_cache(server)
    return server


def _packing(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: config[key] for key in ("quantization_config",) if key in config}


def _native(config: Mapping[str, Any], kind: str) -> str | None:
    """The blocks of a checkpoint that a file keeps: gpt-oss's MXFP4. A checkpoint in fp8 is unpacked; others raise."""
    given = config.get("quantization_config")
    if not given:
        return None
    method = str(given.get("quant_method")) if isinstance(given, Mapping) else "?"
    if method == "fp8":
        return None
    if method != "mxfp4" or (FILES[kind] not in PLAIN and kind != "MXFP4_MOE"):
        raise UnprovenError(f"llama.cpp: a file {kind} of a checkpoint in {method:.20} is not modelled yet")
    return "MXFP4"


def _file(ask: Ask, kind: str, arch: str) -> File:
    network, sizes = ask.network, ask.network.sizes
    group, found = network.attention[0], entries(network, ask.config)
    model = Model(
        layers=network.layers,
        experts=max(sizes.get(key, 0) for key in ("num_local_experts", "num_experts", "n_routed_experts")),
        queries_per_key=group.heads // group.kv_heads,
        seventy=network.layers == 80 and _seventy(arch, group.heads == group.kv_heads),  # noqa: PLR2004 - 70B's layers
        tied=network.tied,
        shared=any(entry.name == "ffn_down_shexp" for entry in found),
        native=_native(ask.config, kind),
    )
    return File(kind, found, model)


def _seventy(arch: str, every_head: bool) -> bool:  # noqa: FBT001 - whether each query head has keys of its own
    """Classes that name 80 layers 70B: src/models/llama.cpp, qwen2.cpp, olmo.cpp."""
    return arch in ("qwen2", "olmo") or (arch == "llama" and not every_head)


def _cache(said: str | None) -> str:
    if said in (None, "auto"):
        return "F16"
    kind = _CACHES.get(said.lower())
    if kind is None:
        raise UnprovenError(f"kv_cache_dtype {said} is not one of llama.cpp's: {', '.join(_CACHES)}")
    return kind


def _check_cache(server: Server) -> None:
    """Refuse what llama.cpp refuses at start (llama-context.cpp, llama_init_from_model)."""
    if server.cache not in BLOCKS:
        return
    if not server.fused:
        raise UnprovenError(f"kv_cache_dtype {server.cache.lower()}: llama.cpp packs values only with flash attention")
    block = BLOCKS[server.cache][0]
    if any(group.head_dim % block for group in server.network.attention):
        raise UnprovenError(f"kv_cache_dtype {server.cache.lower()}: blocks of {block} do not divide a head")


@dataclass(frozen=True, slots=True)
class Server(Deployed):
    """llama-server, or any program on its library that asks for the same context."""

    ask: Ask
    dtype: str
    file: File
    placement: Placement
    cache: str
    fused: bool
    slides: bool
    latent: bool

    @property
    def network(self) -> Architecture:
        """What runs."""
        return self.ask.network

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the file's tensors."""
        return self.file.bytes

    @property
    def offload_bytes(self) -> int:
        """Bytes of weights that stay on the host though the card could hold them: of layers, and of the output."""
        return sum(term.upper_bytes for term in self._away)

    @property
    def _away(self) -> tuple[Term, ...]:
        """Rows of the weights on the host, as if they could be on the card: a proof that needs them away says so."""
        rows_away = rows.weights(self.file, self.placement, on_card=False)
        return tuple(bound(f"{t.name}.host", t.formula, t.inputs, source=t.source) for t in rows_away)

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of one more token in every layer whose cache grows with the context, wherever it is."""
        block, width = BLOCKS.get(self.cache, (1, {"F32": 4}.get(self.cache, 2)))
        grows = (group for group in rows.kept(self.network, slides=self.slides) if group.window is None)
        return ceil(sum(group.layers * (group.keys + group.values) for group in grows) * width / block)

    @property
    def _slots(self) -> int:
        workload = self.ask.workload
        return max(workload.max_num_seqs or _SLOTS, self.sequences)

    def _cells(self, tokens: int) -> Cells:
        """Slots that were asked for have caches of their own; the default's share one."""
        workload = self.ask.workload
        batch = workload.max_num_batched_tokens or _BATCH
        if workload.max_num_seqs is not None:
            return Cells(self._slots, padded(tokens), 1, min(tokens * self._slots, batch))
        shared = tokens * self.sequences
        return Cells(1, padded(shared), self._slots, min(shared, batch))

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """The one card's."""
        caches, cells, device = rows.kept(self.network, slides=self.slides), self._cells(tokens), self.ask.device
        batch = buffers.Batch(
            network=self.network,
            entries=self.file.entries,
            caches=caches,
            cells=cells,
            tokens=-(-cells.batch // self._slots) * self._slots,  # llama-context.cpp, graph_reserve
            fused=self.fused,
            converted=self.cache != "F16",
            copied_bytes=0 if self._turned else PLAIN.get(self.cache, 0),
            latent=self.latent,
        )
        held = rows.weights(self.file, self.placement)
        cached = rows.cache(caches, cells, self.cache, self.placement, latent=self.latent)
        serving = (*buffers.compute(batch, self._moved(batch)), buffers.pool(batch, self._kinds, device))
        return (Ledger((*held, *self._away, *cached, *serving, *self._runtime(len(caches)))),)

    @property
    def _turned(self) -> bool:
        """Whether the cache keeps values turned: decided before -fa auto finds that there is no fused attention."""
        return not self.latent and _ATTENTION[self.ask.workload.attn_implementation] is False

    @property
    def _kinds(self) -> frozenset[str]:
        """Types of the file's matrices."""
        return frozenset(
            kind
            for entry in self.file.entries
            if entry.packed
            for layer in entry.layers or (0,)
            for kind in kinds(self.file.kind, entry, layer, self.file.model)
        )

    def _moved(self, batch: buffers.Batch) -> int:
        """Bytes of the most that one part of a pass copies to the card: a layer with its cache, or the output."""
        if not self.placement.first and self.placement.on_card:
            return 0
        whole = Placement(self.network.layers, self.network.layers + 1)
        cached = rows.cache(batch.caches, batch.cells, self.cache, whole, latent=self.latent)
        return rows.widest(self.file) + max(term.upper_bytes // term.inputs["layers"] for term in cached)

    def _runtime(self, caches: int) -> Iterator[Term]:
        device = self.ask.device
        lower, upper, source = device.context_lower_bytes, device.context_upper_bytes, device.context_source
        yield measured("runtime/cuda_context", lower, upper, source)
        workspace = {"bytes": (32 if device.generation >= _HOPPER else 4) * MIB}
        yield bound("runtime/cublas_workspace", "bytes", workspace, source=_WORKSPACE)
        # One buffer each for the model, every cache, and the computation; a block of the driver is 2 MiB.
        inputs = {"buffers": caches + 2, "block": 2 * MIB}
        yield bound(
            "runtime/rounding", "buffers * block", inputs, source="CUDA driver API: cuMemGetAllocationGranularity"
        )

    def holding(self, _tokens: int) -> Holding | None:
        """Nothing is reserved beyond what the ledger has."""
        return None

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in but the slots: naming them would give each a cache of its own."""
        workload = self.ask.workload
        return replace(
            workload,
            engine="llama.cpp",
            mode="inference",
            gpu=self.ask.device.name,
            gpus=workload.gpus or 1,
            tensor_parallel_size=1,
            pipeline_parallel_size=1,
            dtype=self.dtype,
            quantization=self.file.kind,
            kv_cache_dtype=self.cache.lower(),
            max_model_len=tokens,
            concurrency=self.sequences,
            max_num_batched_tokens=workload.max_num_batched_tokens or _BATCH,
            attn_implementation=workload.attn_implementation or "auto",
            engine_version=workload.engine_version or MODELED_VERSION,
            n_gpu_layers=self.placement.on_card,
        )

    def assumptions(self, tokens: int) -> Iterator[str]:
        """One sentence for each value that nobody stated, or that means less than it seems to; then what always is."""
        workload = self.ask.workload
        if workload.engine_version is None:
            yield f"engine_version is not stated; {MODELED} is assumed"
        elif workload.engine_version != MODELED_VERSION:
            yield f"llama.cpp {workload.engine_version} allocates as {MODELED}, which was read"
        if workload.quantization not in (None, "none") and FILES[self.file.kind] not in PLAIN:
            yield f"the file is what llama-quantize of {MODELED} makes for {self.file.kind}, no type overridden"
        if self.network.model_type == "gemma3_text":
            yield "the embedding has a row for each token of the tokenizer, which Gemma 3's has 262144 of, at least"
        for name, sentence in self._defaults(tokens).items():
            if getattr(workload, name) in (None, "auto", "none"):
                yield f"{name} is not stated; {sentence}"
        for name in ("gpu_memory_utilization", "enforce_eager", "block_size", "swap_space", "cpu_offload_gb"):
            if getattr(workload, name) is not None:
                yield f"{name} {getattr(workload, name)} has no effect on llama.cpp"
        yield from _ASSUMPTIONS

    def _defaults(self, tokens: int) -> Mapping[str, str]:
        """What is assumed for each value, in words."""
        attention = "on" if self.fused else "off"
        return {
            "quantization": f"a file of type {self.file.kind}, the model's own dtype, is assumed",
            "max_model_len": f"the config's full context of {tokens} is assumed",
            "concurrency": "the context has room for one sequence of full length",
            "max_num_seqs": f"{self._slots} slots over one cache are assumed",
            "max_num_batched_tokens": f"llama.cpp's ubatch of {_BATCH} is assumed",
            "kv_cache_dtype": "f16 is assumed",
            "attn_implementation": f"flash attention is auto, which is {attention} for heads of this size",
            "n_gpu_layers": "all layers are on the card",
        }


_HOPPER: Final = 9
_WORKSPACE: Final = "cuBLAS documentation, cublasSetWorkspace: 32 MiB on Hopper and Blackwell, at most 12 MiB elsewhere"

_ASSUMPTIONS: Final = (
    "sole tenant of the card: no other process, display or MIG neighbour uses its memory",
    "no --fit: what is asked for is judged, and not what llama.cpp would shorten or move to the host",
    "the file is converted by convert_hf_to_gguf.py with its defaults: queries, keys and values are not fused",
    "no tensor is moved by --override-tensor or --n-cpu-moe, the cache by --no-kv-offload; no --swa-full",
    "no draft model, no projector of pictures or sound, no adapter, no control vector is loaded beside the model",
    "a build for CUDA with its defaults: no GGML_CUDA_FORCE_CUBLAS, virtual memory for the pool",
    "captured CUDA graphs are in the context's bytes; of what llama.cpp calls unaccounted, 451 to 753 MiB were seen",
)
