"""What Lightning's command line reads of YAML: the `trainer:` of a configuration, and its callbacks.

lightning 2.6.1, pytorch/cli.py (LightningCLI): `trainer` holds the arguments of `Trainer`, alone or under a subcommand
(`fit:`), each callback a `class_path` with `init_args`. Hydra's files, whose objects have a `_target_`, are none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts.saves import ConfiguredCallback, TrainerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document, KeyPath

_TRAINER: Final = re.compile(r"^[ \t]{0,8}trainer[ \t]*:", re.MULTILINE)
# Arguments of `Trainer` that few other things have.
_ARGUMENTS: Final = frozenset({
    "max_epochs", "min_epochs", "max_steps", "accelerator", "devices", "gpus", "precision", "strategy", "callbacks",
    "enable_checkpointing", "fast_dev_run", "limit_train_batches", "accumulate_grad_batches", "gradient_clip_val",
    "log_every_n_steps", "check_val_every_n_epoch", "val_check_interval", "num_sanity_val_steps", "default_root_dir",
    "detect_anomaly",
})  # fmt: skip
_FEW: Final = 2  # arguments by which a trainer is known
_MOST: Final = 40  # callbacks


def extract(document: Document) -> Iterator[TrainerSettings]:
    """The trainers of a file."""
    if not _TRAINER.search(document.text):
        return
    for number, value in enumerate(document.value):
        if isinstance(value, dict):
            for keys in (("trainer",), ("fit", "trainer")):
                found = _under(value, keys)
                if isinstance(found, dict) and "_target_" not in found and len(_ARGUMENTS & found.keys()) >= _FEW:
                    yield _trainer(document, found, (number, *keys))


def _under(value: dict[Any, Any], keys: tuple[str, ...]) -> object:
    for key in keys[:-1]:
        inner = value.get(key)
        if not isinstance(inner, dict):
            return None
        value = inner
    return value.get(keys[-1])


def _trainer(document: Document, value: dict[Any, Any], path: KeyPath) -> TrainerSettings:
    given = value.get("callbacks")
    listed = list(given) if isinstance(given, list) else [given] if isinstance(given, dict) else []
    callbacks = []
    for number, one in enumerate(listed[:_MOST]):
        if isinstance(one, dict) and isinstance(one.get("class_path"), str):
            place = (*path, "callbacks", *((number,) if isinstance(given, list) else ()))
            callbacks.append(ConfiguredCallback(document.at(*place), one["class_path"], _plain(one.get("init_args"))))
    return TrainerSettings(document.key_at(*path), _plain(value), tuple(callbacks))


def _plain(value: object) -> tuple[tuple[str, object], ...]:
    """The settings of a table that are no tables themselves."""
    if not isinstance(value, dict):
        return ()
    return tuple(
        (key, one)
        for key, one in value.items()
        if isinstance(key, str) and (one is None or isinstance(one, str | int | float))
    )
