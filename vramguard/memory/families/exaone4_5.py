"""EXAONE 4.5: EXAONE 4 with Qwen2.5-VL's tower, in which heads share keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import linear
from vramguard.memory.families.fields import Fields
from vramguard.memory.families.qwen_vl import windowed_tower
from vramguard.memory.families.sight import Names, answers, seeing

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body


def vision(c: Fields) -> Body:
    """The tower: fewer heads of keys and values than of queries."""
    width, heads = c.size("hidden_size"), c.size("num_heads")
    shared = heads + 2 * c.size("num_key_value_heads")
    return windowed_tower(c, linear("attn.qkv", width, shared * (width // heads), bias=True))


def whole(c: Fields) -> Body:
    """The whole; the first checkpoints call their text model by a name of its own."""
    given = c.raw("text_config")
    if isinstance(given, dict) and given.get("model_type") == "exaone4_5_text":
        c.parts["text_config"] = Fields("exaone4", given, c.table, f"{c.path}text_config.")
    return seeing(lambda _c, _hidden: (), Names(tower="visual"))(c)


BODIES: Final = {"exaone4_5_vision": vision}
CLASSES: Final = {"Exaone4_5_ForConditionalGeneration": answers(whole)}
