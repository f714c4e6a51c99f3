"""Networks whose layers attend or are Mamba mixers: Bamba, Falcon-H1, Granite 4, Jamba, Nemotron-H."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    attention,
    buffer,
    gated_mlp,
    linear,
    norm,
    parameter,
    plain_mlp,
    rms_norm,
    stacked,
    stacked_experts,
    within,
)
from vramguard.memory.families.decoder import FULL, Stem, causal, decoder, grouped_heads, headed, pre_norm, routing
from vramguard.memory.families.kinds import LINEAR, absent, layer_kinds, mixed, present_names
from vramguard.memory.families.mamba import (
    Grouped,
    GroupedKeys,
    Selective,
    automatic,
    grouped,
    grouped_mixer,
    selective_mixer,
    time_step_rank,
)

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Network, Tensors
    from vramguard.memory.families.fields import Fields

_STEM: Final = Stem(norm="final_layernorm")
_KEYS: Final = GroupedKeys("mamba_n_heads", "mamba_n_groups", "mamba_d_state", "mamba_d_conv")
_NORMS: Final = ("input_layernorm", "pre_ff_layernorm")


def bamba(c: Fields) -> Body:
    """Bamba: Mamba 2 but for the layers of attn_layer_indices."""
    absent(c, "layers_block_type", "layer_types")
    attends = c.integers("attn_layer_indices")
    kinds = [FULL if i in attends else LINEAR for i in range(c.layers)]
    mixers = mixed(kinds, _mamba2(c, "mamba"), _attention(c, bias=c.flag("attention_bias")))
    mlp = gated_mlp(c.size("hidden_size"), c.size("intermediate_size"), bias=c.flag("mlp_bias"), name="feed_forward")
    return decoder(c, pre_norm(c, mixers, [mlp] * c.layers, names=_NORMS), stem=_STEM)


def falcon_h1(c: Fields) -> Body:
    """Falcon-H1: Mamba 2 and attention side by side in every layer; a table of multipliers each."""
    absent(c, "layers_block_type", "layer_types")
    hidden = c.size("hidden_size")
    g = _geometry(c, c.optional("mamba_d_ssm") or c.size("mamba_expand") * hidden)
    mamba = grouped_mixer(
        "mamba",
        g,
        bias=c.flag("mamba_proj_bias"),
        conv_bias=c.flag("mamba_conv_bias"),
        output_bias=c.flag("projectors_bias"),
        normed=c.flag("mamba_rms_norm"),
    )
    before, inner = (rms_norm(name, hidden) for name in _NORMS)
    mlp = gated_mlp(hidden, c.size("intermediate_size"), bias=c.flag("mlp_bias"), name="feed_forward")
    layer = (before, mamba, _attention(c, bias=c.flag("attention_bias")), inner, mlp)
    table = buffer("layers.*.mamba.mup_vector", 1, 1, g.projection, copies=c.layers)
    return replace(decoder(c, [layer] * c.layers, stem=_STEM), buffers=table)


def granite_hybrid(c: Fields) -> Body:
    """Granite 4: Mamba 2 or attention; experts, where there are any, beside an MLP that sees every token."""
    hidden, width = c.size("hidden_size"), c.size("shared_intermediate_size")
    kinds = layer_kinds(c, lambda _: LINEAR)
    mixers = mixed(kinds, _mamba2(c, "mamba"), _attention(c, bias=c.flag("attention_bias")))
    shared = within("shared_mlp", linear("input_linear", hidden, 2 * width), linear("output_linear", width, hidden))
    sparse = _experts(c, "block_sparse_moe", "num_local_experts") if c.count("num_local_experts") else ()
    return decoder(c, pre_norm(c, mixers, [Block((*sparse, *shared))] * c.layers))


def jamba(c: Fields) -> Body:
    """Jamba: Mamba 1 with norms inside, attention in every eighth layer, experts in every other."""
    absent(c, "layers_block_type", "layer_types")
    attends, routes = (_periodic(c, f"{what}_layer_period", f"{what}_layer_offset") for what in ("attn", "expert"))
    mixers = mixed([FULL if each else LINEAR for each in attends], _mamba1(c), _attention(c))
    mlp = gated_mlp(c.size("hidden_size"), c.size("intermediate_size"), name="feed_forward")
    sparse = Block(_experts(c, "feed_forward", "num_experts")) if c.size("num_experts") > 1 else mlp
    return decoder(c, pre_norm(c, mixers, [sparse if each else mlp for each in routes], names=_NORMS), stem=_STEM)


def nemotron_h(c: Fields) -> Body:
    """Nemotron-H: a layer is one of Mamba 2, attention, an MLP or experts; the list of layers says how many."""
    kinds = _nemotron_kinds(c)
    c.optional("sliding_window")  # declared, but neither mask nor cache look at it
    makers = {
        LINEAR: lambda: _nemotron_mamba(c),
        FULL: lambda: attention(grouped_heads(c), name="mixer"),
        "mlp": lambda: plain_mlp(*_nemotron_mlp(c, c.size("intermediate_size")), name="mixer"),
        "moe": lambda: Block(within("mixer", _nemotron_experts(c))),
    }
    made = {kind: makers[kind]() for kind in dict.fromkeys(kinds)}
    before = rms_norm("norm", c.size("hidden_size"))
    body = decoder(c, [(before, made[kind]) for kind in kinds], stem=Stem("embeddings", "layers", "norm_f"))
    return replace(body, sizes={**body.sizes, "num_hidden_layers": len(kinds)})


def _nemotron_h_causal(c: Fields) -> Network:
    # The class knows no tying: the head is its own weight whatever the config says.
    return headed(c, nemotron_h(c).within("model"), tied=False)


def _nemotron_kinds(c: Fields) -> list[str]:
    """Kinds as listed, else by the letters of a pattern, else one layer of each."""
    listed, letters = c.texts("layer_types"), {"M": LINEAR, "E": "moe", "*": FULL, "-": "mlp"}
    if listed is None:
        pattern = c.text("hybrid_override_pattern") if c.given("hybrid_override_pattern") else "ME*-"
        listed = tuple(letters.get(letter, letter) for letter in pattern)
    kinds = present_names(listed)
    if not kinds or {*kinds} - {*letters.values()}:
        raise UnprovenError(f"config: layers_block_type or hybrid_override_pattern is not made up of {[*letters]}")
    return kinds


def _nemotron_mamba(c: Fields) -> Block:
    """The mixer; its keys have the names of other families too, which win."""
    conv_bias = c.flag("mamba_conv_bias") if c.given("mamba_conv_bias") else c.flag("use_conv_bias")
    groups, kernel = (
        other if c.given(other) else own
        for own, other in (("n_groups", "mamba_n_groups"), ("conv_kernel", "mamba_d_conv"))
    )
    head_dim = c.size("mamba_head_dim")
    inner = c.size("mamba_num_heads") * head_dim
    g = grouped(c, inner, head_dim, GroupedKeys("mamba_num_heads", groups, "ssm_state_size", kernel))
    return grouped_mixer("mixer", g, bias=c.flag("use_bias"), conv_bias=conv_bias)


def _nemotron_mlp(c: Fields, width: int) -> tuple[Tensors, Tensors]:
    hidden, bias = c.size("hidden_size"), c.flag("mlp_bias")
    return linear("up_proj", hidden, width, bias=bias), linear("down_proj", width, hidden, bias=bias)


def _nemotron_experts(c: Fields) -> Tensors:
    """Experts without a gate beside a shared one; they may work in a narrower space (moe_latent_size)."""
    hidden, width, routed = c.size("hidden_size"), c.size("moe_intermediate_size"), routing(c, "n_routed_experts")
    latent, bias = c.optional("moe_latent_size"), c.flag("mlp_bias")
    inside = latent or hidden
    shared = c.count("moe_shared_expert_intermediate_size") or c.size("intermediate_size")
    between = (
        (*linear("fc1_latent_proj", hidden, latent, bias=bias), *linear("fc2_latent_proj", latent, hidden, bias=bias))
        if latent
        else ()
    )
    return (
        *parameter("gate.weight", routed.experts, hidden),
        *stacked("experts.up_proj", routed, width, inside),
        *stacked("experts.down_proj", routed, inside, width),
        *within("shared_experts", *_nemotron_mlp(c, shared)),
        *between,
    )


def _attention(c: Fields, *, bias: bool = False) -> Block:
    return attention(grouped_heads(c), bias=bias, output_bias=bias)


def _mamba1(c: Fields) -> Block:
    """Jamba's mixer: the time step and the scan's two vectors pass a norm each."""
    hidden, state, rank = c.size("hidden_size"), c.size("mamba_d_state"), time_step_rank(c, "mamba_dt_rank")
    g = Selective(hidden, c.size("mamba_expand") * hidden, state, c.size("mamba_d_conv"), rank)
    norms = (*norm("dt_layernorm", rank), *norm("b_layernorm", state), *norm("c_layernorm", state))
    return selective_mixer("mamba", g, bias=c.flag("mamba_proj_bias"), conv_bias=c.flag("mamba_conv_bias"), norms=norms)


def _geometry(c: Fields, inner: int) -> Grouped:
    head_dim = automatic(c, "mamba_d_head", inner // c.size("mamba_n_heads"))
    return grouped(c, inner, head_dim, _KEYS)


def _mamba2(c: Fields, name: str) -> Block:
    g = _geometry(c, c.size("mamba_expand") * c.size("hidden_size"))
    return grouped_mixer(name, g, bias=c.flag("mamba_proj_bias"), conv_bias=c.flag("mamba_conv_bias"))


def _experts(c: Fields, name: str, number: str) -> Tensors:
    hidden, routed = c.size("hidden_size"), routing(c, number)
    router = parameter("router.weight", routed.experts, hidden)
    return within(name, router, stacked_experts(hidden, c.size("intermediate_size"), routed))


def _periodic(c: Fields, period: str, offset: str) -> list[bool]:
    """Whether each layer is the offset-th of its period."""
    return [i % c.size(period) == c.count(offset) for i in range(c.layers)]


BODIES: Final = {
    "bamba": bamba,
    "falcon_h1": falcon_h1,
    "granitemoehybrid": granite_hybrid,
    "jamba": jamba,
    "nemotron_h": nemotron_h,
}
CLASSES: Final = {
    "BambaForCausalLM": causal(bamba),
    "FalconH1ForCausalLM": causal(falcon_h1),
    "GraniteMoeHybridForCausalLM": causal(granite_hybrid),
    "JambaForCausalLM": causal(jamba),
    "NemotronHForCausalLM": _nemotron_h_causal,
}
