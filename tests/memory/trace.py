"""Peak of a real forward pass of transformers, without its weights and without a GPU: a witness for the bounds.

Tensors are fake CPU tensors: every operation runs with shapes only, and attention stays one operation. (On the meta
device it is decomposed, which overstates the peak by orders of magnitude.) A storage counts from the operation that
returns it until nothing refers to it.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes alive at the worst moment, weights left out; the cache is that of the end of the pass."""

    total: int
    cache: int

    @property
    def activations(self) -> int:
        """What the pass needs beside weights and a complete cache."""
        return self.total - self.cache


class _Living(TorchDispatchMode):  # type: ignore[misc]  # mypy does not follow torch
    """Counts the bytes of storages made under it; those marked before are somebody else's."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._seen: set[int] = set()

    def ignore(self, tensors: Any) -> None:  # noqa: ANN401 - any tree of tensors
        for tensor in tree_iter(tensors):
            if isinstance(tensor, torch.Tensor):
                self._seen.add(tensor.untyped_storage()._cdata)

    def count(self, tensors: Any) -> None:  # noqa: ANN401 - any tree of tensors
        for tensor in tree_iter(tensors):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.alive -= size

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's signature
        result = function(*args, **(kwargs or {}))
        self.count(result)
        return result


def peak(config: dict[str, Any], tokens: int, sequences: int = 1, *, implementation: str | None = None) -> Peak:
    """Trace a prefill of `sequences` prompts of `tokens` tokens; more than one come with a mask."""
    settings = dict(config)
    dtype = getattr(torch, settings.pop("dtype", settings.pop("torch_dtype", "bfloat16")))
    parsed = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        asked = {} if implementation is None else {"attn_implementation": implementation}
        model = AutoModelForCausalLM.from_config(parsed, dtype=dtype, **asked).eval()
        living = _Living()
        living.ignore([*model.parameters(), *model.buffers()])
        cache = DynamicCache(config=parsed)
        with living:
            ids = torch.zeros(sequences, tokens, dtype=torch.long)
            mask = torch.ones_like(ids) if sequences > 1 else None
            output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=1)
        del output
        kept = [tensor.untyped_storage() for layer in cache.layers for tensor in (layer.keys, layer.values)]
        return Peak(living.peak, sum(storage.nbytes() for storage in kept))
