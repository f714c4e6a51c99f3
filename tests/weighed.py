"""Files of weights for tests whose values matter; `weights` writes those of which only the header does."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from weights import framed

if TYPE_CHECKING:
    from collections.abc import Mapping

Stored = tuple[str, tuple[int, ...], bytes]  # dtype, shape, bytes


def stored(tensors: Mapping[str, Stored]) -> bytes:
    """A safetensors file of these tensors, in this order."""
    header: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(raw)]}
        end += len(raw)
    return framed(json.dumps(header).encode(), b"".join(raw for _, _, raw in tensors.values()))


def floats(*values: float, code: str = "f") -> bytes:
    """Numbers as `struct` packs them, the lowest byte first."""
    return struct.pack(f"<{len(values)}{code}", *values)


def f32(*values: float) -> Stored:
    """A row of float32."""
    return "F32", (len(values),), floats(*values)


def gguf_of(tensors: Mapping[str, tuple[int, tuple[int, ...], bytes]], *, order: str = "<") -> bytes:
    """A GGUF file of these tensors: the number of the type in ggml, the shape as PyTorch has it, the bytes."""
    infos, data = b"", b""
    for name, (kind, shape, raw) in tensors.items():
        infos += struct.pack(f"{order}Q", len(name)) + name.encode()
        infos += struct.pack(f"{order}I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    head = b"GGUF" + struct.pack(f"{order}IQQ", 3, len(tensors), 0) + infos
    return head + bytes(-len(head) % 32) + data
