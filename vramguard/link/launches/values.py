"""Text of a flag or a variable as the value of a field: exact, or `Unknown` as it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import Unknown

if TYPE_CHECKING:
    from vramguard.facts import Word

COUNTS: Final = frozenset(
    {
        "gpus", "nodes", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "max_model_len",
        "concurrency", "max_num_seqs", "max_num_batched_tokens", "block_size", "kv_cache_memory_bytes",
        "num_gpu_blocks_override", "max_loras", "max_lora_rank", "num_speculative_tokens", "processes_per_gpu",
        "n_gpu_layers",
    }
)  # fmt: skip
SWITCHES: Final = frozenset(
    {
        "enable_expert_parallel",
        "enforce_eager",
        "disable_hybrid_kv_cache_manager",
        "language_model_only",
        "kv_events",
        "enable_chunked_prefill",
        "trust_remote_code",
    }
)
DECIMALS: Final = frozenset({"gpu_memory_utilization", "cpu_offload_gb", "swap_space"})
# vLLM, engine/arg_utils.py (human_readable_int): k is 1000 and K is 1024, and so on; 25.6k is 25600, 25.6K is refused.
_SUFFIXES: Final[Mapping[str, int]] = {
    letter: base**power
    for power, pair in enumerate(("kK", "mM", "gG", "tT"), 1)
    for letter, base in zip(pair, (1000, 1024), strict=True)
}
PLACEHOLDER: Final = re.compile(r"<[^<>]{1,80}>")  # `<your-model>`: the reader is to fill it in
_HUMAN: Final = re.compile(r"([0-9]{1,12})(\.[0-9]{1,6})?([kKmMgGtT])")
_COUNT: Final = re.compile(r"-?[0-9_]{1,18}")
_DECIMAL: Final = re.compile(r"[0-9]{0,9}\.?[0-9]{1,18}|[0-9]{1,9}\.")
_TRUE: Final = ("true", "1", "yes", "on", "t", "y")
_FALSE: Final = ("false", "0", "no", "off", "f", "n", "")
_JSON_DEPTH: Final = 20  # levels of brackets; deeper is nobody's flag
_JSON_LENGTH: Final = 20_000


def value(field: str, word: Word, *, human: bool = False) -> str | int | bool | Unknown:
    """The value that `word` gives a field; `Unknown` for what is not known, and for what the engine would refuse.

    `human`: numbers may be written as vLLM reads them, 32k.
    """
    text = word.text.strip()
    if not word.known or PLACEHOLDER.fullmatch(text):
        return Unknown(word.text)
    if field in COUNTS:
        number = count(text, human=human)
        return Unknown(word.text) if number is None else number
    if field in SWITCHES:
        said = truth(text)
        return Unknown(word.text) if said is None else said
    if field in DECIMALS and not _DECIMAL.fullmatch(text):
        return Unknown(word.text)
    return text


def count(text: str, *, human: bool = False) -> int | None:
    """The whole number that a text writes; None where it writes none."""
    if _COUNT.fullmatch(text):
        try:
            return int(text)
        except ValueError:
            return None
    match = _HUMAN.fullmatch(text) if human else None
    if match is None:
        return None
    digits, part, letter = match.groups()
    factor = _SUFFIXES[letter]
    if part is None:
        return int(digits) * factor
    if letter.isupper():
        return None
    return int(digits) * factor + int(part[1:]) * factor // int("1" + "0" * (len(part) - 1))


def truth(text: str) -> bool | None:
    """What a text says of a switch; None where that is neither yes nor no."""
    plain = text.strip().lower()
    return True if plain in _TRUE else False if plain in _FALSE else None


def mapping(text: str) -> Mapping[str, Any] | None:
    """The object that a flag's JSON writes; None where it is none."""
    if len(text) > _JSON_LENGTH or not text.lstrip().startswith("{"):
        return None
    depth = deepest = 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        deepest = max(deepest, depth)
    if deepest > _JSON_DEPTH:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, Mapping) else None


def model(text: str) -> str:
    """The id that a reference to Hugging Face names (`hf://owner/name`); other places stay as they are written."""
    for prefix in ("hf://", "https://huggingface.co/", "huggingface://"):
        if text.startswith(prefix):
            return text.removeprefix(prefix).rstrip("/").removesuffix("/tree/main")
    return text
