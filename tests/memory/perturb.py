"""Configs to test with: the default of a class, and seeded changes of sizes, switches, layer patterns and parts.

Not every change is one that transformers accepts; whoever asks builds the model and leaves out what it refuses.
"""

from __future__ import annotations

import re
from random import Random
from typing import Any

from vramguard.memory.families import recorded

Config = dict[str, Any]

LAYERS = re.compile(r"(num_hidden_layers|n_layers?|num_layers|(encoder|decoder)_layers|num_decoder_layers|depth|num_blocks)")
HEADS = re.compile(r"(num_attention_heads|n_heads?|num_heads|(encoder|decoder)_attention_heads)")
KV_HEADS = re.compile(r"(num_key_value_heads|num_kv_heads)")
HEAD_DIM = re.compile(r"(head_dim|d_kv|attention_head_dim)")
HIDDEN = re.compile(r"(hidden_size|d_model|n_embd|n_embed|dim)")
# Ids, ranges, rates and what does not shape a network.
LEFT_ALONE = re.compile(
    r".*(token_id|token_index|_id|_idx|initializer\w*|rope\w*|eps\w*|epsilon|dropout\w*|version|max_window_layers"
    r"|num_beams|\w*length_penalty|num_return\w*|output_\w+|return_dict|use_cache|chunk_size_feed_forward"
    r"|is_encoder_decoder|is_decoder|add_cross_attention|torchscript|use_return_dict|pretraining_tp|alibi"
    r"|reorder_and_upcast_attn)"
)
# Working configs of classes whose default fails or is too empty to build; keys laid over the default.
WORKING: dict[str, Config] = {}


def base(model_type: str, name: str) -> Config:
    """Default config of a class, in as few keys as say so."""
    return {"model_type": model_type, "architectures": [name], **WORKING.get(model_type, {})}


def shallow(config: Config, layers: int = 4) -> Config:
    """Fewer layers, where the config counts them with one number; patterns of layers are left alone."""
    return _with_layers(config, config["model_type"], layers)


def _with_layers(config: Config, kind: str, layers: int) -> Config:
    row = recorded()["configs"].get(kind)
    if row is None:
        return config
    changed = dict(config)
    listed = any(isinstance(row["fields"].get(key), list) for key in ("layer_types", "layers_block_type"))
    for key, value in row["fields"].items():
        if LAYERS.fullmatch(key) and isinstance(value, int) and not listed and not any("layer" in k for k in config):
            changed[key] = min(value, layers)
    for key, spec in row.get("parts", {}).items():
        given = changed.get(key)
        if given is None and spec.get("optional"):
            continue
        inner = dict(given) if isinstance(given, dict) else dict(spec.get("defaults", {}))
        kind_of = inner.get("model_type", spec["type"])
        changed[key] = _with_layers(inner, kind_of, layers)
        if spec["open"]:
            changed[key].setdefault("model_type", kind_of)
    return changed


def perturbed(model_type: str, name: str, seed: str) -> Config:
    """A changed config; the same seed gives the same one."""
    random = Random(f"{model_type} {name} {seed}")  # noqa: S311 - reproducible, not secret
    return {"model_type": model_type, "architectures": [name], **_changes(model_type, random, WORKING.get(model_type, {}))}


def _changes(kind: str, random: Random, given: Config) -> Config:
    row = recorded()["configs"].get(kind)
    if row is None:
        return given
    fields: Config = {**row["fields"], **given}
    changed = dict(given)
    heads = random.choice([1, 2, 4, 6, 8, 12])
    kv_heads = random.choice([n for n in range(1, heads + 1) if heads % n == 0])
    head_dim = random.choice([8, 16, 32, 64])
    scale = random.choice([1, 1, 2, 3])
    shape = random.random() < 0.75  # else only switches and layers change

    def geometry(key: str, value: Any) -> Config:  # noqa: ANN401 - a value of JSON
        if HEADS.fullmatch(key) and isinstance(value, int):
            return {key: heads}
        if KV_HEADS.fullmatch(key):
            return {key: random.choice([kv_heads, heads])}
        if HEAD_DIM.fullmatch(key) and (value is not None or random.random() < 0.3):
            return {key: head_dim}
        return {key: heads * head_dim * scale} if HIDDEN.fullmatch(key) and isinstance(value, int) else {}

    for key, value in fields.items():
        if LEFT_ALONE.fullmatch(key) or key in row.get("parts", {}):
            continue
        if LAYERS.fullmatch(key):
            if isinstance(value, int) and not isinstance(value, bool):
                changed[key] = random.randint(1, 6)
        elif any(pattern.fullmatch(key) for pattern in (HEADS, KV_HEADS, HEAD_DIM, HIDDEN)):
            if shape:
                changed |= geometry(key, value)
        elif random.random() < 0.25:
            changed |= _changed(key, value, random)
    for key, spec in row.get("parts", {}).items():
        if spec.get("optional") and key not in given:
            continue
        inner = given.get(key) or spec.get("defaults", {})
        kind_of = inner.get("model_type", spec["type"])
        changed[key] = _changes(kind_of, random, inner) | ({"model_type": kind_of} if spec["open"] else {})
    return changed


def _changed(key: str, value: Any, random: Random) -> Config:  # noqa: ANN401 - a value of JSON
    if isinstance(value, bool):
        return {key: not value}
    if isinstance(value, int) and value > 0:
        return {key: random.choice([max(1, value // 2), value, value * 2, max(1, value // 4), value + 8])}
    return {}
