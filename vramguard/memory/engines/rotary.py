"""Tables of cosines and sines that serving engines keep for rotary positions: one for each distinct rotation.

vLLM (model_executor/layers/rotary_embedding/) and SGLang, whose layer is the same, compute them with the model:
positions x rotated dimensions, in the model's dtype, whole on every card.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.ledger import bound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.ledger import Term

_SOURCE: Final = "vLLM 0.33.0, model_executor/layers/rotary_embedding/__init__.py (get_rope) and its classes"
_LANGUAGE: Final = ("text_config", "language_config", "llm_config", "thinker_config")
_SIGNS: Final = ("rope_theta", "rope_parameters", "rope_scaling", "rotary_pct", "rotary_dim", "partial_rotary_factor")
_SECOND: Final = ("rope_local_base_freq", "local_rope_theta", "swa_rope_theta")  # a base of its own for sliding layers
_TWO_BASES: Final = (
    "gemma3",
    "gemma3_text",
    "gemma3n",
    "gemma3n_text",
)  # rope_local_base_freq is their class's default
_FLOAT32: Final = 4
_ABSURD: Final = 10**9


def rotary_tables(config: Mapping[str, Any], network: Architecture, element_bytes: int) -> Iterator[Term]:
    """Rows of the tables; none where a network has learned positions, or no attention."""
    text = _language(config)
    # GPT-J's table of sines is one of its buffers in transformers.
    learned = network.learned_positions and "rotary_dim" not in text
    if learned or not network.attention or not network.context:
        return
    sizes = sorted({group.head_dim for group in network.attention})
    # Nor is it known whether layers that attend beside recurrent ones rotate: Nemotron-H's, Jamba's and Kimi's do not.
    certain = any(key in text for key in _SIGNS) and not any(cache.states for cache in network.caches)
    for number, rotation in enumerate(_rotations(text, network)):
        positions, most_bytes = _positions(rotation, text, network, element_bytes)
        rotated = _rotated(sizes[-1], {}, text, network)
        least = min(rotated, _rotated(sizes[0], rotation, text, network))
        inputs = {"positions": positions, "rotated": rotated, "bytes": most_bytes, "least": 0}
        if certain and "mrope_section" not in rotation and _kind(rotation) != "dynamic":
            inputs["least"] = positions * least * element_bytes
        lower = "least"
        name = f"weights/rotary_table{f'_{number}' if number else ''}"
        yield bound(name, "positions * rotated * bytes", inputs, lower=lower, source=_SOURCE)


def _language(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the language model, the config itself where there is none."""
    for key in _LANGUAGE:
        part = config.get(key)
        if isinstance(part, Mapping):
            return _language(part)
    return config


def _rotations(text: Mapping[str, Any], network: Architecture) -> list[Mapping[str, Any]]:
    """Parameters of each distinct rotation, older spellings included."""
    given = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if not isinstance(given, Mapping):
        return [{}]
    nested: list[Mapping[str, Any]] = [value for value in given.values() if isinstance(value, Mapping)]
    if nested:
        return nested
    twice = (
        any(key in text for key in _SECOND) or text.get("model_type") in _TWO_BASES or network.language in _TWO_BASES
    )
    return [given, {}] if twice or network.model_type in _TWO_BASES else [given]


def _rotated(head: int, rotation: Mapping[str, Any], text: Mapping[str, Any], network: Architecture) -> int:
    """Rotated dimensions of a head."""
    own = network.sizes.get("qk_rope_head_dim") or text.get("rotary_dim")
    if isinstance(own, int) and not isinstance(own, bool) and own > 0:
        return own
    return max(1, int(head * _partial(text, rotation)))


def _kind(rotation: Mapping[str, Any]) -> str:
    return str(rotation.get("rope_type") or rotation.get("type") or "default")


def _partial(text: Mapping[str, Any], rotation: Mapping[str, Any]) -> Fraction:
    """Share of a head's dimensions that is rotated, at most all."""
    given = text.get("rope_parameters")
    inner = given.get("partial_rotary_factor") if isinstance(given, Mapping) else None
    inner = rotation.get("partial_rotary_factor", inner)
    share = _number(text.get("partial_rotary_factor", text.get("rotary_pct", inner)), Fraction(1))
    return min(share, Fraction(1)) if share > 0 else Fraction(1)


def _positions(
    rotation: Mapping[str, Any], text: Mapping[str, Any], network: Architecture, element_bytes: int
) -> tuple[int, int]:
    """Positions of a table, and bytes of one of its numbers."""
    kind = _kind(rotation)
    factor = max(_number(rotation.get("factor"), Fraction(1)), Fraction(1))
    original = rotation.get("original_max_position_embeddings") or text.get("original_max_position_embeddings")
    trained = original if isinstance(original, int) and not isinstance(original, bool) and original > 0 else None
    positions = Fraction(network.context)
    if kind in ("yarn", "deepseek_yarn"):
        positions = (trained or network.context) * factor
    elif kind in ("linear", "dynamic"):
        positions *= factor
    elif kind in ("longrope", "su"):
        positions += trained or network.context
    if "mrope_section" in rotation:
        positions *= 4  # a video's positions run ahead of its tokens (MRotaryEmbedding, positions_factor)
    # DeepseekScalingRotaryEmbedding leaves its table in float32 where FlashInfer takes it.
    wide = "kv_lora_rank" in network.sizes and kind in ("yarn", "deepseek_yarn")
    return -(-positions.numerator // positions.denominator), _FLOAT32 if wide else element_bytes


def _number(value: object, default: Fraction) -> Fraction:
    """A number of the config; the default for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _ABSURD:
        return Fraction(value)
    return default
