"""Granite's models that see: what the tower's inner layers saw goes into several layers of the text model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import Body, buffer, linear, norm, parameter, within
from vramguard.memory.families.fields import MAX_LAYERS, shown
from vramguard.memory.families.llama import llama
from vramguard.memory.families.sight import Names, answers, overlaid, seeing
from vramguard.memory.families.towers import dense, patches, siglip_layers

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields

SPATIAL: Final = 4  # projectors of Granite 4 Vision for the four quarters of a window


def _windows(c: Fields, hidden: int) -> Tensors:
    """Granite 4 Vision: a Q-Former for each layer of the tower that is listed, and four for parts of a window."""
    vision, listed = c.part("vision_config"), c.raw("deepstack_layer_map")
    if not isinstance(listed, list) or len(listed) > MAX_LAYERS:
        raise UnprovenError(f"config: deepstack_layer_map is {shown(listed)}, not a list")
    seen = vision.size("hidden_size")
    asks = overlaid(c, "qformer_config", hidden_size=seen, num_attention_heads=seen // 64, encoder_hidden_size=seen)
    query_side, window_side = _downsampling(c)
    projector = (
        *body_of(asks).within("qformer").tensors,
        *norm("norm", seen, bias=True),
        *parameter("query", 1, query_side**2, seen),
        *parameter("image_positions", 1, window_side**2, seen),
        *dense("out_linear", seen, hidden),
    )
    return (
        *parameter("image_newline", hidden),
        *_copied("layerwise_projectors", projector, len(listed)),
        *_copied("spatial_projectors", projector, SPATIAL),
    )


def _downsampling(c: Fields) -> tuple[int, int]:
    """Sides of the square of queries and of the window that it stands for, written as "4/8"."""
    sides = c.text("downsample_rate").split("/")
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= MAX_LAYERS for side in sides):  # noqa: PLR2004
        raise UnprovenError(f"config: downsample_rate is {shown(c.text('downsample_rate'))}, not two sides as 4/8")
    return int(sides[0]), int(sides[1])


def _copied(name: str, tensors: Tensors, copies: int) -> Tensors:
    """Weights of a list of equal modules."""
    each = within(f"{name}.*", tensors)
    return tuple(t._replace(copies=t.copies * copies, layers=()) for t in each) if copies else ()


def docling_vision(c: Fields) -> Body:
    """Granite Docling's tower: SigLIP's layers, and inside it the connector, on a coarse and a fine path."""
    hidden, outputs, scale = c.size("hidden_size"), c.size("out_hidden_size"), c.size("scale_factor")
    paths = {"coarse": scale, "fine": scale // 2} if c.flag("use_fine_route") else {"coarse": scale}
    if not all(paths.values()):
        raise UnprovenError(f"config: {c.path}scale_factor is 1, and use_fine_route halves it")
    connector = (
        *norm("ln_in", hidden, bias=True),
        *(tensor for name, factor in paths.items() for tensor in within(name, _path(c, factor))),
        *norm("ln_mid", outputs, bias=True),
        *linear("mlp_fc2", outputs, outputs),
        *norm("ln_out", outputs, bias=True),
    )
    side = c.size("image_size") // c.size("patch_size")
    tables = (buffer(f"connector.{name}.pos_embed.pos_embed", (side // n) ** 2, outputs) for name, n in paths.items())
    buffers = (
        *buffer("embeddings.position_ids", 1, patches(c), item=8),
        *(tensor for table in tables for tensor in table),
    )
    return siglip_layers(c).beside(within("connector", connector), Body(0, buffers=buffers))


def _path(c: Fields, factor: int) -> Tensors:
    """A square of patches side by side; and one projector for each inner layer that the text model is told of."""
    inputs, outputs = c.size("hidden_size") * factor**2, c.size("out_hidden_size")
    told = 3 if c.is_null("deepstack_visual_indexes") else len(c.integers("deepstack_visual_indexes"))
    merger = (
        *norm("layer_norm", inputs, bias=True),
        *dense("linear_1", inputs, outputs),
        *dense("linear_2", outputs, outputs),
    )
    return (*linear("projection", inputs, outputs), *_copied("deepstack_mergers", merger, told))


def _router(c: Fields, hidden: int) -> Tensors:
    """Granite Docling: the connector stands in the tower; beside it there may be a router that picks its path."""
    vision = c.part("vision_config")
    if vision.size("out_hidden_size") != hidden:
        raise UnprovenError(f"config: {vision.path}out_hidden_size is not the text's hidden_size {hidden}")
    width = c.optional("density_router_hidden_size")
    if width is None:
        return ()
    if not vision.flag("use_fine_route"):
        raise UnprovenError(f"config: density_router_hidden_size is given, but {vision.path}use_fine_route is false")
    seen = vision.size("hidden_size")
    router = (
        *dense("att", seen, 1),
        *norm("norm", seen, bias=True),
        *dense("fc1", seen, width),
        *dense("fc2", width, 1),
    )
    return within("density_router", router)


DOCLING: Final = Names("text_model", "vision_model")
BODIES: Final = {
    "granite_docling_vision": docling_vision,
    **dict.fromkeys(("granite_docling_text", "granite4_vision_text"), llama),
}
CLASSES: Final = {
    "Granite4VisionForConditionalGeneration": answers(seeing(_windows)),
    "GraniteDoclingForConditionalGeneration": answers(seeing(_router, DOCLING), DOCLING.text),
}
