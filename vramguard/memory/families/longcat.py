"""LongCat Flash: two latent attentions and two MLPs in each layer, and one set of experts that runs beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Block, Routing, gated_mlp, linear, rms_norm, stacked, within
from vramguard.memory.families.decoder import causal, decoder
from vramguard.memory.families.fields import MAX_LAYERS
from vramguard.memory.families.latent import Latent, latent, latent_attention

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body
    from vramguard.memory.families.fields import Fields


def longcat_flash(c: Fields) -> Body:
    """LongCat Flash: some experts do nothing, yet the first projection of the experts has rows for them too."""
    hidden, sizes = c.size("hidden_size"), _sizes(c)
    attends = latent_attention(sizes, bias=c.flag("attention_bias"))
    layer = (
        _twice(rms_norm("input_layernorm", hidden), "input_layernorm"),
        _twice(attends, "self_attn"),
        attends._replace(tensors=()),  # the second of the two
        _twice(rms_norm("post_attention_layernorm", hidden), "post_attention_layernorm"),
        _twice(gated_mlp(hidden, c.size("ffn_hidden_size"), name="mlps"), "mlps"),
        _experts(c),
    )
    body = decoder(c, [layer] * _layers(c))
    return replace(body, sizes={**body.sizes, "all_experts": c.size("n_routed_experts") + c.count("zero_expert_num")})


def _twice(block: Block, name: str) -> Block:
    """A block of which a layer has a list of two, called `name`."""
    renamed = (t._replace(name=t.name.replace(name, f"{name}.*", 1), copies=2) for t in block.tensors)
    return block._replace(tensors=tuple(renamed))


def _layers(c: Fields) -> int:
    """Number of layers; under num_hidden_layers the config may say how many attentions they have."""
    number = c.size("num_layers", MAX_LAYERS)
    if c.given("num_hidden_layers") and c.size("num_hidden_layers") // 2 != number:
        raise UnprovenError("config: num_hidden_layers is not twice num_layers")
    return number


def _sizes(c: Fields) -> Latent:
    c.size("q_lora_rank")
    sizes = latent(c)
    if c.optional("qk_head_dim") not in (None, sizes.head_dim):
        raise UnprovenError(f"config: qk_head_dim is not the sum of its parts, which is {sizes.head_dim}")
    return sizes


def _experts(c: Fields) -> Block:
    hidden, width = c.size("hidden_size"), c.size("expert_ffn_hidden_size")
    experts, idle, chosen = c.size("n_routed_experts"), c.count("zero_expert_num"), c.size("moe_topk")
    if chosen > experts:
        raise UnprovenError(f"config: moe_topk {chosen} exceeds n_routed_experts {experts}")
    tensors = (
        *stacked("experts.gate_up_proj", Routing(experts + idle, chosen), 2 * width, hidden),
        *stacked("experts.down_proj", Routing(experts, chosen), hidden, width),
        *linear("router.classifier", hidden, experts + idle, bias=c.flag("router_bias")),
    )
    return Block(within("mlp", tensors))


BODIES: Final = {"longcat_flash": longcat_flash}
CLASSES: Final = {"LongcatFlashForCausalLM": causal(longcat_flash)}
