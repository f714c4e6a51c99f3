"""Towers that timm builds by name: only the architectures whose weights were compared with timm's own (1.0.31).

A config may pass arguments on to timm; those that were not compared are UNKNOWN by their names.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    buffer,
    convolution,
    layer_norm,
    linear,
    norm,
    parameter,
    plain_mlp,
    within,
)
from vramguard.memory.families.fields import MAX_LAYERS, MAX_SIZE, shown
from vramguard.memory.families.towers import dense, two_linears

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.fields import Fields


def timm(c: Fields) -> Body:
    """What transformers wraps of timm: the architecture by its name."""
    name = c.text("architecture")
    if name not in _ARCHITECTURES:
        raise UnprovenError(f"config: {c.path}architecture {shown(name)} is a model of timm's that is not supported")
    build: Bodies = _ARCHITECTURES[name]
    return build(c).within("timm_model")


def _arguments(c: Fields) -> dict[str, Any]:
    """What the config passes on to timm."""
    given = {} if c.is_null("model_args") else c.raw("model_args")
    if not isinstance(given, dict):
        raise UnprovenError(f"config: {c.path}model_args is {shown(given)}, not an object")
    return given


def _exactly(c: Fields, **arguments: object) -> None:
    if (given := _arguments(c)) != arguments:
        raise UnprovenError(f"config: {c.path}model_args is {shown(given)}, which is not supported")


def _listed(name: str, blocks: Iterable[Block]) -> Block:
    """Blocks that a stage keeps in one list, equal weights counted."""
    counted = Counter(tensor for block in blocks for tensor in block.tensors)
    return Block(within(name, tuple(tensor._replace(copies=n) for tensor, n in counted.items())))


def _depthwise(name: str, channels: int, kernel: int, *, bias: bool = False) -> Tensors:
    return convolution(name, (channels, 1, kernel, kernel), bias=bias)


def _pointwise(name: str, inputs: int, outputs: int, *, bias: bool = False) -> Tensors:
    return convolution(name, (outputs, inputs, 1, 1), bias=bias)


# MobileNet V5, which Gemma 3n has


class _Edge(NamedTuple):
    """Convolution that widens, and one that narrows."""

    widening: int

    def block(self, inputs: int, outputs: int) -> Block:
        wide = self.widening * inputs
        widens = (*convolution("conv_exp", (wide, inputs, 3, 3)), *norm("bn1", wide))
        return Block((*widens, *_pointwise("conv_pwl", wide, outputs), *norm("bn2", outputs)))


class _Inverted(NamedTuple):
    """Universal inverted residual; a kernel of 0 leaves its depthwise convolution out."""

    start: int
    middle: int
    widening: int

    def block(self, inputs: int, outputs: int, *, scaled: bool = True) -> Block:
        wide = self.widening * inputs
        first = within("dw_start", _depthwise("conv", inputs, self.start), norm("bn", inputs)) if self.start else ()
        middle = within("dw_mid", _depthwise("conv", wide, self.middle), norm("bn", wide)) if self.middle else ()
        widens = within("pw_exp", _pointwise("conv", inputs, wide), norm("bn", wide))
        narrows = within("pw_proj", _pointwise("conv", wide, outputs), norm("bn", outputs))
        scale = parameter("layer_scale.gamma", outputs) if scaled else ()
        return Block((*first, *widens, *middle, *narrows, *scale))


class _Attends(NamedTuple):
    """Attention with one head of keys and of values, of which a convolution may leave fewer."""

    heads: int
    head_dim: int
    fewer_keys: bool = False

    def block(self, inputs: int, outputs: int) -> Block:
        less = (*_depthwise("down_conv", inputs, 3), *norm("norm", inputs)) if self.fewer_keys else ()
        one = (*less, *_pointwise("proj", inputs, self.head_dim))
        query = self.heads * self.head_dim
        attends = within(
            "attn",
            _pointwise("query.proj", inputs, query),
            within("key", one),
            within("value", one),
            _pointwise("output.proj", query, outputs),
        )
        return Block((*norm("norm", inputs), *attends, *parameter("layer_scale.gamma", outputs)))


# Stages: what each makes its channels, and its blocks.
_STEM: Final = 64
_STAGES: Final[tuple[tuple[int, tuple[_Edge | _Inverted | _Attends, ...]], ...]] = (
    (128, (_Edge(4),) * 3),
    (256, (_Inverted(3, 5, 6), *(_Inverted(5, 0, 4), _Inverted(3, 0, 4)) * 2)),
    (
        640,
        (
            *(_Inverted(5, 5, 6), *[_Inverted(5, 0, 4)] * 7, _Inverted(0, 0, 1)),
            *(_Attends(12, 64, fewer_keys=True), _Inverted(0, 0, 2)) * 14,
        ),
    ),
    (1280, (_Inverted(5, 5, 6), *(_Attends(16, 96), _Inverted(0, 0, 2)) * 19)),
)
_FUSED: Final = 2048


def _mobilenet(c: Fields) -> Body:
    """MobileNet V5: convolutions, then convolutions and attention in turns; outputs of two stages are fused."""
    _exactly(c)
    channels, stages = _STEM, []
    for outputs, blocks in _STAGES:
        inputs = (channels, *[outputs] * (len(blocks) - 1))
        stages.append((_listed("*", (one.block(given, outputs) for one, given in zip(blocks, inputs, strict=True))),))
        channels = outputs
    stem = within("conv_stem", convolution("conv", (_STEM, 3, 3, 3), bias=True), norm("bn", _STEM))
    (third, _), (fourth, _) = _STAGES[-2:]
    fusion = _Inverted(0, 0, 2).block(third + fourth, _FUSED, scaled=False).tensors
    return Body(_FUSED, (Stack("blocks", stages),), (*stem, *within("msfa.ffn", fusion), *norm("msfa.norm", _FUSED)))


# FastViT, which FastVLM has


class _Stage(NamedTuple):
    channels: int
    depth: int
    attends: bool = False


_MCI3: Final = (
    _Stage(96, 2),
    _Stage(192, 12),
    _Stage(384, 24),
    _Stage(768, 4, attends=True),
    _Stage(1536, 2, attends=True),
)


def _fastvit(c: Fields) -> Body:
    """FastViT as it is after training, its branches merged: convolutions that mix, in the last stages attention."""
    _exactly(c, inference_mode=True)
    first, last = _MCI3[0].channels, _MCI3[-1].channels
    wide = 2 * last
    stem = (
        convolution("reparam_conv", (first, 3, 3, 3), bias=True),
        _depthwise("reparam_conv", first, 3, bias=True),
        _pointwise("reparam_conv", first, first, bias=True),
    )
    stages = [(*((_between(one),) if number else ()), _mixes(one)) for number, one in enumerate(_MCI3)]
    last_convolution = within(
        "final_conv",
        _pointwise("se.fc1", wide, wide // 16, bias=True),
        _pointwise("se.fc2", wide // 16, wide, bias=True),
        _depthwise("reparam_conv", wide, 3, bias=True),
    )
    stacks = (Stack("stem", [(Block(one),) for one in stem]), Stack("stages", stages))
    return Body(wide, stacks, last_convolution)


def _between(stage: _Stage) -> Block:
    """What halves the picture before a stage, and tells attention where it is."""
    halves = (
        *_depthwise("downsample.proj.*.reparam_conv", stage.channels, 7, bias=True),
        *_pointwise("downsample.proj.*.reparam_conv", stage.channels, stage.channels, bias=True),
    )
    where = _depthwise("pos_emb.reparam_conv", stage.channels, 7, bias=True) if stage.attends else ()
    return Block((*halves, *where))


def _mixes(stage: _Stage) -> Block:
    """The blocks of a stage."""
    return _listed("blocks.*", _mixer(stage) * stage.depth)


def _mixer(stage: _Stage) -> Layer:
    channels = stage.channels
    mlp = plain_mlp(
        (*_depthwise("conv.conv", channels, 7), *norm("conv.bn", channels, bias=True)),
        (
            *_pointwise("fc1", channels, 4 * channels, bias=True),
            *_pointwise("fc2", 4 * channels, channels, bias=True),
        ),
    )
    if not stage.attends:
        mixer = _depthwise("token_mixer.reparam_conv", channels, 3, bias=True)
        return Block((*mixer, *parameter("layer_scale.gamma", channels, 1, 1))), mlp
    attends = (*linear("qkv", channels, 3 * channels), *dense("proj", channels, channels))
    scales = (tensor for number in (1, 2) for tensor in parameter(f"layer_scale_{number}.gamma", channels, 1, 1))
    return layer_norm("norm", channels), Block((*within("token_mixer", attends), *scales)), mlp


# Perception Encoder, which PerceptionLM has


class _Encoder(NamedTuple):
    """What the name of an architecture says: a width of the MLP for each width of the tower."""

    mlp: float
    has_class_token: bool


_PATCH, _HEADS = 14, 16
_LARGE: Final = _Encoder(4.0, has_class_token=True)
_GIGANTIC: Final = _Encoder(8960 / 1536, has_class_token=False)
_TAKEN: Final = {"embed_dim", "depth", "img_size", "global_pool", "init_values", "use_post_transformer_norm"}


def perception_width(c: Fields) -> int:
    """Width of the tower, which PerceptionLM reads from what is passed on to timm."""
    return _whole(c, "embed_dim", MAX_SIZE)


def _whole(c: Fields, key: str, limit: int) -> int:
    value: object = _arguments(c).get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise UnprovenError(f"config: {c.path}model_args.{key} is {shown(value)}, not between 1 and {limit}")
    return value


def _perceives(c: Fields, encoder: _Encoder) -> Body:
    """Perception Encoder without the head that pools: scaled layers, learned positions and rotary ones."""
    hidden, patches = perception_width(c), _patches(c)
    if hidden % (4 * _HEADS):  # a quarter of each head for sine and cosine of either axis
        raise UnprovenError(f"config: {c.path}model_args.embed_dim {hidden} is no multiple of {4 * _HEADS}")
    layer: Layer = (
        *(layer_norm(f"norm{number}", hidden) for number in (1, 2)),
        Block(within("attn", dense("qkv", hidden, 3 * hidden), dense("proj", hidden, hidden))),
        two_linears(hidden, int(hidden * encoder.mlp)),
        Block((*parameter("gamma_1", hidden), *parameter("gamma_2", hidden))),
    )
    outside = (
        *(parameter("cls_token", 1, 1, hidden) if encoder.has_class_token else ()),
        *parameter("pos_embed", 1, patches + encoder.has_class_token, hidden),
        *convolution("patch_embed.proj", (hidden, 3, _PATCH, _PATCH)),
        *norm("norm_pre", hidden, bias=True),
    )
    rotary = buffer("rope.pos_embed", patches, 2 * hidden // _HEADS)
    return Body(hidden, (Stack("blocks", [layer] * _whole(c, "depth", MAX_LAYERS)),), outside, rotary)


def _patches(c: Fields) -> int:
    """Patches of a picture; refuses what would give the tower a head, or other layers."""
    given = _arguments(c)
    if unknown := sorted({*given} - {*_TAKEN, "ref_feat_shape"}):  # the last scales positions and shapes nothing
        raise UnprovenError(f"config: {c.path}model_args.{unknown[0][:40]} is not supported")
    if given.get("global_pool") != "" or given.get("use_post_transformer_norm") is not False:
        raise UnprovenError(f"config: {c.path}model_args asks for a head or a last norm, which is not supported")
    if not isinstance(scale := given.get("init_values"), float) or not scale:
        raise UnprovenError(f"config: {c.path}model_args.init_values is {shown(scale)}, which is not supported")
    sides = given.get("img_size")
    if not isinstance(sides, list) or len(sides) != 2 or not all(type(side) is int for side in sides):  # noqa: PLR2004
        raise UnprovenError(f"config: {c.path}model_args.img_size is {shown(sides)}, not two sizes")
    if not all(_PATCH <= side <= MAX_SIZE for side in sides):
        raise UnprovenError(f"config: {c.path}model_args.img_size {shown(sides)} holds no patch of {_PATCH}")
    high, wide = (int(side) // _PATCH for side in sides)
    return high * wide


_ARCHITECTURES: Final = {
    "mobilenetv5_300m_enc": _mobilenet,
    "fastvit_mci3": _fastvit,
    "vit_pe_core_large_patch14_336": lambda c: _perceives(c, _LARGE),
    "vit_pe_core_gigantic_patch14_448": lambda c: _perceives(c, _GIGANTIC),
}
BODIES: Final = {"timm_wrapper": timm, "gemma3n_vision": timm}
