"""T5 and what follows it: positions are a bias of the first layer's attention, and there is no limit to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
    Network,
    Stack,
    embedding,
    linear,
    norm,
    within,
)
from vramguard.memory.families.fields import shown
from vramguard.memory.families.seq2seq import (
    Projections,
    crosses,
    decodes,
    depth,
    embeddings,
    encodes,
    generator,
    joined,
    numbered_experts,
    projected,
    refuse_one_sided,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.fields import Fields

T5: Final = Projections("q", "k", "v", "o")
_SPARSE: Final = 2048  # experts of the largest Switch Transformer


def t5(c: Fields) -> Body:
    """T5: one embedding for both sides, no biases, the MLP gated or not."""
    return _both(c, _same(c, _feed_forward(c)))


def umt5(c: Fields) -> Body:
    """UMT5: T5 with a bias of positions in every layer."""
    return _both(c, _same(c, _feed_forward(c)), biased=lambda _: True)


def longt5(c: Fields) -> Body:
    """LongT5: an encoder that attends to blocks near by and perhaps to summaries of the others."""
    kind = c.text("encoder_attention_type")
    if kind not in ("local", "transient-global"):
        raise UnprovenError(f"config: encoder_attention_type is {shown(kind)}, which is not known")
    heads = _heads(c)
    name = "LocalSelfAttention" if kind == "local" else "TransientGlobalSelfAttention"
    tensors, first = projected(heads, T5, bias=False), _bias(c, heads)
    if kind == "transient-global":
        tensors = (*tensors, *norm("global_input_layer_norm", heads.hidden))
        first = (*first, *_bias(c, heads, "global_relative_attention_bias"))
    return _both(
        c, _same(c, _feed_forward(c)), encoder=lambda i: encodes(name, (*tensors, *(() if i else first)), heads)
    )


def switch_transformers(c: Fields) -> Body:
    """Switch Transformers: T5 with experts in some layers, of which a token passes one."""
    dense = _mlp(c, "mlp", ("wi",))
    hidden, experts = c.size("d_model"), c.size("num_experts", _SPARSE)
    sparse = within(
        "mlp",
        linear("router.classifier", hidden, experts, bias=c.flag("router_bias")),
        numbered_experts(experts, 1, _mlp(c, "", ("wi",))),
    )
    sides = []
    for side, counted in (("encoder", "num_layers"), ("decoder", "num_decoder_layers")):
        layers, routed = _layers(c, counted), c.count(f"num_sparse_{side}_layers")
        step = layers // routed if routed else layers
        picks = [step == 1 or (step > 0 and i % step == 1) for i in range(layers)]
        sides.append([sparse if pick else dense for pick in picks])
    return _both(c, (sides[0], sides[1]), tied=c.flag("tie_word_embeddings"))


def _both(
    c: Fields,
    mlps: tuple[Sequence[Tensors], Sequence[Tensors]],
    *,
    biased: Callable[[int], bool] = lambda i: i == 0,
    encoder: Callable[[int], Block] | None = None,
    tied: bool = True,
) -> Body:
    """Encoder and decoder whose layers' MLPs are `mlps`; `biased` says in which layers positions are a bias."""
    heads = _heads(c)
    tensors, table = projected(heads, T5, bias=False), _bias(c, heads)
    selves = [(*tensors, *table) if biased(i) else tensors for i in range(max(map(len, mlps)))]
    cross = crosses("EncDecAttention", tensors, heads)
    reads = encoder or (lambda i: encodes("SelfAttention", selves[i], heads))
    first = [_layer(heads, mlp, reads(i)) for i, mlp in enumerate(mlps[0])]
    second = [_layer(heads, mlp, decodes("SelfAttention", selves[i], heads), cross) for i, mlp in enumerate(mlps[1])]
    bodies = [_stack(c, heads.hidden, layers) for layers in (first, second)]
    return joined(bodies[0], bodies[1], embeddings(heads.hidden, c.size("vocab_size"), tied=tied))


def _layer(heads: Heads, mlp: Tensors, *attention: Block) -> Layer:
    """A block: attentions and an MLP, each with its norm under `layer`."""
    parts = (*attention, Block(mlp))
    around = norm("layer_norm", heads.hidden)
    return tuple(part._replace(tensors=within("layer.*", part.tensors, around)) for part in parts)


def _stack(c: Fields, hidden: int, layers: Sequence[Layer]) -> Body:
    return Body(
        hidden=hidden,
        stacks=(Stack("block", layers),),
        outside=norm("final_layer_norm", hidden),
        vocab=c.size("vocab_size"),
        context=c.optional("n_positions") or 0,  # what it was trained with; older configs say it, no code reads it
    )


def _heads(c: Fields) -> Heads:
    heads = c.size("num_heads")
    return Heads(c.size("d_model"), heads, heads, c.size("d_kv"))


def _bias(c: Fields, heads: Heads, name: str = "relative_attention_bias") -> Tensors:
    return embedding(name, c.size("relative_attention_num_buckets"), heads.heads)


def _layers(c: Fields, key: str) -> int:
    """Layers of one side; a decoder of unstated depth is as deep as the encoder."""
    return depth(c, "num_layers") if c.optional(key) is None else depth(c, key)


def _same(c: Fields, mlp: Tensors) -> tuple[list[Tensors], list[Tensors]]:
    return [mlp] * depth(c, "num_layers"), [mlp] * _layers(c, "num_decoder_layers")


def _feed_forward(c: Fields) -> Tensors:
    """The MLP: gated if feed_forward_proj says so, or is_gated_act, which is set after it."""
    gated = c.flag("is_gated_act") if c.given("is_gated_act") else c.text("feed_forward_proj").startswith("gated-")
    return _mlp(c, "DenseReluDense", ("wi_0", "wi_1") if gated else ("wi",))


def _mlp(c: Fields, name: str, ups: tuple[str, ...]) -> Tensors:
    hidden, width = c.size("d_model"), c.size("d_ff")
    tensors = (*(t for up in ups for t in linear(up, hidden, width)), *linear("wo", width, hidden))
    return within(name, tensors) if name else tensors


def _always_tied(body: Bodies) -> Callable[[Fields], Network]:
    """A ...ForConditionalGeneration whose head is always its embedding."""

    def build(c: Fields) -> Network:
        refuse_one_sided(c)
        return Network(body(c), tied=True)

    return build


BODIES: Final = {"t5": t5, "mt5": t5, "umt5": umt5, "longt5": longt5, "switch_transformers": switch_transformers}
CLASSES: Final = {
    "T5ForConditionalGeneration": _always_tied(t5),
    "MT5ForConditionalGeneration": _always_tied(t5),
    "UMT5ForConditionalGeneration": _always_tied(umt5),
    "LongT5ForConditionalGeneration": _always_tied(longt5),
    "SwitchTransformersForConditionalGeneration": generator(switch_transformers, ""),
}
