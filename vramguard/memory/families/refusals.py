"""What stands in a config that no builder has read and that changes a network, or that contradicts itself: UNKNOWN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.fields import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.memory.architecture import Tensor
    from vramguard.memory.families.fields import Fields

# Keys that transformers reads from any config, whether or not its class declares them: null, or read by the builder.
_READ_ANYWHERE: Final = (
    "sliding_window",
    "layer_types",
    "attention_chunk_size",
    "kv_sharing_modes",
    "per_layer_config",
    "fusion_config",
    "distributed_config",
    "text_config",
    "text_encoder",
    "decoder",
    "generator",
)
# Switches of the class, the forward pass or the cache: the class's default, this value, or read by the builder.
SWITCHES: Final = {
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "is_causal": True,
    "use_bidirectional_attention": False,
    "alibi": False,
    "reorder_and_upcast_attn": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_router_logits": False,
    # generate() reads these from config.json where a checkpoint has no generation_config.json.
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_scores": False,
    "output_logits": False,
}
# Activations of transformers 5.23 that have no weights. prelu and xielu do, and xielu widens what passes through it.
_ACTIVATIONS: Final = (
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_python_tanh",
    "gelu_pytorch_tanh",
    "hardswish",
    "laplace",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "sqrtsoftplus",
    "swish",
    "tanh",
)
# Keys with several values that are understood.
_CHOICES: Final = {
    "cache_implementation": ("dynamic", "hybrid"),  # generate() takes the second, of older Gemmas, for the first
    "experts_implementation": ("grouped_mm",),  # what transformers takes where nobody asks; only that was traced
    "_experts_implementation": ("grouped_mm",),
    **dict.fromkeys(
        (
            *("hidden_act", "hidden_activation", "activation_function", "activation", "dense_act_fn"),
            *("encoder_hidden_act", "decoder_hidden_act", "speech_encoder_hidden_act", "projector_hidden_act"),
            *("feat_extract_activation", "pooler_act"),
        ),
        _ACTIVATIONS,
    ),
    "feed_forward_proj": (*_ACTIVATIONS, *(f"gated-{name}" for name in _ACTIVATIONS)),
}
# Config classes that refuse a hidden size that is no multiple of the number of heads, although they know a head_dim.
_WHOLE: Final = """
arcee aria_text canary_decoder clip_vision_model cosmos3_edge_text cwm deepseek_ocr2_text deepseek_v2
dots3_note_audio_encoder dots3_note_vision_encoder esmc eurobert gemma2 gemma3_text gemma3n_text gpt_neox hrm_text
hyperclovax internlm3 iquestcoder jais2 llama minicpm3 muse_glimmer_text muse_spark_text t5_gemma_module
t5gemma2_decoder t5gemma2_text ultrabert unlimited_ocr_text vaultgemma
"""
_WHOLE_HEADS: Final = frozenset(_WHOLE.split())


def refuse(c: Fields) -> None:
    """Raise UnprovenError for a config, of a model or a part, after its builder has read it."""
    for key in _READ_ANYWHERE:
        if c.config.get(key) is not None and key not in c.read:
            raise UnprovenError(f"config: {c.path}{key} is not supported for {c.kind}")
    defaults = c.table[c.kind]["fields"]
    for key, understood in SWITCHES.items():
        if c.config.get(key) not in (None, understood, defaults.get(key)) and key not in c.read:
            raise UnprovenError(f"config: {c.path}{key} is {shown(c.config[key])}, which is not supported")
    for key, choices in _CHOICES.items():
        if c.config.get(key) is not None and c.config[key] not in (*choices, defaults.get(key)):
            raise UnprovenError(f"config: {c.path}{key} is {shown(c.config[key])}, which is not supported")
    if c.kind in _WHOLE_HEADS and (hidden := c.size("hidden_size")) % (heads := c.size("num_attention_heads")):
        raise UnprovenError(f"config: {c.path}hidden_size {hidden} is no multiple of num_attention_heads {heads}")


def refuse_shapes(tensors: Iterable[Tensor]) -> None:
    """Raise UnprovenError for sizes that come out negative."""
    for tensor in tensors:
        if min(tensor.shape, default=0) < 0:
            raise UnprovenError(f"config: {tensor.name} would have the shape {shown(list(tensor.shape))}")
