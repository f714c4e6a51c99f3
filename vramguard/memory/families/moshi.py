"""Moshi's text decoder: Llama's layers with a gated MLP in two weights, all of them sliding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Body, Stack, embedding, linear, norm, plain_mlp, rms_norm
from vramguard.memory.families.decoder import divide, grouped_heads, headed, window
from vramguard.memory.families.seq2seq import Projections, decodes, projected

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Network
    from vramguard.memory.families.fields import Fields

NAMES: Final = Projections("q_proj.linear", "k_proj.linear", "v_proj.linear", "o_proj.linear")


def moshi(c: Fields) -> Network:
    """Moshi as a language model: one embedding more than the vocabulary, and a head that is never tied."""
    divide(c, "hidden_size", "num_attention_heads")
    heads, width, vocab = grouped_heads(c), c.size("ffn_dim"), c.size("vocab_size")
    if width % 2:
        raise UnprovenError(f"config: ffn_dim {width} is odd")
    layer = (
        rms_norm("input_layernorm", heads.hidden),
        decodes("self_attn", projected(heads, NAMES, bias=False), heads, window(c)),
        rms_norm("post_attention_layernorm", heads.hidden),
        plain_mlp(linear("fc1", heads.hidden, width), linear("fc2", width // 2, heads.hidden)),
    )
    body = Body(
        hidden=heads.hidden,
        stacks=(Stack("layers", [layer] * c.layers),),
        outside=(*embedding("embed_tokens", vocab + 1, heads.hidden), *norm("norm", heads.hidden)),
        vocab=vocab,
        context=c.size("max_position_embeddings"),
        sizes={"num_key_value_heads": heads.kv_heads, "head_dim": heads.head_dim},
    )
    return headed(c, body.within("model"), tied=False)


CLASSES: Final = {"MoshiForCausalLM": moshi}
