"""Hyper-connections: a layer reads from and writes to several copies of the residual stream, in learned proportions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Block, linear, parameter, rms_norm, within
from vramguard.memory.families.decoder import causal, decoder, dense
from vramguard.memory.families.experts import feed_forward, grouped_experts, kinds, sparse_layers
from vramguard.memory.families.gpt_oss import sinks
from vramguard.memory.families.latent import indexed_attention, indexed_layers, latent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Body, Layer, Tensors
    from vramguard.memory.families.fields import Fields


def hyper_layers(c: Fields, attends: Sequence[Block], mlp: Sequence[Block], *, rows: int, scales: int) -> list[Layer]:
    """Layers with a connection before attention and one before the MLP, each of `rows` rows and `scales` scales."""
    hidden = c.size("hidden_size")
    before, after = (rms_norm(f"{side}_layernorm", hidden) for side in ("input", "post_attention"))
    first, second = (Block(_connection(c, f"{side}_hc", rows, scales)) for side in ("attn", "ffn"))
    return [(first, before, a, second, after, m) for a, m in zip(attends, mlp, strict=True)]


def _connection(c: Fields, name: str, rows: int, scales: int) -> Tensors:
    width = c.size("hc_mult") * c.size("hidden_size")
    return within(name, parameter("fn", rows, width), parameter("base", rows), parameter("scale", scales))


def hyper_head(c: Fields) -> Tensors:
    """What makes one stream of the copies, before the last norm."""
    copies = c.size("hc_mult")
    return within(
        "hc_head",
        parameter("hc_fn", copies, copies * c.size("hidden_size")),
        parameter("hc_base", copies),
        parameter("hc_scale", 1),
    )


def hy_v4(c: Fields) -> Body:
    """Hunyuan 4: GLM-5's attention with an output gate and sinks, and hyper-connections around it and the MLP."""
    indexed_layers(c)
    sizes = latent(c)
    more = (*linear("gate_proj", sizes.hidden, sizes.output), *sinks(sizes.heads))
    narrows, follows = indexed_attention(c, more=more)
    indexers = kinds(c, "indexer_types", lambda i: "shared" if i and (i - 1) % 4 else "full", ("full", "shared"))
    attends = [narrows if kind == "full" else follows for kind in indexers]
    mlp = feed_forward(sparse_layers(c, lambda i: i > 0), lambda: grouped_experts(c), lambda: dense(c)[0])
    layers = hyper_layers(c, attends, mlp, rows=2 * c.size("hc_mult"), scales=2)
    return decoder(c, layers).beside(hyper_head(c))


BODIES: Final = {"hy_v4": hy_v4}
CLASSES: Final = {"HYV4ForCausalLM": causal(hy_v4)}
