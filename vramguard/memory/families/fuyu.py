"""Fuyu: no tower at all; a patch of the picture is a token through one Linear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import linear
from vramguard.memory.families.fields import Fields
from vramguard.memory.families.sight import answers

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body


def fuyu(c: Fields) -> Body:
    """Fuyu: Persimmon, whose fields older configs hold themselves."""
    if c.raw("text_config") is None:
        _unfold(c)
    text = body_of(c.part("text_config"))
    inputs = c.size("patch_size") ** 2 * c.size("num_channels")
    return text.within("language_model").beside(linear("vision_embed_tokens", inputs, text.hidden, bias=True))


def _unfold(c: Fields) -> None:
    """Make a text config of the outer config's own keys, where there are any; it then has its class's defaults."""
    spec = c.table[c.kind]["parts"]["text_config"]
    keys = ("rope_scaling", "rope_theta", *spec["defaults"])
    # eos_token_id, and initializer_range, which Fuyu declares, are no sign of an older config.
    flat = {key: c.config[key] for key in keys if key in c.config and key not in c.table[c.kind]["fields"]}
    if flat:
        c.parts["text_config"] = Fields(spec["type"], flat, c.table, f"{c.path}text_config.")


CLASSES: Final = {"FuyuForCausalLM": answers(fuyu)}
