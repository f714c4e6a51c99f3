"""transformers' own class for a config, built without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import transformers
from transformers import AutoConfig
from transformers.initialization import no_init_weights
from transformers.models.auto import modeling_auto as auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from vramguard.trace.flash import FLASH, standing_in
from vramguard.trace.record import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

# In the order in which a language model is looked for.
_MAPPINGS: Final = (
    auto.MODEL_FOR_CAUSAL_LM_MAPPING,
    auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    auto.MODEL_FOR_MASKED_LM_MAPPING,
    auto.MODEL_MAPPING,
)


def build(config: Mapping[str, object], implementation: str | None, dtype: torch.dtype, class_name: str | None) -> Any:  # noqa: ANN401 - transformers' class
    """Build the model that runs; call it under fake tensors, or it takes its real size. Raises TraceError."""
    if config.get("quantization_config"):
        raise TraceError("a quantizer replaces modules, which the trace does not run")
    parsed, model_class = _classes(config, class_name)
    asked: dict[str, Any] = {} if implementation is None else {"attn_implementation": implementation}
    if implementation == "flash_attention_2":
        if not model_class._supports_flash_attn:  # noqa: SLF001 - what transformers asks too
            raise TraceError(f"{model_class.__name__} does not support flash_attention_2")
        standing_in()
        asked = {"attn_implementation": FLASH}
    with no_init_weights():
        model = model_class._from_config(parsed, dtype=dtype, **asked)  # noqa: SLF001 - what every auto class calls
    return model.eval()


def _classes(config: Mapping[str, object], class_name: str | None) -> tuple[Any, Any]:
    """transformers' config object and the class that runs it."""
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
    return parsed, model_class
