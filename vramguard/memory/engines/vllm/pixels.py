"""The largest picture or video of Qwen's vision models in vLLM, whose limit in pixels stands beside the config.

Pictures keep their shape: they are cut into patches, of which each square of a few is one token, so that every token of
every item has as many patches. What is profiled is the largest item, of which a longer max_model_len may allow more
frames: one picture where no video is larger (multimodal/encoder_budget.py, get_modality_with_max_tokens).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.vllm.item import ONE_KERNEL, Facts, Item

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture

# Pixels of the largest picture (max_pixels or size.longest_edge of preprocessor_config.json) and, of Qwen3-VL, of all
# frames of a video (size.longest_edge of video_preprocessor_config.json), as Qwen's repositories of these classes on
# Hugging Face publish them: Qwen/Qwen2-VL-7B-Instruct and Qwen2.5-VL-7B-Instruct, Qwen/Qwen3-VL-8B-Instruct,
# Qwen/Qwen3.5-2B-Base. Patches of two frames are one, so that a video has half of its pixels in tokens.
_PIXELS_2, _PIXELS_3, _VIDEO_PIXELS_3 = 12_845_056, 16_777_216, 25_165_824
# qwen2_vl.py, _MAX_FRAMES_PER_VIDEO: 14, before 0.11 it was 16; two of them are one patch.
_FRAMES_2, _FRAMES_2_OLD, _OLD_FRAMES_2 = 7, 8, (0, 11)
_TIMESTAMPS_3: Final = (0, 13)  # qwen3_vl.py, get_max_video_tokens: before, 12.5 tokens are counted for each
_TIMED_3: Final = ("qwen3_vl", "qwen3_vl_moe")  # Qwen 3.5 came later


def _patches(facts: Facts, width: str, source: str, pixels: int, **fields: Any) -> Item:  # noqa: ANN401 - Item's
    """A tower of Qwen's kind: pictures and videos of any shape, of which merge x merge patches are one token."""
    merge, hidden = facts.size("vision_spatial_merge_size"), facts.size(width)
    patch, heads = facts.size("vision_patch_size"), facts.size("vision_num_heads")
    side = patch * merge
    tokens = pixels // side**2
    # Beside layers stand positions: cosine and sine in float32, before and after they are put in order, and whole
    # numbers of rows and columns; the states of inner layers that were merged already.
    more = 6 * -(-hidden // heads) + fields.pop("more", 0)
    return Item(
        source=f"vLLM, model_executor/models/{source} (get_max_image_tokens, get_max_video_tokens)",
        tokens=fields.pop("tokens", tokens),
        hidden=hidden,
        numbers=facts.size("vision_in_channels") * facts.size("vision_temporal_patch_size") * patch**2,
        profiled_tokens=1,
        profiled_patches=merge**2,
        patches_of_least=merge**2,
        rows_of=merge**2,
        rotates=True,
        shrinks=True,
        more=more,
        assumed=f"a picture has at most {pixels:,} pixels, {tokens:,} tokens, as the published processors of "
        f"{facts.network.model_type} have it; --mm-processor-kwargs may lower that",
        **fields,
    )


def _filmed(facts: Facts) -> int:
    """Tokens of the largest item of Qwen 2 and 2.5 VL, where the largest picture has as many pixels or fewer.

    A video has frames of the largest picture, as many as a prompt holds, one at least, and no more than a fixed number
    (qwen2_vl.py, get_num_frames_with_most_features): where pictures are smaller, more of them may be held.
    """
    tokens = _PIXELS_2 // (facts.size("vision_patch_size") * facts.size("vision_spatial_merge_size")) ** 2
    most = _FRAMES_2_OLD if facts.release < _OLD_FRAMES_2 else _FRAMES_2
    return max(tokens, min(facts.context, most * tokens))


def qwen2(facts: Facts) -> Item:
    """Qwen2-VL; its MLP has no gate, but an activation of three kernels, which keeps as much."""
    wide = facts.size("vision_embed_dim") * facts.size("vision_mlp_ratio")
    return _patches(facts, "vision_embed_dim", "qwen2_vl.py", _PIXELS_2, tokens=_filmed(facts), intermediate=wide)


def qwen2_5(facts: Facts) -> Item:
    """Qwen2.5-VL; windows of most layers are no mask, but lengths of sequences, as pictures are."""
    hidden, heads = facts.size("vision_hidden_size"), facts.size("vision_num_heads")
    return _patches(
        facts,
        "vision_hidden_size",
        "qwen2_5_vl.py and qwen2_vl.py",
        _PIXELS_2,
        tokens=_filmed(facts),
        intermediate=facts.size("vision_intermediate_size"),
        more=hidden,  # patches in the order of windows
        tabled=-(-hidden // heads),  # get_rope_by_thw: cosine and sine, of half a head each
    )


def qwen3(facts: Facts) -> Item:
    """Qwen3-VL and Qwen 3.5, which has no deepstack; UnprovenError where Qwen3-VL may run before 0.13.

    The limit of a video is of all its frames together, so that it does not grow with what a prompt holds.
    """
    if facts.release < _TIMESTAMPS_3 and facts.network.model_type in _TIMED_3:
        raise UnprovenError(
            f"the encoder of {facts.network.name} in vllm: before 0.13 its budget counts a timestamp for each token "
            "of a video, and batches of so many patches are not modelled (an engine_version from 0.13 on has fewer)"
        )
    side = facts.size("vision_patch_size") * facts.size("vision_spatial_merge_size")
    levels, hidden = levels_of(facts.network), facts.size("vision_hidden_size")
    merged = -(-levels * facts.network.hidden // facts.size("vision_spatial_merge_size") ** 2)
    return _patches(
        facts,
        "vision_hidden_size",
        "qwen3_vl.py and qwen2_vl.py",
        _PIXELS_3,
        tokens=max(_PIXELS_3 // side**2, _VIDEO_PIXELS_3 // 2 // side**2),
        intermediate=facts.size("vision_intermediate_size"),
        plain=facts.vision.get("hidden_act", "gelu_pytorch_tanh") in ONE_KERNEL,
        more=hidden + merged,  # learned positions, and what inner layers gave
        embedded=16,  # interpolation has positions of four neighbours, weighted and summed
        levels=levels,
    )


def levels_of(network: Architecture) -> int:
    """Inner layers of the tower whose outputs go into layers of the decoder (Qwen3-VL's deepstack)."""
    return max((tensor.copies for tensor in network.tensors if "deepstack_merger_list." in tensor.name), default=0)
