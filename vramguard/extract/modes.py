"""Configuration that switches training's ways on: `training: true` in YAML, TOML and JSON.

What stands beside it says what it is for: a learning rate, that it is a training's own; a port, a device map or a
longest context, that it is of what serves. Whether code that serves reads the file is for the check to find out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from vramguard.source.program import TrainingMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document, KeyPath

_NAMES: Final = r"(?:(?:is_|model_)?training(?:_mode)?|do_train|train_mode)"
# In lower case; it begins with a word, for which a search is many times faster than for what may stand before it.
_WORDS: Final = re.compile(r"""train(?:ing)?(?:_mode)?["']?\s{0,20}[:=]\s{0,20}["']?(?:true|yes|on|1)\b""")
_FLAG: Final = re.compile(rf"{_NAMES}\Z", re.IGNORECASE)
_TRAINS: Final = re.compile(
    r"learning_rate|lr|\w*epochs?|optimi[sz]er\w*|lr_scheduler\w*|warmup\w*|\w*train_batch_size|weight_decay|loss\w*"
    r"|gradient_\w+|(?:train|eval|val)_(?:data\w*|file|split|steps)|save_steps|max_steps|lora_\w+|trainer|do_eval",
    re.IGNORECASE,
)
_SERVES: Final = re.compile(
    r"serv(?:e|er|ing|ice)\w*|inference|endpoints?|port|host|device_map|max_model_len|max_new_tokens|gpu_memory_utilization"
    r"|engine|replicas|timeout\w*|max_concurren\w+|health\w*|max_batch_delay|tensor_parallel\w*|generation",
    re.IGNORECASE,
)
_MAX_DEPTH: Final = 12
_TRUE: Final = ("true", "yes", "on", "1")


def extract(document: Document) -> Iterator[TrainingMode]:
    """Every flag of training that is on, where nothing beside it is a training's own."""
    if not _WORDS.search(document.text.lower()):
        return
    documents = document.value if document.kind == "yaml" else [document.value]
    for number, value in enumerate(documents):
        start: KeyPath = (number,) if document.kind == "yaml" else ()
        if isinstance(value, dict) and not {"apiVersion", "kind"} <= value.keys():
            yield from _flags(document, value, start, (value,))


def _flags(
    document: Document, value: dict[Any, Any], path: KeyPath, around: tuple[dict[Any, Any], ...]
) -> Iterator[TrainingMode]:
    if len(path) > _MAX_DEPTH:
        return
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flags(document, inner, (*path, key), (*around, inner))
        elif _is_on(key, inner) and not _names(around, _TRAINS):
            beside = next(iter(_names(around, _SERVES)), None)
            place = None
            if beside is not None:
                depth = next(number for number, table in enumerate(around) if beside in table)
                place = document.key_at(*path[: len(path) - len(around) + 1 + depth], beside)
            function = ".".join(str(part) for part in (*path[len(path) - len(around) + 1 :], key))
            written = f"{key} = true" if document.kind == "toml" else f"{key}: {str(inner).lower()}"
            yield TrainingMode(document.at(*path, key), written, "config", function, place)


def _is_on(key: object, value: object) -> bool:
    on = value is True or (isinstance(value, str) and value.lower() in _TRUE) or (type(value) is int and value == 1)
    return on and isinstance(key, str) and _FLAG.match(key) is not None


def _names(around: tuple[dict[Any, Any], ...], pattern: re.Pattern[str]) -> list[str]:
    """Keys beside a flag, and beside what it stands in, that are of a kind."""
    return [key for table in around for key in table if isinstance(key, str) and pattern.fullmatch(key)]
