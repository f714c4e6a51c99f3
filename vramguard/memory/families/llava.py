"""LLaVA and the models built as it is: a CLIP-like tower, an MLP, any text model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import convolution, embedding, linear, norm, parameter, within
from vramguard.memory.families.fields import shown
from vramguard.memory.families.gemma_vl import gemma3
from vramguard.memory.families.sight import Names, answers, either_tie, levels, own_tie, seeing
from vramguard.memory.families.towers_timm import perception_width

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def mlp(inputs: int, width: int, outputs: int, *, bias: bool = True, halved: bool = False) -> Tensors:
    """Two Linears; `halved` where the activation between them gates one half with the other."""
    return (
        *linear("linear_1", inputs, width, bias=bias),
        *linear("linear_2", width // 2 if halved else width, outputs, bias=bias),
    )


def _projector(c: Fields, hidden: int) -> Tensors:
    """LLaVA: outputs of one or more layers of the tower side by side."""
    inputs = c.part("vision_config").size("hidden_size") * levels(c)
    return within("multi_modal_projector", mlp(inputs, hidden, hidden, bias=c.flag("multimodal_projector_bias")))


def _with_newline(c: Fields, hidden: int) -> Tensors:
    """LLaVA-NeXT: a learned vector ends each row of patches."""
    return (*_projector(c, hidden), *parameter("image_newline", hidden))


def _pooled(c: Fields, hidden: int) -> Tensors:
    """LLaVA-NeXT-Video: frames are pooled, by a convolution where the config says so."""
    mode, vision = c.text("spatial_pool_mode"), c.part("vision_config")
    if mode not in ("average", "max", "conv"):
        raise UnprovenError(f"config: spatial_pool_mode is {shown(mode)}, not average, max or conv")
    if mode != "conv":
        return _with_newline(c, hidden)
    seen, stride = vision.size("hidden_size"), c.size("spatial_pool_stride")
    outputs = c.size("spatial_pool_out_channels") if c.given("spatial_pool_out_channels") else seen
    pool = convolution("vision_resampler.pool", (outputs, seen, stride, stride), bias=True)
    return (*_with_newline(c, hidden), *pool)


def _normed_levels(c: Fields, hidden: int) -> Tensors:
    """VipLLaVA: outputs of several layers side by side, normed."""
    inputs = c.part("vision_config").size("hidden_size") * levels(c)
    normed = norm("projector_layernorm", inputs, bias=True)
    return within("multi_modal_projector", normed, mlp(inputs, hidden, hidden))


def video_llava(c: Fields) -> Body:
    """Video-LLaVA: two towers of one config, for pictures and for frames."""
    text, tower = body_of(c.part("text_config")), body_of(c.part("vision_config"))
    towers = (tower.within(f"{kind}_tower") for kind in ("video", "image"))
    return text.within("language_model").beside(*towers, _projector(c, text.hidden))


def _merger(c: Fields, seen: int) -> Tensors:
    wide = seen * c.size("spatial_merge_size") ** 2
    return (*norm("norm", seen), *linear("patch_merger.merging_layer", wide, seen))


def merged(c: Fields, hidden: int) -> Tensors:
    """Mistral 3: neighbouring patches become one."""
    seen, bias = c.part("vision_config").size("hidden_size"), c.flag("multimodal_projector_bias")
    joined = mlp(seen * levels(c), hidden, hidden, bias=bias)
    return within("multi_modal_projector", _merger(c, seen), joined)


def _merged_plainly(c: Fields, hidden: int) -> Tensors:
    """LightOnOCR: Mistral 3's, of the last layer and without biases."""
    seen = c.part("vision_config").size("hidden_size")
    return within("vision_projection", _merger(c, seen), mlp(seen, hidden, hidden, bias=False))


def _shuffled(c: Fields, hidden: int) -> Tensors:
    """InternVL: a square of patches side by side, normed."""
    ratio = c.ratio("downsample_ratio")
    if not 0 < ratio <= 1:
        raise UnprovenError(f"config: downsample_ratio is {shown(ratio)}, not above 0 and at most 1")
    inputs = c.part("vision_config").size("hidden_size") * int(1 / ratio) ** 2
    normed = norm("layer_norm", inputs, bias=True)
    return within("multi_modal_projector", normed, mlp(inputs, hidden, hidden))


def _squared(c: Fields) -> int:
    return c.part("vision_config").size("hidden_size") * c.size("downsample_factor") ** 2


def _aya(c: Fields, hidden: int) -> Tensors:
    """Aya Vision: a square of patches side by side, normed, through a gated MLP of the text's width or its own."""
    inputs = _squared(c)
    width = c.size("alignment_intermediate_size") if c.given("alignment_intermediate_size") else hidden
    normed = norm("layernorm", inputs, bias=True)
    return within("multi_modal_projector", normed, mlp(inputs, width, hidden, halved=True))


def _cohere(c: Fields, hidden: int) -> Tensors:
    """Command A Vision: Aya's without the norm."""
    wide = c.size("alignment_intermediate_size")
    return within("multi_modal_projector", mlp(_squared(c), wide, hidden, halved=True))


def _lfm2(c: Fields, hidden: int) -> Tensors:
    """LFM2-VL: a square of patches side by side, normed if the config says so, through an MLP of a width of its own."""
    inputs = _squared(c)
    normed = norm("layer_norm", inputs, bias=True) if c.flag("projector_use_layernorm") else ()
    joined = mlp(inputs, c.size("projector_hidden_size"), hidden, bias=c.flag("projector_bias"))
    return within("multi_modal_projector", normed, joined)


def _lfm3(c: Fields, hidden: int) -> Tensors:
    """LFM3-VL: each patch normed, then a square of them side by side."""
    vision = c.part("vision_config")
    seen = vision.size("hidden_size")
    joined = mlp(
        seen * vision.size("spatial_merge_size") ** 2,
        c.size("projector_hidden_size"),
        hidden,
        bias=c.flag("projector_bias"),
    )
    return within("multi_modal_projector", norm("layer_norm", seen, bias=True), joined)


def _lfm2_tie(c: Fields) -> bool:
    """`tie_embedding`, an older spelling, wins."""
    return c.flag("tie_embedding") if c.given("tie_embedding") else c.flag("tie_word_embeddings")


def paligemma_projector(c: Fields, _: int) -> Tensors:
    """PaliGemma: one Linear, as wide as the config itself says."""
    c.part("text_config").raw("use_bidirectional_attention")  # of the mask only; a prefix sees itself in full
    seen = c.part("vision_config").size("hidden_size")
    return linear("multi_modal_projector.linear", seen, c.size("projection_dim"), bias=True)


def _aligner(c: Fields, hidden: int) -> Tensors:
    """DeepSeek-VL: an MLP."""
    seen = c.part("vision_config").size("hidden_size")
    return within("aligner", linear("linear1", seen, hidden, bias=True), linear("linear2", hidden, hidden, bias=True))


def _readout(c: Fields, hidden: int) -> Tensors:
    """VideoLLaMA 3: an MLP."""
    seen, path = c.part("vision_config").size("hidden_size"), "projector.readout.*"
    return (*linear(path, seen, hidden, bias=True), *linear(path, hidden, hidden, bias=True))


def ovis2(c: Fields) -> Body:
    """Ovis 2: what the tower sees is a mixture of visual words, which have embeddings of their own."""
    text, vision = body_of(c.part("text_config")), c.part("vision_config")
    if c.size("hidden_size") != text.hidden:
        raise UnprovenError("config: hidden_size differs from that of text_config")
    table = embedding("visual_embeddings_table", vision.size("vocab_size"), text.hidden)
    if not c.flag("tie_word_embeddings"):  # a head of its own is as high as the outer config says
        text = replace(text, vocab=c.size("vocab_size"))
    return text.within("language_model").beside(body_of(vision).within("vision_tower"), table)


def _perceived(c: Fields, hidden: int) -> Tensors:
    """PerceptionLM: an MLP of the text's width."""
    seen = perception_width(c.part("vision_config"))
    return within("multi_modal_projector", mlp(seen, hidden, hidden))


def _inherited_tie(c: Fields) -> bool:
    """PerceptionLM: as its text part says where the outer config does not."""
    return c.part("text_config").flag("tie_word_embeddings") if c.is_null("tie_word_embeddings") else own_tie(c)


def _shield_tie(c: Fields) -> bool:
    """ShieldGemma 2: as Gemma 3's text part says, or the outer config."""
    if c.part("text_config").kind != "gemma3_text":  # one that knows no tie_word_embeddings would be tied
        raise UnprovenError(
            f"config: text_config.model_type {c.part('text_config').kind} is not supported for {c.kind}"
        )
    return either_tie(c)


CLASSES: Final = {
    "Gemma3ForConditionalGeneration": answers(gemma3, tie=_shield_tie),
    "LlavaForConditionalGeneration": answers(seeing(_projector), tie=either_tie),
    "LlavaNextForConditionalGeneration": answers(seeing(_with_newline)),
    "LlavaNextVideoForConditionalGeneration": answers(seeing(_pooled), tie=either_tie),
    "LlavaOnevisionForConditionalGeneration": answers(seeing(_with_newline), tie=either_tie),
    "VideoLlavaForConditionalGeneration": answers(video_llava),
    "VipLlavaForConditionalGeneration": answers(seeing(_normed_levels)),
    "PaliGemmaForConditionalGeneration": answers(seeing(paligemma_projector)),
    "InternVLForConditionalGeneration": answers(seeing(_shuffled)),
    "QianfanOCRForConditionalGeneration": answers(seeing(_shuffled)),
    "AyaVisionForConditionalGeneration": answers(seeing(_aya)),
    "Cohere2VisionForConditionalGeneration": answers(seeing(_cohere)),
    "Mistral3ForConditionalGeneration": answers(seeing(merged)),
    "LightOnOcrForConditionalGeneration": answers(seeing(_merged_plainly, Names(tower="vision_encoder"))),
    "Lfm2VlForConditionalGeneration": answers(seeing(_lfm2), tie=_lfm2_tie),
    "Lfm3VlForConditionalGeneration": answers(seeing(_lfm3)),
    "DeepseekVLForConditionalGeneration": answers(seeing(_aligner, Names(tower="vision_model"))),
    "VideoLlama3ForConditionalGeneration": answers(seeing(_readout, Names(tower="vision_model")), tie=either_tie),
    "Ovis2ForConditionalGeneration": answers(ovis2),
    "FastVlmForConditionalGeneration": answers(seeing(_projector), tie=either_tie),
    "PerceptionLMForConditionalGeneration": answers(seeing(_perceived), tie=_inherited_tie),
}
