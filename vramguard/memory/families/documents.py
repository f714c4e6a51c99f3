"""Models that read documents behind SAM's tower: Unlimited-OCR, DeepSeek-OCR 2, PP-FormulaNet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.bart import Traits, decoder_side
from vramguard.memory.families.blocks import Body, Heads, Stack, attention, embedding, norm, parameter, within
from vramguard.memory.families.decoder import attend, decoder, dense, divide, everywhere, headed, pre_norm
from vramguard.memory.families.experts import feed_forward, grouped_experts, sparse_layers, undeclared
from vramguard.memory.families.fields import Fields, shown
from vramguard.memory.families.seq2seq import joined
from vramguard.memory.families.sight import answers, seeing, silent
from vramguard.memory.families.towers import clip_tower
from vramguard.memory.families.towers import dense as biased
from vramguard.memory.families.towers_sam import halved_twice, sam

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.blocks import Network, Tensors

# Caches all of the prompt, and of what is written after it the last sliding_window tokens.
REFERENCE: Final = "reference_sliding_attention"


def unlimited_text(c: Fields) -> Body:
    """Unlimited-OCR: DeepSeek's experts behind plain attention; its window slides over what it writes alone."""
    if c.optional("sliding_window") is None:
        raise UnprovenError(f"config: {c.path}sliding_window is null")
    listed = c.texts("layer_types")
    if listed is not None and (len(listed) != c.layers or {*listed} - {REFERENCE, "full_attention"}):
        raise UnprovenError(f"config: {c.path}layer_types does not name a known kind for each layer")
    first = undeclared(c, "first_k_dense_replace", 1)
    return _experts_text(c, lambda i: i >= first)


def deepseek_text(c: Fields) -> Body:
    """DeepSeek-OCR 2: the same without a window; which layers have experts is always listed."""
    if c.texts("mlp_layer_types") is None:
        raise UnprovenError(f"config: {c.path}mlp_layer_types is null")
    return _experts_text(c, lambda _: True)


def _experts_text(c: Fields, sparse: Callable[[int], bool]) -> Body:
    heads, attention_bias, bias = _heads(c), c.flag("attention_bias"), c.flag("mlp_bias")
    attends = [attention(heads, bias=attention_bias, output_bias=attention_bias)] * c.layers
    mlp = feed_forward(sparse_layers(c, sparse), lambda: grouped_experts(c, bias=bias), lambda: dense(c, bias=bias)[0])
    return decoder(c, pre_norm(c, attends, mlp))


def _heads(c: Fields) -> Heads:
    """Geometry of the text's attention; a given head_dim is set back to the quotient."""
    heads, head_dim = c.size("num_attention_heads"), divide(c, "hidden_size", "num_attention_heads")
    kv_heads = c.optional("num_key_value_heads") or heads
    if heads % kv_heads:
        raise UnprovenError(f"config: {c.path}num_attention_heads is no multiple of num_key_value_heads {kv_heads}")
    return Heads(c.size("hidden_size"), heads, kv_heads, head_dim)


def shrinking_sam(c: Fields) -> Body:
    """SAM's tower and two convolutions that halve its picture, to widths that the config lists."""
    first, second = _widths(c)
    return sam(c).beside(within("proj", halved_twice(("conv1", "conv2"), (c.size("output_channels"), first, second))))


def _widths(c: Fields) -> tuple[int, int]:
    found = (512, 896) if c.is_null("downsample_channels") else c.integers("downsample_channels")
    if len(found) != 2 or min(found) < 1:  # noqa: PLR2004 - one for each convolution
        raise UnprovenError(f"config: {c.path}downsample_channels does not list two widths")
    return found[0], found[1]


def unlimited_vision(c: Fields) -> Body:
    """Unlimited-OCR's towers: CLIP reads what SAM saw, so that it embeds no patches and norms no output."""
    fine = shrinking_sam(c.part("sam_config")).within("sam_encoder")
    return fine.beside(clip_tower(c.part("encoder_config")).within("vision_encoder"))


def deepseek_vision(c: Fields) -> Body:
    """DeepSeek-OCR 2's towers: a Qwen2 without words reads what SAM saw, and answers to learned queries."""
    fine, reader = shrinking_sam(c.part("sam_config")).within("sam_encoder"), c.part("encoder_config")
    reader.read.update(("sliding_window", "layer_types"))  # of its masks alone
    layers = pre_norm(reader, attend(reader, everywhere(reader, None), bias=True), dense(reader))
    hidden = reader.size("hidden_size")
    tower = Body(hidden, (Stack("layers", silent(layers)),), norm("norm", hidden))
    queries = (*embedding("query_768_resolution", 144, hidden), *embedding("query_1024_resolution", 256, hidden))
    return fine.beside(tower.within("vision_encoder"), queries)


def _two_readers(c: Fields, hidden: int) -> Tensors:
    """Unlimited-OCR: what both towers saw side by side, and vectors that end a row and part two views."""
    fine, coarse = (c.part("vision_config").part(f"{kind}_config") for kind in ("sam", "encoder"))
    inputs = _widths(fine)[-1] + coarse.size("hidden_size")
    marks = (*parameter("view_separator", hidden), *parameter("image_newline", hidden))
    return (*biased("multi_modal_projector", inputs, hidden), *marks)


def _one_reader(c: Fields, hidden: int) -> Tensors:
    """DeepSeek-OCR 2: what the second tower answers."""
    inputs = c.part("vision_config").part("encoder_config").size("hidden_size")
    return (*biased("multi_modal_projector", inputs, hidden), *parameter("view_separator", hidden))


def unlimited_ocr(c: Fields) -> Network:
    """Unlimited-OCR: older configs call its text part otherwise, and hold its window beside it."""
    windows = {"sliding_window": c.raw("sliding_window")} if c.given("sliding_window") else {}
    if c.raw("text_config") is None:
        older = c.raw("language_config") if c.given("language_config") else {}
        if not isinstance(older, dict):
            raise UnprovenError(f"config: language_config is {shown(older)}, not an object")
        c.parts["text_config"] = Fields("unlimited_ocr_text", {**older, **windows}, c.table, f"{c.path}text_config.")
    return answers(seeing(_two_readers))(c)


def formula_vision(c: Fields) -> Body:
    """PP-FormulaNet's encoder: SAM's, halved twice and projected to the decoder's width."""
    first, second, third = (c.size(f"post_conv_{place}_channels") for place in ("in", "mid", "out"))
    outputs = c.size("decoder_hidden_size")
    shrunk = halved_twice(("conv1", "conv2"), (first, second, third))
    projector = (*shrunk, *biased("linear_1", third, third), *biased("linear_2", third, outputs))
    return sam(c).beside(within("multi_modal_projector", projector))


def pp_formulanet(c: Fields) -> Network:
    """PP-FormulaNet: BART's decoder writes the formula that the tower sees; its head is never the embedding."""
    text, vision = c.part("text_config"), c.part("vision_config")
    side = -(-(vision.size("image_size") // vision.size("patch_size")) // 2)
    seen = (-(-side // 2)) ** 2
    if vision.size("decoder_hidden_size") != text.size("d_model"):
        raise UnprovenError("config: vision_config.decoder_hidden_size is not the text's d_model")
    if vision.size("post_conv_in_channels") != vision.size("output_channels"):
        raise UnprovenError("config: vision_config.post_conv_in_channels is not output_channels")
    writes = decoder_side(text, Traits(offset=2, first_norm=True, last_norm=True, source=lambda _: seen))
    tokens = embedding("decoder.embed_tokens", writes.vocab, writes.hidden)
    body = joined(replace(body_of(vision), context=0), writes, tokens)
    return headed(c, body.within("model"), tied=False)


BODIES: Final = {
    "unlimited_ocr_text": unlimited_text,
    "unlimited_ocr_vision": unlimited_vision,
    "deepseek_ocr2_text": deepseek_text,
    "deepseek_ocr2_vision": deepseek_vision,
    "pp_formulanet_vision": formula_vision,
}
CLASSES: Final = {
    "UnlimitedOcrForConditionalGeneration": unlimited_ocr,
    "DeepseekOcr2ForConditionalGeneration": answers(seeing(_one_reader)),
    "PPFormulaNetForConditionalGeneration": pp_formulanet,
}
