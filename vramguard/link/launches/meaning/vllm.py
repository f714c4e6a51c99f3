"""vLLM: flags that hold JSON, and flags that count only beside another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import Unknown, Word
from vramguard.link.launches import values
from vramguard.link.launches.meaning import device, is_on, nodes

if TYPE_CHECKING:
    from vramguard.link.launches.flags import Said
    from vramguard.link.launches.meaning import Reading

# config/speculative.py: keys that say how many are guessed or when, and none that a row of the proof depends on.
_DRAFTING: Final = (
    "prompt_lookup_max", "prompt_lookup_min", "disable_by_batch_size", "disable_log_stats", "disable_logprobs",
    "disable_mqa_scorer", "acceptance_method", "posterior_threshold", "posterior_alpha", "disable_padded_drafter_batch",
    "suffix_decoding_max_tree_depth", "suffix_decoding_max_cached_requests", "suffix_decoding_max_spec_factor",
    "suffix_decoding_min_token_prob", "revision", "code_revision",
)  # fmt: skip
_PROFILES: Final = (
    ("vllm", "vllm"),
    ("tensorrt_llm", "tensorrt-llm"),
    ("trtllm", "tensorrt-llm"),
    ("sglang", "sglang"),
)
_NGRAM: Final = ("ngram", "[ngram]")
# config/compilation.py: levels and modes make fewer graphs than the default, or as many.
_COMPILING: Final = (
    "level", "mode", "cudagraph_mode", "use_inductor", "cache_dir", "debug_dump_path", "full_cuda_graph",
    "use_cudagraph", "cudagraph_num_of_warmups", "compile_cache_save_format", "backend", "custom_ops",
)  # fmt: skip
# model_executor/model_loader: how a file becomes the same tensors, by way of the host.
_LOADERS: Final = ("auto", "safetensors", "pt", "npcache", "dummy", "mistral", "hf", "runai_streamer", "sharded_state")


def finish(reading: Reading) -> None:
    """Fields that several flags say together."""
    device(reading)
    nodes(reading)
    _backend(reading)
    _profile(reading)
    _folder(reading)
    _adapters(reading)
    _drafts(reading)
    _graphs(reading)
    _loader(reading)
    _replicas(reading)
    _length(reading)
    _chunks(reading)
    _prefixes(reading)
    _transfer(reading)
    _attention(reading)
    said = reading.last("overrides")
    if said is not None and reading.text("overrides") != "{}":
        reading.leave_said(said)


def _backend(reading: Reading) -> None:
    """KServe's --backend: transformers, where that is said (huggingfaceserver, Backend)."""
    said, text = reading.last("backend"), reading.text("backend")
    if said is None or text in ("auto", "vllm"):
        return
    if text == "huggingface":
        reading.set("engine", "kserve:transformers", said.at)
    else:
        reading.leave_said(said)


def _profile(reading: Reading) -> None:
    """The engine that NIM's profile names, where it is given by name: vllm-bf16-tp2, tensorrt_llm-h100-fp8-tp1."""
    said, text = reading.last("profile"), reading.text("profile")
    inside = next((engine for word, engine in _PROFILES if word in (text or "")), None)
    if said is not None and inside is not None:
        reading.set("engine", f"nim:{inside}", said.value.at if said.value else said.at)


def _folder(reading: Reading) -> None:
    """KServe's --model_dir, which a --model_id overrules."""
    said = reading.last("folder")
    if said is not None and said.value is not None and "model" not in reading.fields:
        reading.set("model", said.value.value, said.value.at)


def _adapters(reading: Reading) -> None:
    """Slots of adapters exist where --enable-lora is given: one of rank 16 unless more are asked for."""
    said = reading.last("enable_lora")
    if reading.engine.name == "nim":
        return
    if said is None or is_on(said) is False:
        for name in ("max_loras", "max_lora_rank"):
            reading.set(name, None, None)
    elif is_on(said) is None:
        reading.leave_said(said)
    elif not {"max_loras", "max_lora_rank"} & set(reading.fields):
        reading.set("max_loras", 1, said.at)


def _json(reading: Reading, special: str) -> dict[str, Any] | None:
    """A flag's object, of its JSON and of its dotted keys (`--flag.key value`); None where it cannot be read."""
    found: dict[str, Any] = {}
    for said in reading.special.get(special, ()):
        if said.value is None or not said.value.known:
            return None
        key = said.spelled.partition(".")[2]
        if key:
            found[key.replace("-", "_")] = said.value.text
            continue
        text = said.value.text.strip()  # quotes that a shell is yet to take away: KServe's VLLM_ADDITIONAL_ARGS
        given = values.mapping(text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text)
        if given is None:
            return None
        found = dict(given)
    return found


def _drafts(reading: Reading) -> None:
    said = reading.last("speculative")
    if said is None:
        return
    at = said.value.at if said.value else said.at
    found = _json(reading, "speculative")
    if found is None:
        reading.set("speculative_method", Unknown(said.value.text if said.value else said.spelled), at)
        return
    method, model = found.pop("method", None), found.pop("model", None)
    number = found.pop("num_speculative_tokens", None)
    if method is None and model is not None:
        method = "ngram" if model in _NGRAM else "draft_model"
    if method is not None:
        reading.set("speculative_method", str(method), at)
    if number is not None:
        reading.set("num_speculative_tokens", values.value("num_speculative_tokens", Word(str(number), at)), at)
    for key in sorted(set(found) - set(_DRAFTING)):
        reading.leave(f"--speculative-config.{key}", f"{said.spelled.partition('.')[0]} {key}: {found[key]!s:.60}")


def _graphs(reading: Reading) -> None:
    said = reading.last("compilation")
    text = reading.text("compilation")
    if said is None or (text is not None and values.count(text) is not None):
        return
    found = _json(reading, "compilation")
    if found is None or set(found) - set(_COMPILING):
        reading.leave_said(said)


def _loader(reading: Reading) -> None:
    said, text = reading.last("load_format"), reading.text("load_format")
    if said is None or text in _LOADERS:
        return
    if text == "bitsandbytes":
        reading.fields.setdefault("quantization", "bitsandbytes")
        reading.places.setdefault("quantization", said.at)
    else:
        reading.leave_said(said)


def _replicas(reading: Reading) -> None:
    """Where fewer replicas are local than there are, other machines run the rest; one that has a rank is alone."""
    said: Said | None = reading.last("data_parallel_local") or reading.last("rank")
    local = reading.number("data_parallel_local") or (1 if reading.last("rank") is not None else None)
    size = reading.fields.get("data_parallel_size")
    if said is not None and "nodes" not in reading.fields and local and isinstance(size, int) and size > local:
        reading.set("nodes", -(-size // local), said.at)


def _chunks(reading: Reading) -> None:
    """Prompts that are not split need a batch of the whole context, unless it is stated (config/scheduler.py)."""
    said = reading.last("chunked")
    if said is None or is_on(said) or "max_num_batched_tokens" in reading.fields:
        return
    if is_on(said) is None:
        reading.leave_said(said)
    else:
        reading.set("enable_chunked_prefill", False, said.value.at if said.value else said.at)


def _prefixes(reading: Reading) -> None:
    """Kept prefixes take blocks that nobody else wants, but more states where layers are recurrent."""
    said = reading.last("prefixes")
    if said is not None and is_on(said):
        reading.assumed.append("--enable-prefix-caching: no layer is recurrent, or its states are kept as by default")


def _attention(reading: Reading) -> None:
    """The backend of attention: FlashInfer's buffers are counted, others than FlashAttention were not read."""
    said, text = reading.last("attention"), (reading.text("attention") or "").upper()
    if said is None or text in ("FLASH_ATTN", "FLASH_ATTN_VLLM_V1"):
        return
    if text in ("FLASHINFER", "FLASHINFER_VLLM_V1"):
        reading.set("attn_implementation", "flashinfer", said.value.at if said.value else said.at)
    else:
        reading.leave_said(said)


def _transfer(reading: Reading) -> None:
    """What hands the cache on: a field where a proof counts it; events of the cache may forbid sliding layers."""
    events, said = reading.last("events"), reading.last("transfer")
    if events is not None and reading.text("events") != "null":
        reading.set("kv_events", True, events.at)
    if said is None or reading.text("transfer") == "null":
        return
    found = _json(reading, "transfer")
    if found is None or not _moves_in_place(found):
        reading.leave_said(said)
    else:
        reading.set("kv_connector", found["kv_connector"], said.value.at if said.value else said.at)


# config/kv_transfer.py, KVTransferConfig: keys that name the two sides, and what to do where a transfer fails.
_SIDES: Final = (
    "kv_connector", "kv_role", "kv_rank", "kv_parallel_size", "kv_ip", "kv_port", "engine_id", "kv_buffer_device",
    "kv_buffer_size", "kv_load_failure_policy", "enable_permute_local_kv",
)  # fmt: skip


def _moves_in_place(found: dict[str, Any]) -> bool:
    """Whether it is NIXL's connector with UCX, its default backend."""
    extra = found.get("kv_connector_extra_config") or {}
    known = isinstance(extra, dict) and set(extra) <= {"backends", "num_threads", "enforce_handshake_compat"}
    if not known or set(found) - {*_SIDES, "kv_connector_extra_config"}:
        return False
    return found.get("kv_connector") == "NixlConnector" and extra.get("backends", ["UCX"]) == ["UCX"]


def falls_back(reading: Reading, version: str) -> None:
    """Note what makes an older release turn to its V0 engine (engine/arg_utils.py, _is_v1_supported_oracle)."""
    release = _RELEASE.match(version)
    if release is None or (int(release[1]), int(release[2]), int(release[3] or 0)) >= _V1_ALONE:
        return
    sharded = [reading.last("load_format")] if reading.text("load_format") == "sharded_state" else []
    for said in filter(None, (*reading.special.get("v0", ()), *sharded)):
        text = said.value.text.strip().lower() if said.value is not None and said.value.known else None
        if text is None or text not in _V1_TAKES.get(said.flag.names[0], ()):
            reading.leave_said(said)


_RELEASE: Final = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")
_V1_ALONE: Final = (0, 11, 0)
_V1_TAKES: Final = {
    "--guided-decoding-backend": ("auto", "xgrammar", "guidance"),
    "--scheduling-policy": ("fcfs",),
    "--max-num-partial-prefills": ("1",),
    "--max-long-partial-prefills": ("1",),
    "--scheduler-delay-factor": ("0", "0.0"),
}


def _length(reading: Reading) -> None:
    """`auto` and -1 are the longest that fits, which vLLM finds when it starts."""
    length = reading.fields.get("max_model_len")
    if (isinstance(length, Unknown) and length.text.strip() == "auto") or length == -1:
        reading.assumed.append("max_model_len is what vLLM finds room for at its start (auto)")
        text = length.text if isinstance(length, Unknown) else str(length)
        reading.fields["max_model_len"] = Unknown(text)
