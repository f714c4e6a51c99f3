"""The census: which storages each operation makes, and when the last reference to each goes.

A storage counts from the operation that returns it until nothing refers to it. This module must therefore keep no
tensor itself: it holds integers and names, and learns of a death from a weak reference.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_iter

from vramguard.trace.record import Allocation, Trace, TraceError
from vramguard.trace.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_OPERATIONS: Final = 1_000_000  # some minutes' worth; a pass of whole tensors has thousands


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


class Living(Values):
    """Writes down the storages made under it; those that `ignore` was told of are somebody else's."""

    def __init__(self, tokens: int, length: int) -> None:
        super().__init__(tokens, length)
        self.clock = 0  # operations that have ended
        self._module = [""]  # names of the running modules, outermost first
        self._experts: set[str] = set()
        self._weights: list[int] = []
        self._entries: list[_Entry] = []
        self._alive: dict[int, _Entry | None] = {}  # by the storage's address; None for those of others

    def ignore(self, tensors: Iterable[torch.Tensor]) -> None:
        """Take the storages of weights and buffers, which live on, for somebody else's."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._alive:  # noqa: SLF001 - the storage's address
                self._alive[storage._cdata] = None  # noqa: SLF001
                self._weights.append(int(storage.nbytes()))
                # A table of positions that grows is replaced: its address may be that of an activation then.
                weakref.finalize(storage, self._alive.pop, storage._cdata, None)  # noqa: SLF001

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
        made = tuple(entry.frozen() for entry in self._entries if entry.bytes)
        return Trace(made, self.clock, tuple(self._weights), assumed=tuple(self.assumed))

    def place(self) -> str:
        """Qualified name of the running module."""
        return self._module[-1]

    def seen(self, result: Any, operator: str) -> None:  # noqa: ANN401 - any tree of tensors
        """Count what an operation returned; it has ended then."""
        self.count(result, operator)
        self.clock += 1
        if self.clock > MOST_OPERATIONS:
            raise TraceError(f"more than {MOST_OPERATIONS} operations: the pass reads its tokens one by one")

    def rows(self, tensor: torch.Tensor) -> int:
        """A loop over experts asks which (choice, token) pairs are an expert's: every token may choose it, but once."""
        chosen = tensor.dim() == 2 and self._module[-1] in self._experts  # noqa: PLR2004
        return tensor.shape[-1] if chosen else super().rows(tensor)

    @contextmanager
    def naming(self, model: torch.nn.Module) -> Iterator[None]:
        """Know which module of a model is running. The hooks pass tensors by and keep none."""
        names = {id(module): name for name, module in model.named_modules()}
        self._experts = {name for name, module in model.named_modules() if "expert" in type(module).__name__.lower()}

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
