"""llama.cpp: the context and its slots, the cache's two types, a file's own type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.link.launches import values
from vramguard.link.launches.meaning import device, is_on

if TYPE_CHECKING:
    from vramguard.link.launches.meaning import Reading

# Types of files as llama-quantize names them, the last of a file's name: model-Q4_K_M.gguf, model.q8_0.gguf,
# model-Q4_K_M-00001-of-00002.gguf.
_TYPE: Final = re.compile(
    r"(?:^|[-._/:])((?:UD-)?(?:I?Q[0-9]_(?:[0-9]|K|XXS|XS|NL|[SM])(?:_[SMLX]{1,2})?|F16|BF16|F32|MXFP4(?:_MOE)?))"
    r"(?:-[0-9]{5}-of-[0-9]{5})?(?:\.gguf)?$",
    re.IGNORECASE,
)
_FLASH: Final = {"on": "on", "1": "on", "true": "on", "enabled": "on", "off": "off", "0": "off", "false": "off",
                 "disabled": "off", "auto": "auto", "-1": "auto"}  # fmt: skip
_ALL: Final = ("all", "-2")


def finish(reading: Reading) -> None:
    """Fields that several flags say together (common/arg.cpp, tools/server)."""
    device(reading)
    _model(reading)
    _context(reading)
    _cache(reading)
    _layers(reading)
    said = reading.last("flash")
    if said is not None:
        text = "on" if said.value is None else _FLASH.get((reading.text("flash") or "").lower())
        reading.set("attn_implementation", text or Unknown(said.value.text if said.value else ""), said.at)


def file_type(name: str) -> str | None:
    """The type that a GGUF file's name ends in; None where it names none."""
    found = _TYPE.search(name)
    return found[1].upper() if found else None


def _model(reading: Reading) -> None:
    """A repository with a tag (`owner/name:Q4_K_M`), or a file; the tag of none is Q4_K_M."""
    repository, file = reading.last("repository"), reading.last("file_of") or reading.last("file")
    said = repository or file
    if said is None or said.value is None:
        return
    word = said.value
    if not word.known:
        reading.set("model", Unknown(word.text), word.at)
        return
    name, _, tag = word.text.partition(":") if repository else (word.text, "", "")
    reading.set("model", name, word.at)
    where = file.value if file is not None and file.value is not None else word
    kind = file_type(where.text) if file is not None else tag or "Q4_K_M"
    if kind is not None:
        reading.set("quantization", kind.upper() if not kind.startswith("UD") else kind, where.at)
        if repository is not None and not tag and file is None:
            reading.assumed.append("-hf names no type of file; Q4_K_M, its default, is assumed")
    elif where.text.lower().endswith(".gguf"):
        reading.set("quantization", Unknown(where.text), where.at)
    if repository is not None and reading.last("file") is None:
        reading.assumed.append("the repository of -hf has no projector, which would be loaded with the model")


def _context(reading: Reading) -> None:
    """-c is of all slots together: each slot that is named has its part, unless they share one cache."""
    said, total = reading.last("context"), reading.number("context")
    slots, unified = reading.number("slots"), reading.last("unified")
    number = reading.last("slots")
    if number is not None and number.value is not None and slots is None:
        reading.set("max_num_seqs", Unknown(number.value.text), number.value.at)
    elif slots is not None and slots > 0 and number is not None:
        reading.set("max_num_seqs", slots, number.at)
    if said is None or said.value is None or total == 0:
        return
    if total is None or total < 0:
        reading.set("max_model_len", Unknown(said.value.text), said.value.at)
        return
    apart = slots if slots and slots > 0 and not (unified is not None and is_on(unified)) else 1
    reading.set("max_model_len", total // apart or Unknown(said.value.text), said.value.at)
    if apart > 1:
        reading.set("concurrency", apart, said.value.at)


def _cache(reading: Reading) -> None:
    """One field holds both types; two that differ are in no field."""
    keys, kinds = reading.last("keys"), reading.last("values")
    found = [(reading.text(name) or "").lower() if reading.last(name) else "f16" for name in ("keys", "values")]
    said = keys or kinds
    if said is None:
        return
    if found[0] != found[1] or not found[0]:
        reading.leave_said(said)
    else:
        reading.set("kv_cache_dtype", found[0], said.value.at if said.value else said.at)


def _layers(reading: Reading) -> None:
    said, text = reading.last("layers"), reading.text("layers")
    if said is None or said.value is None or text == "auto":
        return
    number = -1 if text in _ALL else values.count(text or "")
    reading.set("n_gpu_layers", Unknown(said.value.text) if number is None else number, said.value.at)
