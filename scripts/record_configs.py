"""Write vramguard/memory/families/configs.json: what transformers' config classes default to.

Run it where torch and transformers are installed; a newer transformers is one run and one diff to review. One line for
each config class that a supported mapping reaches, itself or as a part of another:

    fields  every field of the class with its default
    null    fields that may be null
    names   older or other spellings of a field: the field that each stands for
    parts   fields that hold another config: its class, whether a given model_type may name another, what is passed on
    rotary  share of a head that is rotated by default, where that is not all of it

and one for each model class: the model types that mean it and for which tasks, the attention kernels it runs with,
and what it keeps in float32 whatever dtype is asked for.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.models.auto import modeling_auto

TABLE = Path(__file__).parents[1] / "vramguard" / "memory" / "families" / "configs.json"
TASKS = {
    "causal-lm": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "seq2seq-lm": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "image-text-to-text": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    "masked-lm": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "speech-seq2seq": modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
}
# Fields of every config class; they change no tensor, or are read from the config itself.
_BASE = {field.name for field in dataclasses.fields(PreTrainedConfig)} - {"is_encoder_decoder"}


def key_of(cls: type) -> str:
    """Name under which a config class is recorded: its model type, or its own where another class has that type."""
    model_type = str(getattr(cls, "model_type", ""))
    return model_type if model_type in CONFIG_MAPPING and CONFIG_MAPPING[model_type] is cls else cls.__name__


def default(field: dataclasses.Field[Any]) -> object:
    """Default of a field as JSON holds it; null where JSON cannot."""
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return None


def built_parts(cls: Any) -> dict[str, Any]:  # noqa: ANN401 - a config class
    """Config classes of the parts that a class builds in its own code (DBRX, MPT), by field."""
    named = {key: part for key, part in (cls.sub_configs or {}).items() if key not in (cls.sub_configs_defaults or {})}
    made = cls() if named else None
    return {key: part for key, part in named.items() if isinstance(getattr(made, key, None), part)}


def rotary(cls: Any) -> dict[str, float]:  # noqa: ANN401 - a config class
    """Share of a head that rotates by default, the largest of all kinds of layers; nothing where that is the whole."""
    try:
        given = getattr(cls(), "rope_parameters", None) or {}
    except Exception:  # noqa: BLE001 - a class that has no default config
        return {}
    kinds = [kind for kind in given.values() if isinstance(kind, dict)] or [given]
    share = max(kind.get("partial_rotary_factor") or 1.0 for kind in kinds)
    return {"rotary": share} if share < 1 else {}


def record(cls: Any) -> dict[str, object]:  # noqa: ANN401 - a config class
    """The line of one config class."""
    fields = [field for field in dataclasses.fields(cls) if field.name not in _BASE]
    parts = {
        name: {
            "type": spec.model_type
            if not issubclass(spec.config_class, PreTrainedConfig)
            else key_of(spec.config_class),
            "open": not issubclass(spec.config_class, PreTrainedConfig),
            **({"optional": True} if spec.optional else {}),
            **({"defaults": spec.init_kwargs} if spec.init_kwargs else {}),
        }
        for name, spec in (cls.sub_configs_defaults or {}).items()
    }
    parts |= {name: {"type": key_of(part), "open": False} for name, part in built_parts(cls).items()}
    return {
        "fields": {field.name: default(field) for field in fields},
        "null": [field.name for field in fields if "None" in str(field.type)],
        **({"names": dict(cls.attribute_map)} if cls.attribute_map else {}),
        **({"parts": parts} if parts else {}),
        **rotary(cls),
    }


def reached() -> dict[str, Any]:
    """Every config class that a mapping names, and the parts of those."""
    found: dict[str, Any] = {}
    waiting = [CONFIG_MAPPING[name] for names in TASKS.values() for name in names if name in CONFIG_MAPPING]
    while waiting:
        cls = waiting.pop()
        if key_of(cls) in found:
            continue
        found[key_of(cls)] = cls
        waiting.extend(built_parts(cls).values())
        for spec in (cls.sub_configs_defaults or {}).values():
            own = issubclass(spec.config_class, PreTrainedConfig) and spec.config_class is not AutoConfig
            waiting.append(spec.config_class if own else CONFIG_MAPPING[spec.model_type])
    return found


def classes() -> dict[str, dict[str, object]]:
    """Every model class that a mapping names, with what it or the base model in it keeps in float32."""
    found: dict[str, dict[str, Any]] = {}
    for task, names in TASKS.items():
        for model_type, named in names.items():
            for name in (named,) if isinstance(named, str) else named:
                cls = getattr(transformers, name, None)
                if cls is None:
                    continue
                row = found.setdefault(name, {"types": {}})
                row["types"].setdefault(model_type, []).append(task)
                row["sdpa"], row["flash_attention_2"] = bool(cls._supports_sdpa), bool(cls._supports_flash_attn)
                base = getattr(transformers, str(modeling_auto.MODEL_MAPPING_NAMES.get(model_type)), None)
                for key in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"):
                    patterns = {*(getattr(cls, key, None) or ()), *(getattr(base, key, None) or ())}
                    if patterns:
                        row[key.removeprefix("_")] = sorted({*row.get(key.removeprefix("_"), ()), *patterns})
    return found


def main() -> None:
    """Ask transformers and write the table, one class a line."""
    lines = [f'"transformers": "{transformers.__version__}"']
    for title, rows in (("configs", {key: record(cls) for key, cls in reached().items()}), ("classes", classes())):
        body = ",\n".join(f"{json.dumps(key)}: {json.dumps(rows[key])}" for key in sorted(rows))
        lines.append(f'"{title}": {{\n{body}\n}}')
        print(f"{len(rows)} {title}")
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
