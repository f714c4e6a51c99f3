"""The class of transformers that runs a config, built without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
import transformers
from transformers.core_model_loading import build_glob_alternation
from transformers.initialization import no_init_weights
from transformers.models.auto import modeling_auto as auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from vramguard.trace.flash import FLASH, standing_in
from vramguard.trace.record import TraceError
from vramguard.trace.values import unknow

if TYPE_CHECKING:
    from collections.abc import Mapping

# In the order in which a language model is looked for.
_MAPPINGS: Final = (
    auto.MODEL_FOR_CAUSAL_LM_MAPPING,
    auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    auto.MODEL_FOR_MASKED_LM_MAPPING,
    auto.MODEL_MAPPING,
)

_CHOICES: Final = {"attn_implementation", "_attn_implementation"}  # keys of a config that name another kernel


def build(config: Mapping[str, object], implementation: str | None, dtype: torch.dtype, class_name: str | None) -> Any:  # noqa: ANN401 - transformers' class
    """Build the model that runs; call it under fake tensors, or it takes its real size. Raises TraceError."""
    if config.get("quantization_config"):
        raise TraceError("a quantizer replaces modules, which the trace does not run")
    parsed, model_class = _classes(config, class_name)
    asked: dict[str, Any] = {} if implementation is None else {"attn_implementation": implementation}
    if implementation == "sdpa" and model_class._supports_sdpa and not {*config} & _CHOICES:  # noqa: SLF001
        asked = {}  # the default, and a tower that has no such kernel (Gemma 4's ears) then takes what it has
    if implementation == "flash_attention_2":
        if not model_class._supports_flash_attn:  # noqa: SLF001 - what transformers asks too
            raise TraceError(f"{model_class.__name__} does not support flash_attention_2")
        standing_in(model_class.__module__)
        asked = {"attn_implementation": FLASH}
    with no_init_weights():
        model = model_class._from_config(parsed, dtype=dtype, **asked)  # noqa: SLF001 - what every auto class calls
    model.tie_weights()
    _widen(model, dtype)
    unknow(model.state_dict(keep_vars=True).values())
    return model.eval()


def _widen(model: Any, dtype: torch.dtype) -> None:  # noqa: ANN401 - a torch module
    """Keep in float32 what from_pretrained keeps so, whatever dtype is asked for."""
    plan = model._get_dtype_plan(dtype)  # noqa: SLF001 - what from_pretrained asks
    pattern = build_glob_alternation([*plan])[0] if plan else None
    for name, weight in model.named_parameters():
        if pattern is not None and pattern.search(name):
            weight.data = weight.data.to(torch.float32)


def _classes(config: Mapping[str, object], class_name: str | None) -> tuple[Any, Any]:
    """Config object and the class of transformers that runs it."""
    named = config.get("architectures")
    name = class_name or (named[0] if isinstance(named, list) and named else None)
    model_class = getattr(transformers, str(name), None) if name else None
    if name and model_class is None:
        raise TraceError(f"transformers {transformers.__version__} has no class {name}")
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in CONFIG_MAPPING:
        config_class = CONFIG_MAPPING[model_type]
    elif model_class is not None:
        config_class = model_class.config_class
    else:
        raise TraceError(f"transformers {transformers.__version__} has no model type {model_type}")
    parsed = config_class.from_dict(dict(config))
    if model_class is None:
        model_class = next((mapping[config_class] for mapping in _MAPPINGS if config_class in mapping), None)
    if isinstance(model_class, tuple):
        model_class = model_class[0]
    if model_class is None:
        raise TraceError(f"transformers has no class that runs {model_type} as a language model")
    return _part(parsed, model_class), model_class


def _part(config: Any, model_class: Any) -> Any:  # noqa: ANN401 - transformers' configs
    """The part of a composite config that a class of its text model takes, as from_config of every auto class does."""
    wanted = model_class.config_class
    if wanted is None or isinstance(config, wanted):
        return config
    parts = (getattr(config, name, None) for name in config.sub_configs)
    return next((part for part in parts if isinstance(part, wanted)), config)
