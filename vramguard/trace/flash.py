"""A stand-in for the package flash_attn: allocates what its forward returns, computes nothing.

transformers' own code around it (unpadding, padding, masks) runs as it is: only the two kernels are replaced.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import torch
from transformers import AttentionInterface, AttentionMaskInterface, modeling_flash_attention_utils
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.masking_utils import flash_attention_mask

FLASH: Final = "vramguard_flash_attention"  # transformers takes every name with "flash" in it for a flash kernel


def _dense(  # noqa: PLR0913, PLR0917 - flash_attn_func's signature, by which transformers finds what it supports
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,  # noqa: FBT001, FBT002
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    deterministic: bool = False,  # noqa: FBT001, FBT002
) -> torch.Tensor:
    """flash_attn_func: the output, and the logarithms of the sums in float32, which die with the call."""
    del k, dropout_p, softmax_scale, causal, window_size, softcap, deterministic
    batch, tokens, heads, _ = q.shape
    output = q.new_empty(batch, tokens, heads, v.shape[-1])
    q.new_empty(batch, heads, tokens, dtype=torch.float32)
    return output


def _ragged(  # noqa: PLR0913, PLR0917 - flash_attn_varlen_func's signature
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,  # noqa: FBT001, FBT002
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    deterministic: bool = False,  # noqa: FBT001, FBT002
) -> torch.Tensor:
    """flash_attn_varlen_func: sequences of different lengths, laid end to end."""
    del k, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k
    del dropout_p, softmax_scale, causal, window_size, softcap, deterministic
    total, heads, _ = q.shape
    output = q.new_empty(total, heads, v.shape[-1])
    q.new_empty(heads, total, dtype=torch.float32)
    return output


def standing_in(module: str) -> None:
    """Make the stand-in known to transformers under the name FLASH, and to the module of the class that runs."""
    AttentionInterface.register(FLASH, flash_attention_forward)
    AttentionMaskInterface.register(FLASH, flash_attention_mask)
    utils: Any = modeling_flash_attention_utils
    utils._flash_fn, utils._flash_varlen_fn = _dense, _ragged  # noqa: SLF001 - what lazy_import_flash_attention fills
    utils._flash_with_kvcache_fn = None  # noqa: SLF001
    utils._pad_fn, utils._unpad_fn = utils._pad_input, utils._unpad_input  # noqa: SLF001
    utils._process_flash_kwargs_fn = utils._lazy_define_process_function(_ragged)  # noqa: SLF001
    utils._process_with_kvcache_kwargs_fn = dict  # noqa: SLF001
    utils._loaded_implementation = FLASH  # noqa: SLF001
    # Older classes (falcon, gptj, gpt_neo) import this only where the package is installed.
    vars(sys.modules[module]).setdefault("_flash_attention_forward", utils._flash_attention_forward)  # noqa: SLF001
