"""Files of weights for tests, written by hand: a header in front of zeros."""

from __future__ import annotations

import json
import struct
from math import prod
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.families import architecture
from vramguard.source.safetensors import BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

Shapes = dict[str, tuple[int, ...]]

TINY: Final[dict[str, Any]] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
}


def shapes_of(config: Mapping[str, Any]) -> Shapes:
    """Every tensor that the config builds, by its full name."""
    found: Shapes = {}
    for tensor in architecture(config).tensors:
        names = [tensor.name.replace("*", str(layer), 1) for layer in tensor.layers] or [tensor.name]
        found |= dict.fromkeys(names, tensor.shape)
    return found


def safetensors(shapes: Mapping[str, tuple[int, ...]], dtype: str = "BF16", **dtypes: str) -> bytes:
    """A safetensors file; `dtypes` are those of single tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        kind = dtypes.get(name, dtype)
        begin, end = end, end + prod(shape) * BITS[kind] // 8
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}
    return framed(json.dumps(header).encode(), bytes(end))


def framed(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A header with its length in front and the data behind."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def index(files: Mapping[str, str], **metadata: Any) -> str:  # noqa: ANN401 - values of JSON
    """A `model.safetensors.index.json`: the file of each tensor."""
    return json.dumps({"metadata": metadata, "weight_map": dict(files)}, indent=1)


# What `gguf` writes: a type's number in ggml, and the bytes that so many elements take there.
F32, F16, Q8_0 = 0, 1, 8
_BLOCKS = {F32: (1, 4), F16: (1, 2), Q8_0: (32, 34)}


def gguf(
    values: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], kind: int = F32, *, order: str = "<"
) -> bytes:
    """A GGUF file; shapes are PyTorch's. Values are texts, booleans, integers, floats and lists of these."""

    def text(word: str) -> bytes:
        return struct.pack(f"{order}Q", len(word.encode())) + word.encode()

    def value(item: Any) -> tuple[int, bytes]:  # noqa: ANN401 - a value of any type
        if isinstance(item, bool):
            return 7, struct.pack("?", item)
        if isinstance(item, int):
            return 4, struct.pack(f"{order}I", item)
        if isinstance(item, float):
            return 6, struct.pack(f"{order}f", item)
        if isinstance(item, str):
            return 8, text(item)
        parts = [value(part) for part in item]
        inner = parts[0][0] if parts else 4
        return 9, struct.pack(f"{order}IQ", inner, len(parts)) + b"".join(data for _, data in parts)

    pairs = b"".join(text(key) + struct.pack(f"{order}I", value(v)[0]) + value(v)[1] for key, v in values.items())
    infos, end = b"", 0
    elements, taken = _BLOCKS[kind]
    for name, shape in tensors.items():
        infos += text(name) + struct.pack(f"{order}I{len(shape)}QIQ", len(shape), *reversed(shape), kind, end)
        size = prod(shape) // elements * taken
        end += size + -size % 32
    head = b"GGUF" + struct.pack(f"{order}IQQ", 3, len(tensors), len(values)) + pairs + infos
    return head + bytes(-len(head) % 32) + bytes(end)
