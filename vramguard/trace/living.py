"""The census: which storages each operation makes, and when the last reference to each goes.

A storage counts from the operation that returns it until nothing refers to it. This module must therefore keep no
tensor itself: it holds integers and names, and learns of a death from a weak reference.
"""

from __future__ import annotations

import math
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from vramguard.trace.record import Allocation, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NONZERO: Final = torch.ops.aten.nonzero.default
_DEVICE: Final = torch.ops.prim.device.default  # a question, no operation
_SCALAR: Final = torch.ops.aten._local_scalar_dense.default  # noqa: SLF001 - the name of the operation behind .item()


class _Entry:
    """One storage; `died` and `cache` are written later."""

    __slots__ = ("bytes", "cache", "died", "said")

    def __init__(self, size: int, said: tuple[tuple[int, ...], str, str, str, int]) -> None:
        self.bytes, self.said = size, said
        self.died: int | None = None
        self.cache: int | None = None

    def frozen(self) -> Allocation:
        shape, dtype, module, operator, born = self.said
        return Allocation(self.bytes, shape, dtype, module, operator, born, self.died, self.cache)


class Living(TorchDispatchMode):  # type: ignore[misc]  # mypy does not follow torch
    """Writes down the storages made under it; those that `ignore` was told of are somebody else's."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.clock = 0  # operations that have ended
        self._length = length  # of a sequence: what a number that is read off the device is taken for
        self._module = [""]
        self._entries: list[_Entry] = []
        self._alive: dict[int, _Entry | None] = {}  # by the storage's address; None for those of others

    def ignore(self, tensors: Iterable[torch.Tensor]) -> None:
        """Take the storages of weights and buffers, which live on, for somebody else's."""
        for tensor in tensors:
            self._alive[tensor.untyped_storage()._cdata] = None  # noqa: SLF001 - the storage's address

    def count(self, tensors: Any, operator: str) -> None:  # noqa: ANN401 - any tree of tensors
        """Write down the storages among `tensors` that are new, as made by `operator` now."""
        for tensor in tree_iter(tensors):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor, operator)

    def hold(self, layer: int, tensor: torch.Tensor) -> None:
        """Write down that the cache's layer holds this tensor's storage."""
        entry = self._alive.get(tensor.untyped_storage()._cdata)  # noqa: SLF001
        if entry is not None and entry.cache is None:
            entry.cache = layer

    def finished(self) -> Trace:
        """What was seen so far; what is still alive stays so in it."""
        return Trace(tuple(entry.frozen() for entry in self._entries if entry.bytes), self.clock)

    @contextmanager
    def naming(self, names: Mapping[int, str]) -> Iterator[None]:
        """Know the module that is running; `names` by identity. The hooks pass tensors by and keep none."""

        def enter(module: torch.nn.Module, _inputs: object) -> None:
            self._module.append(names.get(id(module), self._module[-1]))

        def leave(_module: torch.nn.Module, _inputs: object, _output: object) -> None:
            self._module.pop()

        handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._module = [""]

    def _count(self, tensor: torch.Tensor, operator: str) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, int(storage.nbytes())  # noqa: SLF001
        if key in self._alive:
            entry = self._alive[key]
            if entry is None or entry.bytes == size:
                return
            self._forget(key, entry)  # resized in place: the allocator sees a new block
        dtype = str(tensor.dtype).removeprefix("torch.")
        entry = _Entry(size, (tuple(map(int, tensor.shape)), dtype, self._module[-1], operator, self.clock))
        self._entries.append(entry)
        self._alive[key] = entry
        weakref.finalize(storage, self._forget, key, entry)

    def _forget(self, key: int, entry: _Entry) -> None:
        if self._alive.get(key) is entry:
            del self._alive[key]
            entry.died = self.clock

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's signature
        if function is _DEVICE:
            return function(*args, **(kwargs or {}))
        result = self._worst(function, args)
        if result is None:
            result = function(*args, **(kwargs or {}))
        self.count(result, str(function))
        self.clock += 1
        return result

    def _worst(self, function: Any, args: Any) -> Any:  # noqa: ANN401 - torch's types
        """The answer that allocates most, where an operation's shape or value hangs on data, which there is none of."""
        if function is _NONZERO:
            tensor = args[0]
            rows = math.prod(tensor.shape)
            return tensor.new_empty((rows, tensor.dim()), dtype=torch.long)
        if function is _SCALAR and getattr(args[0], "constant", None) is None:
            return False if args[0].dtype is torch.bool else args[0].dtype.itemsize and self._length
        return None
