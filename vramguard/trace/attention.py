"""Attention as CUDA's kernels compute it, where PyTorch's CPU has no fused kernel but a GPU has.

Keys and values of different widths (multi-head latent attention) are computed score by score on the CPU, in n x n
floats that no GPU allocates: CUDA's memory-efficient kernel takes them. (PyTorch 2.13,
aten/src/ATen/native/transformers/sdp_utils_cpp.h: check_head_dim_size_cpp; cuda/sdp_utils.cpp:
check_head_dim_size_mem_efficient.)
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALIGNED: Final = 16  # bytes of a row of queries, keys or values that the kernel needs to be aligned


@contextmanager
def fused() -> Iterator[set[int]]:
    """Replace torch's scaled_dot_product_attention while a pass is traced; yields for how many heads masks were."""
    plain = torch.nn.functional.scaled_dot_product_attention
    masks: set[int] = set()

    def attention(  # noqa: PLR0913, PLR0917 - torch's signature
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,  # noqa: FBT001, FBT002
        scale: float | None = None,
        enable_gqa: bool = False,  # noqa: FBT001, FBT002
    ) -> torch.Tensor:
        if attn_mask is not None:
            masks.add(attn_mask.shape[-3] if attn_mask.dim() > 2 else 1)  # noqa: PLR2004 - rows and columns
        if enable_gqa or not _only_on_cuda(query, key, value):
            named: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
            return plain(query, key, value, attn_mask, dropout_p, is_causal, **named)
        bias = attn_mask
        if attn_mask is not None:
            bias = query.new_zeros(attn_mask.shape) if attn_mask.dtype is torch.bool else attn_mask
            bias = bias.expand(*query.shape[:-1], key.shape[-2])
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention  # noqa: SLF001
        return kernel(query, key, value, bias, False, dropout_p, is_causal, scale=scale)[0]

    torch.nn.functional.scaled_dot_product_attention = attention
    try:
        yield masks
    finally:
        torch.nn.functional.scaled_dot_product_attention = plain


def _only_on_cuda(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether CUDA's memory-efficient kernel takes what no kernel of the CPU does."""
    if query.shape[-1] == value.shape[-1] or query.dim() != 4 or key.shape[1] != query.shape[1]:  # noqa: PLR2004
        return False
    return all(width * query.dtype.itemsize % _ALIGNED == 0 for width in (query.shape[-1], value.shape[-1]))
