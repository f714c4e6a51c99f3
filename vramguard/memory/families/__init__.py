"""From a Hugging Face config to the network that transformers would build: which class, and whether we know it.

The model type must have a row, the class named must be that row's causal class, and nothing may stand in the config
that changes any network (quantization, per-layer overrides, an encoder). Then the row's builder reads the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Architecture, Attention, FeedForward, UnprovenError
from vramguard.memory.families import gpt, llama, qwen
from vramguard.memory.families.fields import Fields, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.memory.families.decoder import Family

__all__ = ["FAMILIES", "SWITCHES", "architecture"]

FAMILIES: Final[Mapping[str, Family]] = {**llama.FAMILIES, **qwen.FAMILIES, **gpt.FAMILIES}

DTYPES: Final = ("float16", "bfloat16", "float32", "float64")

# Keys that transformers reads from any config, whether or not its class declares them.
_CACHE_KEYS: Final = ("sliding_window", "layer_types", "attention_chunk_size", "kv_sharing_modes")
_STRUCTURE_KEYS: Final = (
    "per_layer_config",
    "fusion_config",
    "distributed_config",
    "text_config",
    "text_encoder",
    "decoder",
    "generator",
)
# Switches of the class, the forward pass or the cache, each with the only value that is understood.
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
    "experts_implementation": ("grouped_mm", "eager"),
    "_experts_implementation": ("grouped_mm", "eager"),
    **dict.fromkeys(("hidden_act", "hidden_activation", "activation_function", "activation"), _ACTIVATIONS),
}


def architecture(config: Mapping[str, object]) -> Architecture:
    """Network of a config.json's content; raises UnprovenError, which names what is missing or not supported.

    `auto_map` is not looked at: where transformers has a class of its own it loads custom code only on request
    (trust_remote_code, off by default), and a class that is not transformers' own is refused by its name.
    """
    model_type, family = _family(config)
    _refuse_unknown_mechanisms(config, family)
    network = family.build(Fields.of(config, family.defaults, family.spellings))
    return Architecture(
        model_type=model_type,
        name=family.name,
        layers=len(network.layers),
        hidden=network.hidden,
        vocab=network.vocab,
        context=network.context,
        dtype=_dtype(config),
        tensors=network.tensors,
        attention=network.groups(Attention),
        feed_forward=network.groups(FeedForward),
        attn_implementation=_attn_implementation(config),
        logit_softcap=network.logit_softcap,
        parallel=network.parallel,
        tied=not network.head,
    )


def _family(config: Mapping[str, object]) -> tuple[str, Family]:
    """Row of the config's model type, if its class is that row's."""
    model_type = config.get("model_type")
    if model_type is None:
        raise UnprovenError("config: model_type is missing")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UnprovenError(f"config: model_type {shown(model_type)} is not supported")
    family = FAMILIES[model_type]
    # An absent class is the causal one: no model type here has another generating class in transformers' mappings.
    classes = config.get("architectures")
    if classes in (None, []):
        return model_type, family
    # Case is no matter: configs written before Llama was merged say LLaMAForCausalLM, and transformers, which goes by
    # the model type, builds LlamaForCausalLM for them.
    if not isinstance(classes, list) or str(classes[0]).lower() != family.name.lower():
        raise UnprovenError(f"config: architectures is {shown(classes)}; of {model_type}, {family.name} is supported")
    return model_type, family


def _refuse_unknown_mechanisms(config: Mapping[str, object], family: Family) -> None:
    quantization = config.get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise UnprovenError(f"config: quantization_config (quant_method {shown(method)}) is not supported yet")
    for key in (*_CACHE_KEYS, *_STRUCTURE_KEYS):
        if config.get(key) is not None and key not in family.defaults:
            raise UnprovenError(f"config: {key} is not supported for {family.name}")
    for key, understood in SWITCHES.items():
        if config.get(key) not in (None, understood):
            raise UnprovenError(f"config: {key} is {shown(config[key])}, which is not supported")
    for key, choices in _CHOICES.items():
        if config.get(key) is not None and config[key] not in choices:
            raise UnprovenError(f"config: {key} is {shown(config[key])}, which is not supported")


def _dtype(config: Mapping[str, object]) -> str | None:
    """Type of the weights; `torch_dtype` is its older name."""
    value = config.get("dtype")
    key, value = ("dtype", value) if value is not None else ("torch_dtype", config.get("torch_dtype"))
    if value is None:
        return None
    if value not in DTYPES:
        raise UnprovenError(f"config: {key} is {shown(value)}, not one of {', '.join(DTYPES)}")
    return str(value)


def _attn_implementation(config: Mapping[str, object]) -> str | None:
    """Attention kernel that the config asks for; transformers reads the underscored name last."""
    key = "_attn_implementation" if "_attn_implementation" in config else "attn_implementation"
    value = config.get(key)
    if value is not None and (not isinstance(value, str) or len(value) > 80):  # noqa: PLR2004 - no name is longer
        raise UnprovenError(f"config: {key} is {shown(value)}, not a name")
    return value
