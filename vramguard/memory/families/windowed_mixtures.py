"""Mellum, Kolibri and Flint, whose layers slide and have experts; and Aria's text model, which has only the latter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import (
    Block,
    attention,
    buffer,
    gated,
    gated_mlp,
    head_norms,
    parameter,
    stacked,
    within,
)
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    everywhere,
    grouped_heads,
    pre_norm,
    routing,
    sandwiched,
    window,
)
from vramguard.memory.families.dense import GLM4_NORMS
from vramguard.memory.families.experts import feed_forward, mixture, router, shared_experts, sparse_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def mellum(c: Fields) -> Body:
    """Mellum: normed heads; windows and experts where the config lists them. MTP layers are not built."""
    bias = c.flag("attention_bias")
    windows = by_layer(c, window(c), lambda _: False)
    attends = attend(c, windows, bias=bias, output_bias=bias, head_norms=True)
    return decoder(c, pre_norm(c, attends, _feeds(c, sparse_layers(c, lambda _: True))))


def flint(c: Fields) -> Body:
    """Flint: each head has a sink; the first two layers are dense and, like the last, attend to everything."""
    heads, bias, last = grouped_heads(c), c.flag("attention_bias"), c.layers - 1
    norms = (*head_norms(heads.head_dim), *parameter("sinks", heads.heads))
    windows = by_layer(c, window(c), lambda i: not (i < 2 or i % 4 == 1 or i == last))  # noqa: PLR2004
    attends = [attention(heads, size, bias=bias, output_bias=bias, norms=norms) for size in windows]
    shared = within("shared_expert", gated(heads.hidden, c.size("shared_expert_intermediate_size")))
    return decoder(c, pre_norm(c, attends, _feeds(c, _flint_sparse(c), shared)))


def _flint_sparse(c: Fields) -> list[bool]:
    """Layers with experts: every decoder_sparse_step-th but those of mlp_only_layers, by default the first two."""
    step, number = c.size("decoder_sparse_step"), c.count("num_experts")
    excepted = (0, 1) if c.is_null("mlp_only_layers") else c.integers("mlp_only_layers")
    return [number > 0 and i not in excepted and (i + 1) % step == 0 for i in range(c.layers)]


def _feeds(c: Fields, sparse: Sequence[bool], shared: Tensors = ()) -> list[Block]:
    """Experts of moe_intermediate_size, or a dense MLP of intermediate_size."""
    hidden = c.size("hidden_size")
    return feed_forward(
        sparse,
        lambda: mixture(hidden, c.size("moe_intermediate_size"), routing(c), shared=shared),
        lambda: gated_mlp(hidden, c.size("intermediate_size")),
    )


def kolibri(c: Fields) -> Body:
    """Kolibri: normed heads, norms on both sides of attention and experts, all but every fifth layer slide."""
    hidden, routed = c.size("hidden_size"), routing(c)
    attends = attend(c, by_layer(c, window(c), lambda i: (i + 1) % 5 != 0), head_norms=True)
    shared = shared_experts(hidden, c.size("shared_expert_intermediate_size"))
    experts = mixture(hidden, c.size("moe_intermediate_size"), routed, shared=shared)
    body = decoder(c, sandwiched(c, attends, [experts] * c.layers, GLM4_NORMS))
    corrections = buffer("layers.*.mlp.gate.e_score_correction_bias", routed.experts, copies=c.layers)
    return replace(body, buffers=corrections)


def aria_text(c: Fields) -> Body:
    """Aria's text model: Llama with experts in every layer, which are stored the other way round."""
    hidden, width, bias = c.size("hidden_size"), c.size("intermediate_size"), c.flag("attention_bias")
    routed = routing(c, "moe_num_experts", "moe_topk")
    tensors = (
        *router(routed, hidden, "router"),
        *stacked("experts.gate_up_proj", routed, hidden, 2 * width),
        *stacked("experts.down_proj", routed, width, hidden),
        *shared_experts(hidden, width * c.size("moe_num_shared_experts"), bias=c.flag("mlp_bias")),
    )
    attends = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attends, [Block(within("mlp", tensors))] * c.layers))


BODIES: Final = {"aria_text": aria_text, "flint": flint, "kolibri1": kolibri, "mellum": mellum}
CLASSES: Final = {
    "AriaTextForCausalLM": causal(aria_text),
    "FlintForCausalLM": causal(flint),
    "Kolibri1ForCausalLM": causal(kolibri),
    "MellumForCausalLM": causal(mellum),
}
