"""DBRX: fused attention in a module that holds both norms, and experts whose weights lie one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.families.blocks import Block, Body, Heads, Stack, embedding, linear, norm, within
from vramguard.memory.families.decoder import causal, divide, routing

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields


def dbrx(c: Fields) -> Body:
    """DBRX: norms without biases; attention and experts are configs of their own."""
    heads = _heads(c)
    attends = (
        *norm("norm_1", heads.hidden),
        *linear("attn.Wqkv", heads.hidden, heads.query + 2 * heads.key),
        *linear("attn.out_proj", heads.query, heads.hidden),
        *norm("norm_2", heads.hidden),
    )
    layer = (Block(within("norm_attn_norm", attends), heads.role(), heads.cache()), Block(within("ffn", _experts(c))))
    outside = (*embedding("wte", c.size("vocab_size"), heads.hidden), *norm("norm_f", heads.hidden))
    return Body(
        heads.hidden,
        (Stack("blocks", [layer] * c.layers),),
        outside,
        vocab=c.size("vocab_size"),
        context=c.size("max_seq_len"),
        sizes={"num_key_value_heads": heads.kv_heads, "head_dim": heads.head_dim},
    )


def _heads(c: Fields) -> Heads:
    heads, kv_heads = c.size("n_heads"), c.part("attn_config").size("kv_n_heads")
    if heads % kv_heads:
        raise UnprovenError(f"config: n_heads {heads} is no multiple of attn_config.kv_n_heads {kv_heads}")
    return Heads(c.size("d_model"), heads, kv_heads, divide(c, "d_model", "n_heads"))


def _experts(c: Fields) -> Tensors:
    """Three weights for all experts: the rows of each are all experts' rows."""
    own, hidden = c.part("ffn_config"), c.size("d_model")
    routed, width = routing(own, "moe_num_experts", "moe_top_k"), own.size("ffn_hidden_size")
    idle = (routed.experts - routed.chosen) * width * hidden
    weight = Tensor("", (routed.experts * width, hidden), kind="experts", idle=idle)
    stored = tuple(weight._replace(name=f"experts.mlp.{name}") for name in ("w1", "v1", "w2"))
    return (*linear("router.layer", hidden, routed.experts), *stored)


BODIES: Final = {"dbrx": dbrx}
CLASSES: Final = {"DbrxForCausalLM": causal(dbrx, "transformer")}
