"""Recurrences of other makes than Mamba's: RecurrentGemma, RWKV 4, xLSTM, and MiniMax's lightning attention."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Heads,
    attention,
    buffer,
    convolution,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import (
    FULL,
    Stem,
    causal,
    decoder,
    grouped_heads,
    headed,
    pre_norm,
    routing,
    window,
)
from vramguard.memory.families.experts import mixture
from vramguard.memory.families.kinds import LINEAR, absent, layer_kinds, mixed
from vramguard.memory.families.mamba import FLOAT32, stateful

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Network, Tensors
    from vramguard.memory.families.fields import Fields


def recurrent_gemma(c: Fields) -> Body:
    """RecurrentGemma: two gated recurrences, then sliding attention; the modules keep the states, not the cache."""
    absent(c, "layers_block_type", "layer_types")
    hidden, kinds = c.size("hidden_size"), c.texts("block_types")
    if not kinds or 100 * len(kinds) < c.layers:  # the class repeats them a hundred times, not more
        raise UnprovenError(f"config: block_types does not make up {c.layers} layers")
    attends = attention(
        grouped_heads(c), window(c), bias=c.flag("attention_bias"), output_bias=True, name="temporal_block"
    )
    recurs = _gated_recurrence(c)
    before, inner = rms_norm("temporal_pre_norm", hidden), rms_norm("channel_pre_norm", hidden)
    mlp = gated_mlp(hidden, c.size("intermediate_size") // 2, bias=True, name="mlp_block")
    mixers = [recurs if kinds[i % len(kinds)] == "recurrent" else attends for i in range(c.layers)]
    return stateful(c, [(before, mixer, inner, mlp) for mixer in mixers], Stem(norm="final_norm"))


def rwkv(c: Fields) -> Body:
    """RWKV 4: token shifts and a decaying average a channel; the first layer has a norm of the embedding."""
    hidden, wide = c.size("hidden_size"), c.optional("attention_hidden_size") or c.size("hidden_size")
    if wide != hidden:
        raise UnprovenError(f"config: attention_hidden_size is not hidden_size {hidden}, as wide as the states are")
    width = c.optional("intermediate_size") or 4 * hidden
    mixes = {name: parameter(f"time_mix_{name}", 1, 1, hidden) for name in ("key", "value", "receptance")}
    attends = (
        *(t for name in ("time_decay", "time_first") for t in parameter(name, hidden)),
        *(t for each in mixes.values() for t in each),
        *(t for name in ("key", "value", "receptance", "output") for t in linear(name, hidden, hidden)),
    )
    feeds = (
        *mixes["key"],
        *mixes["receptance"],
        *linear("key", hidden, width),
        *linear("receptance", hidden, hidden),
        *linear("value", width, hidden),
    )
    cache = Cache(states=(*[State(hidden)] * 2, *[State(hidden, FLOAT32)] * 3))
    layer = (
        layer_norm("ln1", hidden),
        Block(within("attention", attends), cache=cache),
        layer_norm("ln2", hidden),
        Block(within("feed_forward", feeds)),
    )
    first = (layer_norm("pre_ln", hidden), *layer)
    stem = Stem("embeddings", "blocks", "ln_out")
    return stateful(c, [first, *[layer] * (c.layers - 1)], stem, layer_norm)


def xlstm(c: Fields) -> Body:
    """XLSTM: a matrix memory a head, its states in the model's dtype; projections may be fused (weight_mode)."""
    hidden = c.size("hidden_size")
    for key, other in (("embedding_dim", "hidden_size"), ("num_blocks", "num_hidden_layers")):
        if c.optional(key) not in (None, c.size(other)):
            raise UnprovenError(f"config: {key} and {other} differ")
    bias = c.flag("use_bias")
    before, inner = (Block(norm(name, hidden, bias=bias)) for name in ("norm_mlstm", "norm_ffn"))
    layer = (before, _matrix_memory(c, bias=bias), inner, _xlstm_mlp(c, bias=bias))
    # The model norms its output whatever add_out_norm says.
    return stateful(c, [layer] * c.layers, Stem("embeddings", "blocks", "out_norm"))


def minimax(c: Fields) -> Body:
    """MiniMax: every other layer is lightning attention, with tables of decays; experts in every layer."""
    hidden, heads, routed = c.size("hidden_size"), grouped_heads(c), routing(c, "num_local_experts")
    kinds = layer_kinds(c, lambda i: LINEAR if i % 2 else FULL)
    # Its own cache knows no window: what slides is the mask only.
    attends = attention(heads)._replace(attention=heads.role(window(c)))
    mlp = mixture(hidden, c.size("intermediate_size"), routed)
    body = decoder(c, pre_norm(c, mixed(kinds, _lightning(heads), attends), [mlp] * c.layers))
    block, layers = c.size("block_size"), kinds.count(LINEAR)
    shapes = {
        "query_decay": (heads.heads, block, 1),
        "key_decay": (heads.heads, block, 1),
        "diagonal_decay": (1, heads.heads, block, block),
    }
    tables = [t for name, shape in shapes.items() for t in buffer(f"layers.*.self_attn.{name}", *shape, copies=layers)]
    return replace(body, buffers=tuple(tables)) if layers else body


def _gated_recurrence(c: Fields) -> Block:
    """RecurrentGemma's recurrent block: two branches, one convolved and passed through the gated recurrence."""
    hidden, heads, kernel = c.size("hidden_size"), c.size("num_attention_heads"), c.size("conv1d_width")
    width = c.optional("lru_width") or hidden
    part, rest = divmod(width, heads)
    if rest:
        raise UnprovenError(f"config: num_attention_heads {heads} does not divide lru_width {width}")
    gates = (
        t
        for name in ("input_gate", "recurrent_gate")
        for t in (*parameter(f"{name}_weight", heads, part, part), *parameter(f"{name}_bias", heads, part))
    )
    tensors = (
        *linear("linear_y", hidden, width, bias=True),
        *linear("linear_x", hidden, width, bias=True),
        *linear("linear_out", width, hidden, bias=True),
        *convolution("conv_1d", (width, 1, kernel), bias=True),
        *within("rg_lru", parameter("recurrent_param", width), tuple(gates)),
    )
    states = State(width * (kernel - 1)), State(width, FLOAT32)
    return Block(within("temporal_block", tensors), cache=Cache(states=states))


def _matrix_memory(c: Fields, *, bias: bool) -> Block:
    hidden, heads = c.size("hidden_size"), c.size("num_heads")
    keys, values = (_factored(c, key, heads) for key in ("qk_dim_factor", "v_dim_factor"))
    if _fused(c):
        projections = (
            *linear("qkv_opreact", hidden, 2 * keys + 2 * values, bias=bias),
            *linear("ifgate_preact", hidden, 2 * heads, bias=True),
        )
    else:
        widths = {"q": keys, "k": keys, "v": values, "ogate_preact": values}
        projections = (
            *(t for name, width in widths.items() for t in linear(name, hidden, width, bias=bias)),
            *(t for name in ("igate_preact", "fgate_preact") for t in linear(name, hidden, heads, bias=True)),
        )
    tensors = (
        *projections,
        *norm("multihead_norm", values, bias=bias),
        *linear("out_proj", values, hidden, bias=bias),
    )
    states = State(keys * values // heads), State(keys), State(heads)
    return Block(within("mlstm_layer", tensors), cache=Cache(states=states))


def _xlstm_mlp(c: Fields, *, bias: bool) -> Block:
    hidden, multiple = c.size("hidden_size"), c.size("ffn_round_up_to_multiple_of")
    width = int((hidden * c.ratio("ffn_proj_factor") + multiple - 1) // multiple * multiple)
    ups = {"proj_up_gate_z": 2 * width} if _fused(c) else {"proj_up_gate": width, "proj_up": width}
    up = tuple(t for name, outputs in ups.items() for t in linear(name, hidden, outputs, bias=bias))
    return Block(within("ffn", up, linear("proj_down", width, hidden, bias=bias)))


def _factored(c: Fields, key: str, heads: int) -> int:
    """Width by a factor of the hidden size; the states round it up to 64, which must be what it is."""
    width = int(c.size("hidden_size") * c.ratio(key))
    if width <= 0 or width % 64 or width % heads:
        raise UnprovenError(f"config: {key} makes a width of {width}, no multiple of 64 and num_heads {heads}")
    return width


def _fused(c: Fields) -> bool:
    mode = c.text("weight_mode")
    if mode not in ("single", "fused"):
        raise UnprovenError(f"config: weight_mode is {mode[:40]!r}, neither single nor fused")
    return mode == "fused"


def _lightning(heads: Heads) -> Block:
    """MiniMax's linear attention: a matrix a head, as many key heads as query heads."""
    tensors: Tensors = (
        *norm("norm", heads.query),
        *linear("qkv_proj", heads.hidden, 3 * heads.query),
        *linear("out_proj", heads.query, heads.hidden),
        *linear("output_gate", heads.hidden, heads.query),
    )
    return Block(within("self_attn", tensors), cache=Cache(states=(State(heads.query * heads.head_dim),)))


def _xlstm_causal(c: Fields) -> Network:
    # The class knows no tying: the head is its own weight whatever the config says.
    return headed(c, xlstm(c).within("backbone"), tied=False)


BODIES: Final = {"recurrent_gemma": recurrent_gemma, "rwkv": rwkv, "xlstm": xlstm, "minimax": minimax}
CLASSES: Final = {
    "RecurrentGemmaForCausalLM": causal(recurrent_gemma),
    "RwkvForCausalLM": causal(rwkv, "rwkv", "head"),
    "xLSTMForCausalLM": _xlstm_causal,
    "MiniMaxForCausalLM": causal(minimax),
}
