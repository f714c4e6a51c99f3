"""GIT: a BERT-like decoder that reads, before its text, what a CLIP-like tower sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    buffer,
    convolution,
    embedding,
    named_attention,
    parameter,
    within,
)
from vramguard.memory.families.decoder import even_heads, headed
from vramguard.memory.families.encoder import PROJECTIONS, bert_layer, dense, embeddings, encoder, layer_norm

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields


def git(c: Fields) -> Body:
    """GIT: BERT's layers and tables, a tower, and a projection; frames of a video have a vector each."""
    attention = named_attention(even_heads(c), PROJECTIONS)
    tables = embeddings(c, types=False)
    text = encoder(c, [bert_layer(c, attention=attention)] * c.layers, tables, buffers=("position_ids",))
    vision = c.part("vision_config")
    seen, frames = vision.size("hidden_size"), c.optional("num_image_with_embedding")
    path = "visual_projection.visual_projection.*"
    projection = (*dense(path, seen, text.hidden), *layer_norm(path, text.hidden))
    times = parameter("img_temporal_embedding.*", 1, 1, seen)
    moments = tuple(tensor._replace(copies=frames) for tensor in times) if frames else ()
    return text.beside(git_vision(vision).within("image_encoder"), projection, moments)


def git_vision(c: Fields) -> Body:
    """GIT's tower: CLIP's, with the norm before its layers misspelt as CLIP has it."""
    heads, size, width = even_heads(c), c.size("patch_size"), c.size("intermediate_size")
    hidden, positions = heads.hidden, (c.size("image_size") // size) ** 2 + 1
    attention = named_attention(heads, ("q_proj", "k_proj", "v_proj", "out_proj"))
    layer = (
        Block(layer_norm("layer_norm1", hidden)),
        Block(within("self_attn", attention.tensors)),
        Block(layer_norm("layer_norm2", hidden)),
        Block(within("mlp", dense("fc1", hidden, width), dense("fc2", width, hidden))),
    )
    tables = within(
        "embeddings",
        parameter("class_embedding", hidden),
        convolution("patch_embedding", (hidden, c.size("num_channels"), size, size)),
        embedding("position_embedding", positions, hidden),
    )
    outside = (*tables, *layer_norm("pre_layrnorm", hidden), *layer_norm("post_layernorm", hidden))
    ids = buffer("embeddings.position_ids", 1, positions, item=8)
    return Body(hidden, (Stack("encoder.layers", [layer] * c.layers),), outside, ids).within("vision_model")


def git_lm(c: Fields) -> Network:
    """GIT's head."""
    return headed(c, git(c).within("git"), "output", bias=True)


BODIES: Final = {"git": git, "git_vision_model": git_vision}
CLASSES: Final = {"GitForCausalLM": git_lm}
