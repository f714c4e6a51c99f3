"""The largest picture or sound that a class of vLLM encodes: its tokens, and what they are in its tower.

Read in vLLM 0.19.0 and 0.33.0, model_executor/models/ (each class's ProcessingInfo and dummy inputs), where a size is
the config's. What only preprocessor_config.json says is taken as the class of the processor has it where vLLM falls
back to that, and said as an assumption; where published files are known to say otherwise it is not proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.vllm import pixels
from vramguard.memory.engines.vllm.item import NEVER, ONE_KERNEL, Facts, Item

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.engines.vllm.profiles import Release

_BETWEEN: Final = 16  # tokens that mark the begin, the end and the place of a tile, at most (each class's processor)


def item_of(network: Architecture, config: Mapping[str, Any], context: int = 0, release: Release = NEVER) -> Item:
    """What the class encodes at a max_model_len of `context`; raises UnprovenError, which names what is not known."""
    read = _ITEMS.get(network.name)
    if read is not None:
        return read(Facts(network, config, context, release))
    said = _ELSEWHERE.get(network.model_type, "how many patches its largest item has is not modelled")
    raise UnprovenError(f"the encoder of {network.name} in vllm: {said}")


def _gemma3(facts: Facts) -> Item:
    tokens, patches = facts.size("mm_tokens_per_image"), facts.grid**2
    return Item(
        source="vLLM, model_executor/models/gemma3_mm.py (get_num_crops, Gemma3MultiModalProjector); transformers, "
        "models/gemma3/processing_gemma3.py (Gemma3ProcessorKwargs: pan_and_scan_max_num_crops 4)",
        tokens=5 * (tokens + _BETWEEN),
        profiled_tokens=tokens,
        profiled_patches=patches,
        least_tokens=tokens,
        patches_of_least=patches,
        rows=tokens,
        rows_of=patches,
        assumed="a picture of gemma3 is cut into at most 4 crops, the default of its processor's class",
        **facts.tower("gelu_pytorch_tanh"),
    )


def _pixtral(facts: Facts, merge: int) -> Item:
    """A tower that takes pictures of any shape, up to a square of image_size."""
    side = -(-facts.grid // merge)
    return Item(
        source="vLLM, model_executor/models/mistral3.py and pixtral.py (PixtralHFEncoderInfo, PixtralHFVisionModel)",
        tokens=side * (side + 1),
        profiled_tokens=side**2,
        profiled_patches=(side * merge) ** 2,
        whole=True,
        patches_of_least=merge**2,
        rows_of=merge**2,
        rotates=True,
        more=facts.size("vision_hidden_size"),  # what the convolution gave, picture by picture
        masked=True,
        unmasked_from=(0, 29),
        **(facts.tower("gelu") | {"plain": False}),
    )


def _mistral3(facts: Facts) -> Item:
    return _pixtral(facts, facts.size("spatial_merge_size"))


def _llama4(facts: Facts) -> Item:
    ratio = facts.vision.get("pixel_shuffle_ratio", 0.5)
    if ratio != 0.5:  # noqa: PLR2004 - the only one that is published
        raise UnprovenError(f"the encoder of {facts.network.name} in vllm: pixel_shuffle_ratio {ratio!r}")
    tile, patches = facts.grid**2 // 4, facts.grid**2 + 1
    return Item(
        source="vLLM, model_executor/models/mllama4.py (get_patch_per_chunk, get_max_num_tiles, Llama4VisionModel); "
        "transformers, models/llama4/image_processing_llama4.py (max_patches 16)",
        tokens=17 * (tile + _BETWEEN),
        profiled_tokens=17 * tile,
        profiled_patches=17 * patches,
        whole=True,
        least_tokens=tile,
        patches_of_least=patches,
        rows=tile,
        rows_of=patches,
        rotates=True,
        assumed="a picture of llama4 is cut into at most 16 tiles, the default of its processor's class",
        **facts.tower("gelu"),
    )


def _selected(facts: Facts) -> tuple[int, int]:
    """Tokens and patches of one picture in a tower of CLIP's or SigLIP's kind."""
    kind = str(facts.vision.get("model_type") or "clip_vision_model")
    if kind not in ("clip_vision_model", "siglip_vision_model"):
        raise UnprovenError(f"the encoder of {facts.network.name} in vllm: a tower of type {kind}")
    patches = facts.grid**2 + (kind == "clip_vision_model")
    strategy = facts.config.get("vision_feature_select_strategy", "default")
    if strategy not in ("default", "full"):
        raise UnprovenError(f"the encoder of {facts.network.name} in vllm: strategy {strategy!r}")
    return patches - (strategy == "default"), patches


def _layers_kept(facts: Facts) -> int:
    """Numbers of hidden states that a list of feature layers keeps: all of them, and those that are joined."""
    layers = facts.config.get("vision_feature_layer", -2)
    if not isinstance(layers, Sequence):
        return 0
    return (facts.size("vision_num_hidden_layers") + 1 + len(layers)) * facts.size("vision_hidden_size")


def _llava(facts: Facts) -> Item:
    if facts.vision.get("model_type") == "pixtral":
        return _pixtral(facts, 1)._replace(kept=_layers_kept(facts))
    tokens, patches = _selected(facts)
    return Item(
        source="vLLM, model_executor/models/llava.py (BaseLlavaProcessingInfo), clip.py, siglip.py, vision.py",
        tokens=tokens,
        profiled_tokens=tokens,
        profiled_patches=patches,
        whole=True,
        least_tokens=tokens,
        patches_of_least=patches,
        kept=_layers_kept(facts),
        **facts.tower(_default_activation(facts)),
    )


def _default_activation(facts: Facts) -> str:
    return "gelu_pytorch_tanh" if facts.vision.get("model_type") == "siglip_vision_model" else "quick_gelu"


_PINPOINTS: Final = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]  # transformers, LlavaNextConfig


def _llava_next(facts: Facts) -> Item:
    base, patches = _selected(facts)
    side, grid = facts.size("vision_image_size"), facts.grid
    largest, tiles = 0, 1
    for height, width in facts.config.get("image_grid_pinpoints") or _PINPOINTS:
        down, across = height // side, width // side
        tokens = base + down * grid * (across * grid + 1)
        largest, tiles = max(largest, tokens), max(tiles, down * across + 1)
    return Item(
        source="vLLM, model_executor/models/llava_next.py (get_num_image_tokens, _process_image_pixels)",
        tokens=largest,
        profiled_tokens=largest,
        profiled_patches=tiles * patches,
        whole=True,
        least_tokens=base,
        patches_of_least=tiles * patches,
        kept=_layers_kept(facts),
        **facts.tower(_default_activation(facts)),
    )


def _paligemma(facts: Facts) -> Item:
    patches = facts.grid**2
    return Item(
        source="vLLM, model_executor/models/paligemma.py (PaliGemmaProcessingInfo), siglip.py",
        tokens=patches,
        profiled_tokens=patches,
        profiled_patches=patches,
        whole=True,
        least_tokens=patches,
        patches_of_least=patches,
        **facts.tower("gelu_pytorch_tanh"),
    )


def _tiles(facts: Facts, factor: str, most: int, said: str, source: str) -> Item:
    """Tiles of one size, of which each square of factor x factor patches is one token."""
    patches = facts.grid**2
    tokens = patches // facts.size(factor) ** 2
    return Item(
        source=source,
        tokens=most * (tokens + _BETWEEN),
        profiled_tokens=tokens,
        profiled_patches=patches,
        least_tokens=tokens,
        patches_of_least=patches,
        rows=tokens,
        rows_of=patches,
        assumed=said,
        **facts.tower("gelu_pytorch_tanh"),
    )


def _aya(facts: Facts) -> Item:
    said = "a picture of aya_vision is cut into at most 12 tiles, the default of its processor's class"
    source = "vLLM, model_executor/models/aya_vision.py; transformers, got_ocr2/image_processing_got_ocr2.py"
    return _tiles(facts, "downsample_factor", 13, said, source)


def _cohere(facts: Facts) -> Item:
    said = "a picture of cohere2_vision is cut into at most 12 tiles, the default of its processor's class"
    source = "vLLM, model_executor/models/cohere2_vision.py; transformers, cohere2_vision/image_processing*.py"
    return _tiles(facts, "downsample_factor", 13, said, source)


def _idefics3(facts: Facts) -> Item:
    said = "a picture of idefics3 or smolvlm is cut into at most 4 x 4 tiles, the default of its processor's class"
    source = "vLLM, model_executor/models/idefics3.py, idefics2_vision_model.py; transformers, idefics3 and smolvlm"
    return _tiles(facts, "scale_factor", 17, said, source)


_FRAMES: Final = 32 * (70 + 2 + 6)  # vLLM, gemma4_mm.py: _VIDEO_MAX_FRAMES, _VIDEO_MAX_SOFT_TOKENS and their brackets


def _gemma4(facts: Facts) -> Item:
    if facts.config.get("audio_config"):
        raise UnprovenError(
            f"the encoder of {facts.network.name} in vllm: its largest sound stands in processor_config.json "
            "(audio_seq_length)"
        )
    tokens, pooled = facts.number("default_output_length", 280), facts.number("pooling_kernel_size", 3) ** 2
    # Sides are cut to whole tokens, so that a picture of `tokens` by its area may come to no more than 15/32 of them;
    # the tower takes the patches of all. Masks of padding are by picture: of a patch, every other one.
    return Item(
        source="vLLM, model_executor/models/gemma4_mm.py (get_mm_max_tokens_per_item, _compute_num_soft_tokens); "
        "transformers, models/gemma4/modeling_gemma4.py (Gemma4VisionModel)",
        tokens=max(tokens, _FRAMES),
        profiled_tokens=1,
        profiled_patches=pooled,
        least_tokens=15 * tokens // 32,
        patches_of_least=tokens * pooled,
        rows_of=pooled,
        rotates=True,
        more=3 * tokens * pooled,
        **(facts.tower("gelu_pytorch_tanh") | {"plain": False}),
    )


def _whisper(facts: Facts) -> Item:
    tokens = facts.size("max_source_positions")
    return Item(
        source="vLLM, model_executor/models/whisper.py (WhisperProcessingInfo, WhisperEncoder)",
        tokens=tokens,
        profiled_tokens=tokens,
        profiled_patches=tokens,
        whole=True,
        least_tokens=tokens,
        patches_of_least=tokens,
        hidden=facts.size("d_model"),
        intermediate=facts.size("encoder_ffn_dim"),
        numbers=2 * facts.size("num_mel_bins"),
        plain=facts.config.get("activation_function", "gelu") in ONE_KERNEL,
        more=2 * facts.size("d_model"),
    )


_ITEMS: Final[Mapping[str, Callable[[Facts], Item]]] = {
    "Gemma3ForConditionalGeneration": _gemma3,
    "Mistral3ForConditionalGeneration": _mistral3,
    "Llama4ForConditionalGeneration": _llama4,
    "LlavaForConditionalGeneration": _llava,
    "LlavaNextForConditionalGeneration": _llava_next,
    "PaliGemmaForConditionalGeneration": _paligemma,
    "AyaVisionForConditionalGeneration": _aya,
    "Cohere2VisionForConditionalGeneration": _cohere,
    "Idefics3ForConditionalGeneration": _idefics3,
    "SmolVLMForConditionalGeneration": _idefics3,
    "Gemma4ForConditionalGeneration": _gemma4,
    "WhisperForConditionalGeneration": _whisper,
    "Qwen2VLForConditionalGeneration": pixels.qwen2,
    "Qwen2_5_VLForConditionalGeneration": pixels.qwen2_5,
    "Qwen3VLForConditionalGeneration": pixels.qwen3,
    "Qwen3VLMoeForConditionalGeneration": pixels.qwen3,
    "Qwen3_5ForConditionalGeneration": pixels.qwen3,
    "Qwen3_5MoeForConditionalGeneration": pixels.qwen3,
}

_PIXELS: Final = "its largest picture and video stand in preprocessor_config.json (max_pixels, size.longest_edge)"
_ELSEWHERE: Final[Mapping[str, str]] = dict.fromkeys(
    (
        "qwen4_exp", "glm4v", "glm4v_moe", "glm_ocr", "glm5_next", "ernie4_5_moe_vl", "ernie4_5_vl_moe", "paddleocr_vl",
        "exaone4_5", "hunyuan_vl",
    ),
    _PIXELS,
)  # fmt: skip
