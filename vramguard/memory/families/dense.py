"""Dense decoders that are Llama but for a switch, a name, a norm or a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    attention,
    fused_gated_mlp,
    gated,
    layer_norm,
    linear,
    norm,
    parameter,
    plain_mlp,
    rms_norm,
    unscaled_norm,
    within,
)
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    dense,
    everywhere,
    grouped_heads,
    pre_norm,
    sandwiched,
    window,
)
from vramguard.memory.families.llama import llama, mistral

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Heads
    from vramguard.memory.families.fields import Fields


# Before and after attention, before and after the MLP.
GLM4_NORMS: Final = (
    "input_layernorm",
    "post_self_attn_layernorm",
    "post_attention_layernorm",
    "post_mlp_layernorm",
)


def ministral(c: Fields) -> Body:
    """Ministral: Mistral whose layers may be told apart by layer_types."""
    size = window(c)
    return decoder(c, pre_norm(c, attend(c, by_layer(c, size, lambda _: size is not None)), dense(c)))


def cwm(c: Fields) -> Body:
    """CWM: Llama without biases in attention, three of four layers slide."""
    attention = attend(c, by_layer(c, window(c), lambda i: i % 4 != 0))
    return decoder(c, pre_norm(c, attention, dense(c, bias=c.flag("mlp_bias"))))


def smollm3(c: Fields) -> Body:
    """SmolLM3: Llama; layers without rotary positions slide where sliding is switched on."""
    size, slides, bias = window(c), c.flag("use_sliding_window"), c.flag("attention_bias")
    rotary = c.integers("no_rope_layers")  # 1 where a layer has positions, for all the name says

    def sliding(number: int) -> bool:
        listed = number < len(rotary)
        has_rope = bool(rotary[number]) if listed else bool((number + 1) % c.size("no_rope_layer_interval"))
        return slides and size is not None and not has_rope

    attention = attend(c, by_layer(c, size, sliding), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attention, dense(c, bias=c.flag("mlp_bias"))))


def renamed_llama(c: Fields) -> Body:
    """InternLM3 and IQuestCoder: config classes of their own for Llama's network, which refuse what Llama lacks."""
    if c.kind == "internlm3" and c.flag("attention_bias") != c.flag("mlp_bias"):
        raise UnprovenError("config: attention_bias (qkv_bias) and mlp_bias (bias) differ, which internlm3 cannot do")
    if c.kind == "iquestcoder" and (c.raw("clip_qkv") is not None or c.raw("use_sliding_window")):
        raise UnprovenError("config: clip_qkv or use_sliding_window is set, which iquestcoder cannot do")
    return llama(c)


def ernie4_5(c: Fields) -> Body:
    """ERNIE 4.5: Llama with one switch for all biases."""
    bias = c.flag("use_bias")
    attention = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attention, dense(c, bias=bias)))


def seed_oss(c: Fields) -> Body:
    """Seed-OSS: Llama whose output projection has a bias switch of its own."""
    biases = {"bias": c.flag("attention_bias"), "output_bias": c.flag("attention_out_bias")}
    return decoder(c, pre_norm(c, attend(c, everywhere(c, None), **biases), dense(c, bias=c.flag("mlp_bias"))))


def glm(c: Fields) -> Body:
    """GLM: biased queries, keys and values, gate and up projections fused."""
    return decoder(c, pre_norm(c, _glm_attention(c), _fused_mlp(c)))


def glm4(c: Fields) -> Body:
    """GLM 4: GLM with norms on both sides of attention and MLP."""
    return decoder(c, sandwiched(c, _glm_attention(c), _fused_mlp(c), GLM4_NORMS))


def _glm_attention(c: Fields) -> list[Block]:
    return attend(c, everywhere(c, None), bias=c.flag("attention_bias"))


def _fused_mlp(c: Fields) -> list[Block]:
    return [fused_gated_mlp(c.size("hidden_size"), c.size("intermediate_size"))] * c.layers


def hunyuan(c: Fields) -> Body:
    """HunYuan: Llama with a norm for each head's queries and keys, by names of its own."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    norms = (*norm("query_layernorm", heads.head_dim), *norm("key_layernorm", heads.head_dim))
    block = attention(heads, bias=bias, output_bias=bias, norms=norms)
    return decoder(c, pre_norm(c, [block] * c.layers, dense(c)))


def apertus(c: Fields) -> Body:
    """Apertus: normed heads and an MLP without gate, whose activation xIELU has two weights of its own."""
    hidden, width, bias = c.size("hidden_size"), c.size("intermediate_size"), c.flag("attention_bias")
    learned = within("act_fn", parameter("alpha_p", 1), parameter("alpha_n", 1))
    tensors = _ungated(hidden, width).tensors
    if c.text("hidden_act") == "xielu":
        tensors = (*tensors, *within("mlp", learned))
    heads = attend(c, everywhere(c, None), bias=bias, output_bias=bias, head_norms=True)
    names = ("attention_layernorm", "feedforward_layernorm")
    return decoder(c, pre_norm(c, heads, [Block(tensors)] * c.layers, names=names))


def arcee(c: Fields) -> Body:
    """Arcee: Llama with an MLP without gate."""
    bias = c.flag("attention_bias")
    mlp = _ungated(c.size("hidden_size"), c.size("intermediate_size"), bias=c.flag("mlp_bias"))
    return decoder(c, pre_norm(c, attend(c, everywhere(c, None), bias=bias, output_bias=bias), [mlp] * c.layers))


def jais2(c: Fields) -> Body:
    """Jais 2: Arcee with layer norms."""
    bias = c.flag("attention_bias")
    mlp = _ungated(c.size("hidden_size"), c.size("intermediate_size"), bias=c.flag("mlp_bias"))
    attention = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attention, [mlp] * c.layers, norm=layer_norm), norm=layer_norm)


def nanochat(c: Fields) -> Body:
    """nanochat: no norm has a weight, and the MLP has no gate."""
    bias, hidden, width = c.flag("attention_bias"), c.size("hidden_size"), c.size("intermediate_size")
    mlp = plain_mlp(linear("fc1", hidden, width), linear("fc2", width, hidden))
    attention = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attention, [mlp] * c.layers, norm=unscaled_norm), norm=unscaled_norm)


def _ungated(hidden: int, width: int, *, bias: bool = False) -> Block:
    return plain_mlp(linear("up_proj", hidden, width, bias=bias), linear("down_proj", width, hidden, bias=bias))


def bitnet(c: Fields) -> Body:
    """BitNet: Llama with a further norm before each output projection; the 1.58-bit weights are a quantization."""
    heads, bias, width = _square_heads(c), c.flag("attention_bias"), c.size("intermediate_size")
    block = attention(heads, bias=bias, output_bias=bias, norms=norm("attn_sub_norm", heads.hidden))
    mlp = Block(within("mlp", gated(heads.hidden, width), norm("ffn_sub_norm", width)))
    return decoder(c, pre_norm(c, [block] * c.layers, [mlp] * c.layers))


def helium(c: Fields) -> Body:
    """Helium: Llama whose output projection never has a bias."""
    block = attention(_square_heads(c), bias=c.flag("attention_bias"))
    return decoder(c, pre_norm(c, [block] * c.layers, dense(c, bias=c.flag("mlp_bias"))))


def _square_heads(c: Fields) -> Heads:
    """Geometry of a class that takes the queries to be as wide as the hidden state: nothing else can run."""
    heads = grouped_heads(c)
    if heads.query != heads.hidden:
        raise UnprovenError(f"config: hidden_size {heads.hidden} is not num_attention_heads times head_dim")
    return heads


def granite_swa(c: Fields) -> Body:
    """Granite with windows: Llama, three of four layers slide, each head has a sink."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    sinks = parameter("sinks", heads.heads)
    windows = by_layer(c, window(c), lambda i: i % 4 != 0)
    blocks = [attention(heads, size, bias=bias, output_bias=bias, norms=sinks) for size in windows]
    return decoder(c, pre_norm(c, blocks, dense(c, bias=c.flag("mlp_bias"))))


def hyperclovax(c: Fields) -> Body:
    """HyperCLOVA X: Llama, with norms after attention and MLP unless switched off."""
    hidden, bias = c.size("hidden_size"), c.flag("attention_bias")
    attention = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    layers = pre_norm(c, attention, dense(c, bias=c.flag("mlp_bias")))
    if c.flag("use_post_norm"):
        first, second = rms_norm("post_norm1", hidden), rms_norm("post_norm2", hidden)
        layers = [(before, attends, first, inner, feeds, second) for before, attends, inner, feeds in layers]
    return decoder(c, layers)


BODIES: Final = {
    "apertus": apertus,
    "arcee": arcee,
    "bitnet": bitnet,
    "cwm": cwm,
    "ernie4_5": ernie4_5,
    "glm": glm,
    "glm4": glm4,
    "granite": llama,
    "granite_swa": granite_swa,
    "helium": helium,
    "hunyuan_v1_dense": hunyuan,
    "hyperclovax": hyperclovax,
    "internlm3": renamed_llama,
    "iquestcoder": renamed_llama,
    "jais2": jais2,
    "ministral": ministral,
    "ministral3": mistral,
    "nanochat": nanochat,
    "seed_oss": seed_oss,
    "smollm3": smollm3,
}
CLASSES: Final = {
    "ApertusForCausalLM": causal(apertus),
    "ArceeForCausalLM": causal(arcee),
    "BitNetForCausalLM": causal(bitnet),
    "CwmForCausalLM": causal(cwm),
    "Ernie4_5ForCausalLM": causal(ernie4_5),
    "GlmForCausalLM": causal(glm),
    "Glm4ForCausalLM": causal(glm4),
    "GraniteForCausalLM": causal(llama),
    "GraniteSWAForCausalLM": causal(granite_swa),
    "HeliumForCausalLM": causal(helium),
    "HunYuanDenseV1ForCausalLM": causal(hunyuan),
    "HyperCLOVAXForCausalLM": causal(hyperclovax),
    "Jais2ForCausalLM": causal(jais2),
    "LlamaForCausalLM": causal(renamed_llama),
    "MinistralForCausalLM": causal(ministral),
    "Ministral3ForCausalLM": causal(mistral),
    "NanoChatForCausalLM": causal(nanochat),
    "SeedOssForCausalLM": causal(seed_oss),
    "SmolLM3ForCausalLM": causal(smollm3),
}
