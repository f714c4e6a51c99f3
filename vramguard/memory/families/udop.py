"""UDOP reads words, where they stand on the page, and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Network, convolution, embedding, within
from vramguard.memory.families.fields import shown
from vramguard.memory.families.seq2seq import refuse_one_sided
from vramguard.memory.families.t5 import t5
from vramguard.memory.families.towers_intern import sides

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields


def udop(c: Fields) -> Network:
    """UDOP: T5 that knows where on the page a word stands; weights of its two sides are always tied."""
    refuse_one_sided(c)
    hidden, (tall, wide) = c.size("d_model"), sides(c, "patch_size")
    patches = convolution("proj", (hidden, c.size("num_channels"), tall, wide), bias=True)
    axes = (embedding(f"{axis}_position_embeddings", c.size("max_2d_position_embeddings"), hidden) for axis in "xy")
    relative = tuple(
        t for rows in _relative(c) for t in embedding("relative_attention_bias", rows, c.size("num_heads"))
    )
    body = t5(c).beside(
        within("patch_embed", patches),
        within("decoder.embed_patches", patches),
        within("encoder.cell_2d_embedding", *axes),
        *(within(f"{side}.relative_bias.biases.*", relative) for side in ("encoder", "decoder")),
    )
    return Network(body, tied=True)


_KINDS: Final = ("1d", "horizontal", "vertical")
_BUCKETS: Final = 32  # whatever the config says of the layers' own


def _relative(c: Fields) -> list[int]:
    """Rows of each relative bias but the first, which is that of the encoder's first layer."""
    given = c.raw("relative_bias_args")
    given = [{"type": kind} for kind in _KINDS] if given is None else given
    if not isinstance(given, list) or not given:
        raise UnprovenError(f"config: relative_bias_args is {shown(given)}, not a list of biases")
    for bias in given:
        if not isinstance(bias, dict) or bias.get("type") not in _KINDS or len(bias) > 1:
            raise UnprovenError(f"config: relative_bias_args has {shown(bias)}, which is not known")
    return [_BUCKETS] * (len(given) - 1)


CLASSES: Final = {"UdopForConditionalGeneration": udop}
