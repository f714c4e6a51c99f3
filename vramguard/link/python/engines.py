"""Engines that Python constructs: their keyword arguments as the words of the command that asks for the same.

vLLM's and SGLang's arguments are the flags of their servers by name (`EngineArgs`, `ServerArgs`), so that one table
says what they mean. Where a library's own default is another than the server's, it is written out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from vramguard.facts import Hardware, Launch, Unknown, Word
from vramguard.link.python.fields import dtype
from vramguard.link.python.hardware import hardware
from vramguard.link.python.loaders import rest_of, trains
from vramguard.link.python.names import External, Made, Options, text_of
from vramguard.link.python.operations import PLAIN
from vramguard.source.expression import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Deployment, Facts
    from vramguard.link.python.fields import Arguments
    from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Constructor:
    """A class that starts an engine: the command that stands for it, and what its arguments are called there.

    `positional`: names of the arguments without one. `flags`: arguments whose flag has another name, or none (empty:
    the value alone is a word). `ignored`: those that are no flag of the server and change nothing on the card.
    `stated`: those that are a deployment's fields and no flag of the server.
    `always`: words for the library's own defaults, by the argument that replaces each.
    """

    program: tuple[str, ...]
    positional: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    always: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stated: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ("model",)


_CHAT: Final = frozenset({
    "temperature", "top_p", "top_k", "max_new_tokens", "max_tokens", "callbacks", "callback_manager", "verbose", "stop",
    "streaming", "name", "cache", "tags", "metadata", "best_of", "n", "presence_penalty", "frequency_penalty",
    "generate_kwargs", "system_prompt", "messages_to_prompt", "completion_to_prompt", "is_chat_model",
})  # fmt: skip
# vLLM 0.33.0, entrypoints/llm.py (LLM.__init__): what no flag of the server has.
_VLLM: Final = Constructor(
    ("vllm", "serve"), ("model",), ignored=frozenset({"disable_async_output_proc", "usage_context"})
)
# langchain_community 0.3, llms/vllm.py (VLLM): `vllm_kwargs` are the engine's.
_LANGCHAIN_VLLM: Final = Constructor(("vllm", "serve"), ("model",), ignored=_CHAT)
_SGLANG: Final = Constructor(("sglang", "serve"), ("model_path",), needs=("model_path", "model"))
# TensorRT-LLM 1.2, llmapi/llm_args.py (TorchLlmArgs), commands/serve.py.
_TENSORRT: Final = Constructor(
    ("trtllm-serve",),
    ("model", "tokenizer"),
    {"model": "", "moe_expert_parallel_size": "ep_size"},
    ignored=frozenset(
        {"trust_remote_code", "skip_tokenizer_init", "postproc_tokenizer_dir", "num_postprocess_workers"}
    ),
    stated=frozenset({"dtype"}),
)
# llama-cpp-python 0.3.16, llama.py (Llama.__init__): n_gpu_layers 0, n_ctx 512, one sequence.
_LLAMA: Final = Constructor(
    ("llama-server",),
    ("model_path",),
    {"model_path": "model", "n_ctx": "ctx-size", "n_gpu_layers": "gpu-layers", "n_ubatch": "ubatch-size",
     "n_batch": "batch-size", "flash_attn": "flash-attn", "split_mode": "split-mode", "main_gpu": "main-gpu",
     "tensor_split": "tensor-split", "repo_id": "hf-repo", "filename": "hf-file"},
    ignored=_CHAT | {
        "n_threads", "n_threads_batch", "use_mmap", "use_mlock", "seed", "chat_format", "chat_handler", "logits_all",
        "verbose", "last_n_tokens_size", "lora_path", "f16_kv", "vocab_only", "tokenizer", "local_dir", "cache_dir",
        "numa", "spm_infill", "local_dir_use_symlinks", "model_kwargs", "echo", "grammar_path", "context_window",
        "rope_freq_base", "rope_freq_scale", "offload_kqv", "embedding", "token", "model_url", "last_n_tokens",
    },
    always={"n_ctx": ("--ctx-size", "512"), "n_gpu_layers": ("--gpu-layers", "0"), "": ("--parallel", "1")},
    needs=("model_path", "repo_id"),
)  # fmt: skip

# By the package and the name of what is called.
CONSTRUCTORS: Final[Mapping[tuple[str, str], Constructor]] = {
    ("vllm", "LLM"): _VLLM,
    ("vllm", "EngineArgs"): _VLLM,
    ("vllm", "AsyncEngineArgs"): _VLLM,
    ("sglang", "Engine"): _SGLANG,
    ("sglang", "Runtime"): _SGLANG,
    ("sglang", "ServerArgs"): _SGLANG,
    ("tensorrt_llm", "LLM"): _TENSORRT,
    ("llama_cpp", "Llama"): _LLAMA,
    ("llama_cpp", "Llama.from_pretrained"): _LLAMA,
    ("langchain_community", "VLLM"): _LANGCHAIN_VLLM,
    ("langchain", "VLLM"): _LANGCHAIN_VLLM,
    ("llama_index", "Vllm"): _LANGCHAIN_VLLM,
    ("langchain_community", "LlamaCpp"): _LLAMA,
    ("langchain", "LlamaCpp"): _LLAMA,
    ("llama_index", "LlamaCPP"): _LLAMA,
}
# Ray 2.50, llm/_internal: what is of Ray's own in LLMConfig and vLLMEngineProcessorConfig.
_RAY: Final = Constructor(
    ("vllm", "serve"),
    ("model_source",),
    {"model_source": "model"},
    ignored=frozenset(
        {
            "concurrency",
            "batch_size",
            "deployment_config",
            "runtime_env",
            "lora_config",
            "log_engine_metrics",
            "apply_chat_template",
            "chat_template",
            "tokenize",
            "detokenize",
            "has_image",
            "max_concurrent_batches",
            "llm_engine",
            "experimental_configs",
            "placement_group_config",
            "resources_per_bundle",
            "task_type",
            "max_pending_requests",
            "callback_config",
            "server_cls",
            "should_continue_on_error",
            "prepare_image_stage",
            "chat_template_stage",
            "tokenize_stage",
            "detokenize_stage",
            "prepare_multimodal_stage",
        }
    ),
    needs=("model_source",),
)
_FROM_WORDS: Final = "from_cli_args"  # of EngineArgs and ServerArgs: what argparse read
_TABLES: Final = ("engine_kwargs", "vllm_kwargs", "model_kwargs", "server_kwargs")


def constructor(origin: str) -> Constructor | None:
    """The engine that a call of this full name starts."""
    root, _, rest = origin.partition(".")
    last = rest.rpartition(".")[2]
    root = "langchain_community" if root.startswith("langchain") else root
    if last == "from_pretrained":
        last = ".".join(rest.split(".")[-2:])
    if root == "ray" and last in ("LLMConfig", "vLLMEngineProcessorConfig", "SGLangEngineProcessorConfig"):
        return _RAY if not last.startswith("SGLang") else replace(_RAY, program=_SGLANG.program)
    if last == _FROM_WORDS:
        return CONSTRUCTORS.get((root, ".".join(rest.split(".")[-2:-1])))
    return CONSTRUCTORS.get((root, last))


def deployment(constructor: Constructor, arguments: Arguments, name: str, facts: Facts) -> Deployment | None:
    """The deployment that a constructor's call is; None where it names no model."""
    from vramguard.link.launches.engines import read
    from vramguard.link.launches.scripts import Program

    at = arguments.module.place(arguments.called.call)
    cards = _cards(arguments)
    found = words(constructor, arguments, at)
    if dotted(arguments.called.call.function).endswith(f".{_FROM_WORDS}"):  # the engine's own flags, of the command
        typed = arguments.reader.home.words if arguments.reader.home is not None else ()
        found = (*(Word(word, at) for word in constructor.program), *typed) if typed else None
    if found is None:
        return None
    home = arguments.reader.home
    env, image = (home.env, home.image) if home is not None else ({}, None)
    program = Program(found, env, image, cards, at, entrypoint=True, form="python", name=name)
    given = {field: _complex(arguments.values[field], at) for field in constructor.stated & arguments.values.keys()}
    known = read(program, Launch(at, "python", name, hardware=cards, given=given), facts)
    if known is None:
        return None
    assumed = dict.fromkeys([*known.assumed, *arguments.reader.assumed, *rest_of(arguments)])
    return replace(known, assumed=tuple(assumed), training=arguments.once("trains", trains))


def _cards(arguments: Arguments) -> Hardware:
    """What the call itself asks for (Ray's `accelerator_type`), else what is declared around it."""
    kind = arguments.values.pop("accelerator_type", None)
    if kind is not None:
        gpu = kind if isinstance(kind, str) else Unknown(kind.last if isinstance(kind, External) else text_of(kind))
        return Hardware(gpu=gpu, places={"gpu": arguments.places["accelerator_type"]})
    return hardware(arguments.reader, arguments.module, arguments.called.scope)


def words(constructor: Constructor, arguments: Arguments, at: Location) -> tuple[Word, ...] | None:
    """The words of the command; None where no model is named at all."""
    values = _flattened(arguments)
    if not any(values.get(name) is not None for name in constructor.needs):
        if "**" not in values:
            return None
        values = {constructor.needs[0]: values["**"], **values}
    found = [Word(word, at) for word in constructor.program]
    for name, value in values.items():
        skipped = name == "**" or name in constructor.ignored or name in constructor.stated
        if constructor.flags.get(name) == "" and value is not None:
            found.insert(len(constructor.program), _complex(value, arguments.places.get(name, at)))
        elif not skipped and value is not None:
            flag = "--" + constructor.flags.get(name, name).replace("_", "-")
            found += _words(flag, value, arguments.places.get(name, at))
    for name, default in constructor.always.items():
        if values.get(name) is None:
            found += [Word(word, at) for word in default]
    return tuple(found)


def _flattened(arguments: Arguments) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in arguments.values.items():
        if name in _TABLES and isinstance(value, dict):
            found |= {str(key): inner for key, inner in value.items()}
        elif name == "model_loading_config":
            found |= _loading(arguments, value)
        elif name == "kv_cache_config":
            found |= _kv_cache(arguments, value)
        else:
            found[name] = value
    return found


def _loading(arguments: Arguments, value: object) -> dict[str, object]:
    """Ray's `model_loading_config=dict(model_id="name", model_source="owner/model")`: the source, else the id."""
    from vramguard.link.python.builtins import table

    if isinstance(value, Made) and value.call is not None:
        value = table(arguments.reader, value.call, value.module, value.scope)
    if not isinstance(value, dict):
        return {"model_source": value}
    return {"model_source": value.get("model_source") or value.get("model_id")}


def _kv_cache(arguments: Arguments, value: object) -> dict[str, object]:
    """TensorRT-LLM's `KvCacheConfig(free_gpu_memory_fraction=0.9)`."""
    from vramguard.link.python.builtins import table

    if isinstance(value, Made) and value.call is not None:
        value = table(arguments.reader, value.call, value.module, value.scope)
    if not isinstance(value, dict):
        return {"kv_cache_config": value}
    harmless = {"enable_block_reuse", "enable_partial_reuse", "copy_on_partial_reuse", "event_buffer_max_size"}
    names = {"free_gpu_memory_fraction": "kv_cache_free_gpu_memory_fraction", "dtype": "kv_cache_dtype"}
    return {names.get(str(key), str(key)): inner for key, inner in value.items() if key not in harmless}


def _words(flag: str, value: object, at: Location) -> Iterator[Word]:
    """A flag and its value; a table is JSON, False the opposite of a switch."""
    if value is True:
        yield Word(flag, at)
    elif value is False:
        if flag == "--flash-attn":
            yield from (Word(flag, at), Word("off", at))
    elif isinstance(value, PLAIN):
        yield from (Word(flag, at), Word(str(value), at))
    else:
        found = _complex(value, at)
        yield from (Word(flag, at), found) if found.known else (replace(found, text=f"{flag}={found.text}"),)


def _complex(value: object, at: Location) -> Word:
    if isinstance(value, PLAIN):
        return Word(str(value), at)
    if isinstance(value, External):
        found = dtype(value)
        return Word(found, at) if isinstance(found, str) else Word(value.origin, at, known=False)
    if isinstance(value, dict | list) and _is_plain(value):
        return Word(json.dumps(value), at)
    return Word(text_of(value), at, known=False)


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or (isinstance(value, PLAIN) and not isinstance(value, Unknown | Options))
