"""What vLLM loads of a tower of pictures, where that is less than the network that transformers builds.

A tower stands only up to the deepest layer whose features are taken, and without the norm after its last layer where
that is left out (or never wanted); SigLIP's pooling head is not loaded, before 0.15 where the config says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.ledger import Term, bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.memory.architecture import Architecture, Tensor
    from vramguard.memory.engines.vllm.variants import Variant
    from vramguard.memory.quantization.scheme import Chooser, Network, Packing, Rule, Scheme

_SOURCE: Final = "vLLM, model_executor/models/llava.py (init_vision_tower_for_llava), siglip.py, clip.py, mistral3.py"
# Class -> whether the norm after the last layer is never wanted (require_post_norm=False).
_SHALLOW: Final[Mapping[str, bool]] = {
    "LlavaForConditionalGeneration": True,
    "LlavaNextForConditionalGeneration": True,
    "LlavaNextVideoForConditionalGeneration": True,
    "LlavaOnevisionForConditionalGeneration": True,
    "AyaVisionForConditionalGeneration": False,
    "Mistral3ForConditionalGeneration": False,
}
_DEFAULT_LAYER: Final = {  # transformers, the config of each class
    "LlavaForConditionalGeneration": -2,
    "LlavaNextForConditionalGeneration": -2,
    "LlavaNextVideoForConditionalGeneration": -2,
    "LlavaOnevisionForConditionalGeneration": -1,
    "AyaVisionForConditionalGeneration": -1,
    "Mistral3ForConditionalGeneration": -1,
}
_SIGLIP: Final = (*_SHALLOW, "Gemma3ForConditionalGeneration", "PaliGemmaForConditionalGeneration",
                  "Cohere2VisionForConditionalGeneration")  # fmt: skip
_HEADLESS: Final = (0, 15)  # siglip.py, SiglipVisionTransformer: use_head is False by default from this release on
_HEAD: Final = re.compile(r"vision_tower\.(?:vision_model\.)?head\.")
_LAYER: Final = re.compile(r"vision_tower\..*layers\.\*\.")
_NORM: Final = re.compile(r"vision_tower\.(?:vision_model\.)?post_layernorm\.")


class _Named:
    """A rule that is asked by transformers' name of a module and by vLLM's: left alone is what it leaves by either."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        choose = self.rule.chooser(network)

        def either(module: str, tensor: Tensor) -> Packing | None:
            return choose(_vllm(module), tensor) and choose(module, tensor)

        return either


def named(scheme: Scheme | None, network: Architecture) -> Scheme | None:
    """The scheme as vLLM applies it to a class that takes pictures or sound: lists name its modules as vLLM does.

    A checkpoint from before transformers 4.52 has the names that vLLM still uses; a newer one's are translated (each
    class's hf_to_vllm_mapper; layers/quantization/compressed_tensors/compressed_tensors.py, apply_vllm_mapper).
    """
    if scheme is None or not any(tensor.name.startswith("model.language_model.") for tensor in network.tensors):
        return scheme
    return replace(scheme, rule=_Named(scheme.rule))


def _vllm(module: str) -> str:
    if module.startswith("model.language_model."):
        return f"language_model.model.{module.removeprefix('model.language_model.')}"
    return f"language_model.{module}" if module.startswith("lm_head") else module.removeprefix("model.")


# Classes whose tower vLLM builds of its own parallel layers, split unless --mm-encoder-tp-mode is data:
# model_executor/models/siglip.py, clip.py, pixtral.py (PixtralHF...), mllama4.py, qwen2_vl.py, qwen2_5_vl.py,
# qwen3_vl.py, idefics2_vision_model.py, 0.10.2 to 0.33.0; the projections of llava.py, mistral3.py and mllama4.py.
SPLIT: Final = frozenset(
    (
        "Gemma3ForConditionalGeneration", "Mistral3ForConditionalGeneration", "Llama4ForConditionalGeneration",
        "LlavaForConditionalGeneration", "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration",
        "Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration",
        "Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration",
    )
)  # fmt: skip


def settle(
    rows: Sequence[Term], network: Architecture, config: Mapping[str, Any], variants: Sequence[Variant]
) -> Iterator[Term]:
    """`rows` of `resident`, those of a tower as vLLM has it: with fewer copies, none, or perhaps none."""
    name, depth, deepest = network.name, network.sizes.get("vision_num_hidden_layers", 0), _deepest(network, config)
    shorter = 0 < deepest < depth
    for term in rows:
        if name in _SIGLIP and _HEAD.search(term.name):
            yield from _head(term, config, variants)
        elif name in _SHALLOW and _NORM.search(term.name) and (shorter or _SHALLOW[name]):
            continue
        elif shorter and _LAYER.search(term.name):
            yield _fewer(term, deepest, depth)
        else:
            yield term


def _deepest(network: Architecture, config: Mapping[str, Any]) -> int:
    """Layers up to the deepest whose features are taken (vision.py, get_layer_index); 0 where all are."""
    depth = network.sizes.get("vision_num_hidden_layers", 0)
    if network.name not in _SHALLOW or not depth:
        return 0
    said = config.get("vision_feature_layer", _DEFAULT_LAYER[network.name])
    numbers = said if isinstance(said, list | tuple) else [said]
    if not numbers or not all(isinstance(number, int) for number in numbers):
        return 0
    return max(int(number) if number >= 0 else depth + int(number) + 1 for number in numbers)


def _head(term: Term, config: Mapping[str, Any], variants: Sequence[Variant]) -> Iterator[Term]:
    """A tensor of the pooling head: without, with, or either."""
    vision = config.get("vision_config")
    asked = vision.get("vision_use_head", True) if isinstance(vision, Mapping) else True
    kept = {variant.profile.span[0] < _HEADLESS and bool(asked) for variant in variants}
    if kept == {True}:
        yield term
    elif kept == {True, False}:
        yield bound(term.name, term.formula, term.inputs, source=f"{_SOURCE}; loaded before 0.15 only")


def _fewer(term: Term, deepest: int, depth: int) -> Term:
    """A row of every layer's tensor, of the first `deepest` layers only."""
    inputs = dict(term.inputs)
    if inputs.get("copies", 0) % depth:
        return term
    inputs["copies"] = inputs["copies"] // depth * deepest
    if "least" in inputs:
        inputs["least"] = inputs["least"] // depth * deepest
    return Term(term.name, term.formula, inputs, term.kind, term.source or _SOURCE, term.lower_formula)
