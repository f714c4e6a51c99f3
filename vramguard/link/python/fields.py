"""Arguments of a loader as fields of a deployment: what each argument is called, and how its value is taken."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vramguard.facts import Unknown
from vramguard.link.python.names import External, Made, Options, text_of
from vramguard.link.python.values import Reader
from vramguard.source import Location
from vramguard.source.program import Called, PythonModule

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_DTYPES: Final = {
    "half": "float16", "float": "float32", "fp16": "float16", "bf16": "bfloat16", "fp32": "float32",
    "double": "float64",
}  # fmt: skip


@dataclass(slots=True)
class Arguments:
    """The arguments of one call, by name: their values and where they stand. What is taken is not unread."""

    reader: Reader
    module: PythonModule
    called: Called
    values: dict[str, object]
    places: dict[str, Location]
    taken: set[str] = field(default_factory=set)

    def take(self, *names: str) -> tuple[object, Location | None]:
        """The first argument of these names that is given, and its place; `None` counts as not given."""
        found: tuple[object, Location | None] = (None, None)
        for name in names:
            self.taken.add(name)
            if found[0] is None and self.values.get(name) is not None:
                found = self.values[name], self.places.get(name)
        return found

    def once(self, what: str, ask: Callable[[PythonModule], T]) -> T:
        """The answer to a question about the module, asked once."""
        return self.reader.repository.once(what, self.module, ask)

    @property
    def unread(self) -> list[str]:
        """Names of arguments that nobody took."""
        return [name for name in self.values if name not in self.taken]


@dataclass(slots=True)
class Fields:
    """The fields of a deployment as they are found, each with its place."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Location] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def put(self, name: str, value: object, at: Location | None) -> None:
        """Set a field, if there is a value; the first one stands."""
        if value is not None and name not in self.values:
            self.values[name] = value
            if at is not None:
                self.places[name] = at


def text(value: object) -> str | Unknown | None:
    """A text; of anything else, what is written."""
    return value if isinstance(value, str) or value is None else Unknown(text_of(value))


def integer(value: object) -> int | Unknown | None:
    """A whole number, written as one or as text."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return Unknown(text_of(value))


def decimal(value: object) -> str | Unknown | None:
    """A decimal number as its text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value}"
    return text(value)


def flag(value: object) -> bool | Unknown | None:
    """A truth value."""
    return value if isinstance(value, bool) or value is None else Unknown(text_of(value))


def dtype(value: object) -> str | Unknown | None:
    """A data type, `torch.bfloat16` or its name."""
    name = value.last if isinstance(value, External) else value
    if not isinstance(name, str):
        return None if value is None else Unknown(text_of(value))
    name = name.removeprefix("torch.")
    known = isinstance(value, str) or re.fullmatch(r"(?:b?float|half|int|u?int)\d*\w*", name) is not None
    return _DTYPES.get(name, name) if known else Unknown(text_of(value))


def shown(value: object) -> str | Unknown | None:
    """A value as it is written: a table of limits."""
    if value is None:
        return None
    return text_of(value) if not _has_unknown(value) else Unknown(text_of(value))


def _has_unknown(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_unknown(inner) for inner in value.values())
    return isinstance(value, Unknown | Options | External | Made)


def device_map(value: object) -> str | Unknown | None:
    """`auto` and its like as they are; a table of modules as it is written."""
    if isinstance(value, Made) and value.of == External("torch.device"):
        return Unknown(text_of(value))
    return value if isinstance(value, str) else f"cuda:{value}" if type(value) is int else shown(value)


# transformers 5.23.0, modeling_utils.py (from_pretrained): arguments that change nothing on the card.
TRANSFORMERS_HARMLESS: Final = frozenset({
    "adapter_kwargs", "backend", "batch_size", "bos_token_id", "cache_dir", "callbacks",
    "clean_up_tokenization_spaces", "code_revision", "completion_to_prompt", "config", "context_window",
    "device_map", "do_sample", "early_stopping", "eos_token_id", "fast_inference", "feature_extractor",
    "fix_tokenizer", "force_download", "framework", "generate_kwargs", "generation_config",
    "ignore_mismatched_sizes", "image_processor", "is_chat_model", "key_mapping", "local_files_only",
    "low_cpu_mem_usage", "max_length", "max_new_tokens", "max_seq_length", "messages_to_prompt", "min_length",
    "model_id", "model_kwargs", "model_name", "name", "no_repeat_ngram_size", "num_beams", "num_return_sequences",
    "offload_folder", "offload_state_dict", "output_attentions", "output_hidden_states", "pad_token_id",
    "padding", "padding_side", "pipeline_kwargs", "processor", "proxies", "query_wrapper_prompt",
    "repetition_penalty", "resume_download", "return_dict", "return_full_text", "return_token_type_ids",
    "stopping_criteria", "stopping_ids", "streamer", "subfolder", "system_prompt", "task", "temperature", "token",
    "tokenizer", "tokenizer_kwargs", "tokenizer_name", "tokenizer_outputs_to_remove", "top_k", "top_p",
    "truncation", "trust_remote_code", "use_auth_token", "use_cache", "use_fast", "use_gradient_checkpointing",
    "use_safetensors", "variant", "verbose", "weights_only",
})  # fmt: skip
