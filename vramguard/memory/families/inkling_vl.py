"""Inkling and Inkling 2 with what they see and hear: a pyramid of projections, a tower with layer scales, codes."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import ceil, log, prod
from operator import mul
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    embedding,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.sight import answers
from vramguard.memory.families.towers import attends, hidden_of, two_linears

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.families.fields import Fields

# 2


def inkling2_vision(c: Fields) -> Body:
    """Inkling 2's tower: a class token, a grid of positions, layer scales, and a merger of neighbouring patches."""
    hidden, output, bias = hidden_of(c), c.size("text_hidden_size"), c.flag("projector_bias")
    width = c.optional("intermediate_size") or int(hidden * c.ratio("mlp_ratio"))
    layer = (
        layer_norm("layernorm_before", hidden),
        Block(within("self_attn", attends(hidden))),
        layer_norm("layernorm_after", hidden),
        two_linears(hidden, width),
        Block((*parameter("lambda_1", hidden), *parameter("lambda_2", hidden))),
    )
    wide, middle = c.size("spatial_merge_size") ** 2 * hidden, c.size("projection_hidden_dim")
    outside = (
        *within(
            "embeddings",
            linear("patch_embedding", c.size("num_channels") * c.size("patch_size") ** 2, hidden),
            embedding("position_embedding", c.size("posemb_grid_size") ** 2, hidden),
            parameter("class_embedding", hidden),
            parameter("cls_position_embedding", hidden),
        ),
        *norm("pre_layernorm", hidden, bias=True),
        *linear("merger.linear_1", wide, middle, bias=bias),
        *linear("merger.linear_2", middle, output, bias=bias),
    )
    return Body(output, (Stack("layers", [layer] * c.layers),), outside)


def inkling2(c: Fields) -> Body:
    """Inkling 2 and its tower, whose output must be as wide as the text."""
    text, tower = body_of(c.part("text_config")), body_of(c.part("vision_config"))
    if tower.hidden != text.hidden:
        raise UnprovenError("config: vision_config.text_hidden_size differs from text_config.hidden_size")
    return text.within("language_model").beside(tower.within("vision_tower"))


# 1


class _Scale(NamedTuple):
    """How many frames, rows and columns one vector stands for, and how wide it is."""

    frames: int
    side: int
    width: int


def _pyramid(c: Fields, hidden: int) -> Body:
    """Inkling's eyes: projections only, each of which may join neighbours in space and then in time."""
    scales = [*_scales(c)]
    layers = []
    for number, (before, after) in enumerate(pairwise(scales), 1):
        joined = after.frames // before.frames * (after.side // before.side) ** 2
        if number < len(scales) - 1:
            tensors = (*linear("projection", before.width * joined, after.width), *norm("layer_norm", after.width))
        else:
            tensors = linear("projection", before.width * joined, hidden)
        layers.append((Block(tensors),))
    return Body(hidden, (Stack("encoder_layers", layers),), norm("final_norm", hidden))


def _scales(c: Fields) -> Iterator[_Scale]:
    """Scale before each layer and after the last: of the possible ones the nearest to an even growth.

    The first and the last are given. With fewer layers than scales transformers solves an assignment with scipy.
    """
    possible, layers = _possible(c), c.layers
    if layers < len(possible):
        raise UnprovenError(f"config: {c.path}num_hidden_layers {layers} is less than {len(possible)} possible scales")
    total = log(c.size("patch_size") ** 2 * c.size("temporal_patch_size") * c.size("num_channels"))
    yield possible[0]
    for number in range(1, layers):
        costs = [abs(total * number / layers - log(s.frames * s.side**2)) for s in possible]
        nearest = sorted(costs)[:2]
        if nearest[1] - nearest[0] < 1e-4:  # noqa: PLR2004 - transformers compares numbers of single precision
            raise UnprovenError(f"config: {c.path}num_hidden_layers {layers} is between two scales")
        yield possible[costs.index(nearest[0])]
    yield possible[-1]


def _possible(c: Fields) -> list[_Scale]:
    channels = c.size("num_channels")
    sides = [*accumulate(_factors(c.size("patch_size")), mul)]
    frames = [*accumulate(_factors(c.size("temporal_patch_size")), mul)]
    if not sides or not frames:
        raise UnprovenError(f"config: {c.path}patch_size or temporal_patch_size is 1")
    space = [_Scale(1, side, ceil(side**2 * channels / 64) * 64) for side in sides]
    time = [_Scale(count, sides[-1], sides[-1] ** 2 * channels * count * 64) for count in frames]
    return [_Scale(1, 1, channels), *space, *time]


def _factors(number: int) -> list[int]:
    """Prime factors, the largest first."""
    if number > 10_000:  # noqa: PLR2004 - no patch is as large
        raise UnprovenError(f"config: a patch of {number} is not supported")
    found, factor = [], 2
    while number > 1:
        if number % factor:
            factor += 1
        else:
            found.append(factor)
            number //= factor
    return found[::-1]


def inkling(c: Fields) -> Body:
    """Inkling: both towers give what is as wide as the text, whatever their own configs say."""
    text, audio = body_of(c.part("text_config")), c.part("audio_config")
    codes = prod(audio.size(key) for key in ("n_mel_bins", "mel_vocab_size"))
    ear = (*embedding("embed_audio_tokens.embed_audio_tokens", codes, text.hidden), *norm("norm", text.hidden))
    eyes = _pyramid(c.part("vision_config"), text.hidden)
    return text.within("language_model").beside(eyes.within("vision_tower"), within("audio_tower", ear))


BODIES: Final = {"inkling2_vision": inkling2_vision}
CLASSES: Final = {
    "Inkling2ForConditionalGeneration": answers(inkling2, tie=lambda _: False),
    "InklingForConditionalGeneration": answers(inkling, tie=lambda _: False),
}
