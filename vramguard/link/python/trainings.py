"""What a script trains with: TrainingArguments, adapters and the Trainer that stand beside the model that it loads.

Only a training all of whose deciding values are literal becomes a deployment of mode training. Of any other nothing is
said here, and it stays what it was: a deployment that trains and is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import Unknown
from vramguard.link.python.builtins import table
from vramguard.link.python.fields import flag, integer, text
from vramguard.link.python.names import External, text_of
from vramguard.source.expression import dotted
from vramguard.source.program import Called

if TYPE_CHECKING:
    from vramguard.link.python.fields import Arguments, Fields
    from vramguard.source.program import PythonModule

# transformers 5.23.0 and trl 0.26: what trains a causal language model with its own loss, and nothing else.
_TRAINERS: Final = ("transformers.Trainer", "trl.SFTTrainer")
_ARGUMENTS: Final = {"transformers.TrainingArguments": None, "trl.SFTConfig": 1024}  # and its max_length, if any
_LENGTHS: Final = ("max_length", "max_seq_length")
_FIELDS: Final[tuple[tuple[str, tuple[str, ...], Any], ...]] = (
    ("optim", ("optim",), text),
    ("per_device_train_batch_size", ("per_device_train_batch_size",), integer),
    ("gradient_accumulation_steps", ("gradient_accumulation_steps",), integer),
    ("gradient_checkpointing", ("gradient_checkpointing", "activation_checkpointing"), flag),
    ("bf16", ("bf16",), flag),
    ("fp16", ("fp16",), flag),
)
# What moves bytes to other places, or takes other kernels, in arguments that no field holds.
_DECIDING: Final = frozenset({
    "deepspeed", "fsdp", "fsdp_config", "use_liger_kernel", "liger_kernel_config", "optim_args", "torch_compile",
    "optim_target_modules", "gradient_checkpointing_kwargs", "activation_checkpointing_kwargs", "parallelism_config",
    "packing", "padding_free", "use_cpu", "no_cuda", "auto_find_batch_size", "neftune_noise_alpha", "use_cache",
    "label_smoothing_factor", "loss_type", "use_liger", "half_precision_backend", "per_gpu_train_batch_size",
    "activation_offloading", "model_init_kwargs", "torch_empty_cache_steps", "use_mps_device", "accelerator_config",
})  # fmt: skip
_OF_ADAPTERS: Final = (
    "modules_to_save", "use_dora", "layers_to_transform", "rank_pattern", "lora_bias", "bias",
    "target_parameters", "trainable_token_indices",
)  # fmt: skip
_PLAIN: Final = (None, False, "none")
_RANK: Final = 8  # of peft's LoraConfig
_MIXED: Final = ("backward", "prepare", "DPOTrainer", "PPOTrainer", "GRPOTrainer", "Seq2SeqTrainer", "RewardTrainer")


@dataclass(frozen=True, slots=True)
class _Found:
    """The calls of a module that decide a training, by their full names."""

    trainers: tuple[tuple[str, Called], ...]
    arguments: tuple[tuple[str, Called], ...]
    adapters: tuple[Called, ...]
    loaded: int  # models that it loads
    mixed: bool  # something else trains as well


def training(fields: Fields, arguments: Arguments) -> bool:
    """Fill in how a model is trained, where everything that decides is written down; whether it is."""
    found = arguments.once("training", lambda module: _found(arguments, module))
    if found.mixed or len(found.trainers) != 1 or len(found.arguments) != 1 or found.loaded != 1:
        return False
    if len(found.adapters) > 1:
        return False
    kind, called = found.arguments[0]
    given = _table(arguments, called)
    if given is None or not _DECIDING.isdisjoint(key for key, value in given.items() if value not in _PLAIN):
        return False
    read = {own: take(next((given[name] for name in names if name in given), None)) for own, names, take in _FIELDS}
    lengths = [given[name] for name in _LENGTHS if name in given] or [_ARGUMENTS[kind]]
    read["max_model_len"] = integer(lengths[0])
    if read["max_model_len"] is None or any(isinstance(value, Unknown) for value in read.values()):
        return False
    if found.adapters and not _adapted(read, arguments, found.adapters[0]):
        return False
    at = arguments.module.place(called.call)
    for name, value in read.items():
        fields.put(name, value, at)
    fields.put("mode", "training", at)
    return True


def _adapted(read: dict[str, Any], arguments: Arguments, called: Called) -> bool:
    """Rank and modules of the adapters, where they are literal and nothing else is trained."""
    given = _table(arguments, called)
    if given is None or any(given.get(name) not in _PLAIN for name in _OF_ADAPTERS):
        return False
    rank, modules = integer(given.get("r", _RANK)), given.get("target_modules")
    if isinstance(modules, list) and all(isinstance(name, str) for name in modules):
        modules = ",".join(modules)
    if not isinstance(rank, int) or not isinstance(modules, str | None):  # None: peft chooses
        return False
    read |= {"lora_rank": rank, "lora_target_modules": modules}
    return True


def _table(arguments: Arguments, called: Called) -> dict[str, object] | None:
    """The arguments of another call of the module; None where it takes some from elsewhere."""
    given = table(arguments.reader, called.call, arguments.module, called.scope)
    return None if "**" in given or any(one.name is None for one in called.call.arguments) else given


def _found(arguments: Arguments, module: PythonModule) -> _Found:
    trainers, stated, adapters, loaded, mixed = [], [], [], 0, False
    for called in module.calls:
        last = dotted(called.call.function).rpartition(".")[2]
        if last == "from_pretrained" and "Tokenizer" not in text_of(dotted(called.call.function)):
            loaded += "Processor" not in dotted(called.call.function)
        mixed = mixed or last in _MIXED
        if last not in _NAMES:
            continue
        value = arguments.reader.value(called.call.function, module, called.scope)
        origin = value.origin if isinstance(value, External) else ""
        origin = f"{origin.partition('.')[0]}.{last}"
        if last == "LoraConfig":
            adapters.append(called)
        elif origin in _TRAINERS:
            trainers.append((origin, called))
        elif origin in _ARGUMENTS:
            stated.append((origin, called))
        else:
            mixed = True  # a class of the repository's own, or of a library that was not read
    return _Found(tuple(trainers), tuple(stated), tuple(adapters), loaded, mixed)


_NAMES: Final = frozenset({"LoraConfig", *(name.partition(".")[2] for name in (*_TRAINERS, *_ARGUMENTS))})
