"""MiniCPM 3 and Youtu: latent attention as DeepSeek has it, with a dense MLP in every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.decoder import causal, decoder, dense, pre_norm
from vramguard.memory.families.latent import latent, latent_attention, latent_layers

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body
    from vramguard.memory.families.fields import Fields


def youtu(c: Fields) -> Body:
    """Youtu: DeepSeek V3 without experts."""
    return decoder(c, pre_norm(c, latent_layers(c), dense(c)))


def minicpm3(c: Fields) -> Body:
    """MiniCPM 3: the width of a head's values may be derived; the MLP may have biases."""
    value = c.optional("v_head_dim") or c.size("hidden_size") // c.size("num_attention_heads")
    if not value:
        raise UnprovenError("config: hidden_size is less than num_attention_heads")
    attends = latent_attention(latent(c, value), bias=c.flag("attention_bias"))
    return decoder(c, pre_norm(c, [attends] * c.layers, dense(c, bias=c.flag("mlp_bias"))))


BODIES: Final = {"minicpm3": minicpm3, "youtu": youtu}
CLASSES: Final = {"MiniCPM3ForCausalLM": causal(minicpm3), "YoutuForCausalLM": causal(youtu)}
