"""What an engine runs with, read from the line in which it prints its own configuration."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Final

from vramguard.receipts.receipt import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Names that other engines and older versions use for vLLM's settings (SGLang 0.5.10, server_args.py).
_NAMES: Final = {field.name: field.name for field in fields(Settings)} | {
    "max_seq_len": "max_model_len",
    "model_path": "model",
    "model_tag": "model",
    "tp_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "dp_size": "data_parallel_size",
    "context_length": "max_model_len",
    "max_running_requests": "max_num_seqs",
    "chunked_prefill_size": "max_num_batched_tokens",
    "page_size": "block_size",
    "disable_cuda_graph": "enforce_eager",
}
# Within speculative_config, in the arguments and in the engine's own configuration.
_DRAFT: Final = {
    "method": "speculative_method",
    "num_spec_tokens": "num_speculative_tokens",
    "num_speculative_tokens": "num_speculative_tokens",
}
_OPENING: Final = re.compile(r"\A\w{0,40}[({]")
_DECIMALS: Final = frozenset({"gpu_memory_utilization", "mem_fraction_static", "cpu_offload_gb", "swap_space"})
_KINDS: Final = {field.name: str(field.type).partition(" ")[0] for field in fields(Settings)}
_MARK: Final = re.compile(r"['\"()\[\]{},]")
_LONGEST: Final = 500  # characters of a value
_DECIMAL: Final = re.compile(r"\d{1,9}(?:\.\d{1,20})?")
_INTEGER: Final = re.compile(r"-?\d{1,18}")

# vLLM 0.6: "Initializing an LLM engine (v0.6.3) with config: model=..."; V0 or V1 before LLM since 0.7.
CONFIG: Final = re.compile(r"Initializing an? (?:V\d )?LLM engine \(v([^)\s]{1,80})\) with config: ")
# vLLM: since 0.9 only what differs from the default; SGLang: everything.
ARGUMENTS: Final = re.compile(r"(?:non-default args: \{|\bargs: Namespace\(|\bserver_args=ServerArgs\()")
# The banner of 0.17 and later ends in "version 0.19.0".
VERSION: Final = re.compile(r"(?:vLLM API server|█) {1,4}version v?(\d[\w.+-]{1,80})")
SCHEDULING: Final = re.compile(r"Asynchronous scheduling is (enabled|disabled)")


def read(text: str) -> dict[str, str | int | bool]:
    """The settings in `text`, what stands behind the opening of a configuration: `name=value` or `'name': value`."""
    return _read(text, _NAMES)


def _read(text: str, names: Mapping[str, str]) -> dict[str, str | int | bool]:
    found: dict[str, str | int | bool] = {}
    for item in _items(text):
        name, value = _pair(item)
        field = names.get(name)
        if field is not None and field not in found and (said := typed(field, value)) is not None:
            found[field] = said
        elif name == "speculative_config" and names is _NAMES:
            found |= _read(_OPENING.sub("", value), _DRAFT)
    return found


def _items(text: str) -> Iterator[str]:
    """Split at the commas outside of brackets and quotes, up to the bracket that closes the whole."""
    depth = start = position = 0
    while (mark := _MARK.search(text, position)) is not None:
        position = mark.end()
        if mark[0] in "'\"":
            position = max(position, text.find(mark[0], position) + 1)
        elif mark[0] in "([{":
            depth += 1
        elif mark[0] in ")]}":
            depth -= 1
            if depth < 0:
                break
        elif not depth:
            yield text[start : mark.start()]
            start = position
    yield text[start : position - 1 if depth < 0 else len(text)]


def _pair(item: str) -> tuple[str, str]:
    """`name=value` and `'name': value`, without their quotes."""
    item = item.strip()
    name, _, value = item.partition(": ") if item.startswith(("'", '"')) else item.partition("=")
    return name.strip("'\" "), value.strip()[:_LONGEST]


def typed(field: str, value: str) -> str | int | bool | None:
    """`value` as the setting has it; None for None and for what the setting cannot be."""
    value = value.strip("'\"")
    kind = _KINDS[field]
    if value == "None" or not value:
        return None
    if kind == "bool":
        return {"True": True, "False": False}.get(value)
    if kind == "int":
        value = value.replace(",", "")
        return int(value) if _INTEGER.fullmatch(value) else None
    if field in _DECIMALS:
        return value if _DECIMAL.fullmatch(value) else None
    return value.removeprefix("torch.") if field == "dtype" else value
