"""Values beside fake tensors: what a pass computes from its token ids and constants alone is computed for real.

A fake tensor has a shape and no values, but transformers' code looks at some: positions, the rows of a mask, rates of
a schedule. Small results of operations whose inputs are all known are therefore computed beside the fake ones. What
hangs on weights or hidden states stays unknown; where the code branches on it, the answer that allocates most is
assumed, and said.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ATEN: Final = torch.ops.aten
_SCALAR: Final = _ATEN._local_scalar_dense.default  # noqa: SLF001 - what .item() and bool() call
_NONZERO: Final = _ATEN.nonzero.default
_INDEX: Final = _ATEN.index.Tensor
_SPLIT: Final = _ATEN.split_with_sizes.default
_GROUPED: Final = _ATEN._grouped_mm.default  # noqa: SLF001
_ALIGNED: Final = 16  # bytes of which its rows are a multiple
_QUESTIONS: Final = frozenset({torch.ops.prim.device.default})  # answered by the tensor, no operation
_UNWRITTEN: Final = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
_MASKS: Final = (torch.bool, torch.uint8)
_FEW: Final = 4096  # elements that are always computed
_MANY: Final = 8  # and as many as this for each token


class Values(TorchDispatchMode):  # type: ignore[misc]  # mypy does not follow torch
    """Runs every operation on fake tensors and, where all inputs are known and few, on their values."""

    def __init__(self, tokens: int = 0, length: int = 0) -> None:
        """Read `tokens` in all, in sequences of `length`: what a number of tokens is taken for, where it is unknown."""
        super().__init__()
        self.assumed: dict[str, None] = {}  # what was assumed, in the order of appearance
        self._length = length
        self._largest = max(_FEW, _MANY * tokens)

    def place(self) -> str:
        """Where the pass is, for `assumed`."""
        return ""

    def seen(self, result: Any, operator: str) -> None:  # noqa: ANN401 - any tree of tensors
        """Learn what an operation returned."""

    def rows(self, tensor: torch.Tensor) -> int:
        """Most elements of a tensor that can be other than zero."""
        return math.prod(tensor.shape)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's signature
        kwargs = kwargs or {}
        if function in _QUESTIONS:
            return function(*args, **kwargs)
        if function is _INDEX:
            args = self._counted(args, types)
        elif function is _SPLIT:
            args = _fitting(args)
        result = self._run(function, args, kwargs)
        self.seen(result, str(function))
        return result

    def _run(self, function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
        known = _known((args, kwargs)) and function.overloadpacket.__name__ not in _UNWRITTEN
        if torch.Tag.nondeterministic_seeded in function.tags:
            known = False
        if function is _SCALAR or torch.Tag.dynamic_output_shape in function.tags:
            return self._read(function, args, kwargs) if known else self._worst(function, args, kwargs)
        if function is _GROUPED and args[0].dtype is not torch.bfloat16:
            return _product(args[0], args[1])
        result = function(*args, **kwargs)
        if known and self._few(result):
            _attach(result, _computed(function, args, kwargs))
        elif function._schema.is_mutable:  # noqa: SLF001
            _forget(args)
        return result

    def _read(self, function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """A value, or a result whose shape hangs on values, from known ones."""
        real = _computed(function, args, kwargs)
        if function is _SCALAR:
            return real
        result = tree_map_only(torch.Tensor, lambda tensor: args[0].new_empty(tensor.shape, dtype=tensor.dtype), real)
        _attach(result, real)
        return result

    def _worst(self, function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """The answer that allocates most where nothing is known."""
        tensor = args[0]
        if function is _NONZERO:
            rows = self.rows(tensor)
            self._assume(f"nonzero finds {rows} of {math.prod(tensor.shape)}")
            found = tensor.new_empty((rows, tensor.dim()), dtype=torch.long)
            if rows == math.prod(tensor.shape) and self._few(found):
                with _disable_current_modes():
                    found.known = torch.ones(tensor.shape, dtype=torch.bool).nonzero()
            return found
        if function is _SCALAR and getattr(tensor, "constant", None) is None:
            return self._guess(tensor.dtype)
        return function(*args, **kwargs)

    def _guess(self, dtype: torch.dtype) -> bool | float:
        """A condition, such as that nothing is padding, does not hold; a number of tokens is all of a sequence's."""
        if dtype is torch.bool:
            self._assume("a condition on values does not hold")
            return False
        answer = 0.0 if dtype.is_floating_point else self._length
        self._assume(f"a number is {answer}")
        return answer

    def _assume(self, what: str) -> None:
        place = self.place()
        self.assumed[f"{place}: {what}" if place else what] = None

    def _counted(self, args: Any, types: Any) -> Any:  # noqa: ANN401
        """Arguments of an index with every mask replaced by the positions that it selects, as the operation does."""
        tensor, indices, *rest = args
        found: list[Any] = []
        for index in indices:
            if isinstance(index, torch.Tensor) and index.dtype in _MASKS:
                positions = self.__torch_dispatch__(_NONZERO, types, (index,))
                found += [positions.select(1, axis) for axis in range(index.dim())]
            else:
                found.append(index)
        return (tensor, found, *rest)

    def _few(self, result: Any) -> bool:  # noqa: ANN401
        return all(math.prod(leaf.shape) <= self._largest for leaf in _tensors(result))


def know(tensor: torch.Tensor, value: float) -> torch.Tensor:
    """Say that every element of a fake tensor is `value`."""
    with _disable_current_modes():
        tensor.known = torch.full(tensor.shape, value, dtype=tensor.dtype)
    return tensor


def unknow(tensors: Iterable[torch.Tensor]) -> None:
    """Forget the values of what a checkpoint overwrites."""
    for tensor in tensors:
        tensor.known = None


def _product(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What a grouped product returns in a dtype that only its shape function refuses: kernels run group by group then.

    (PyTorch 2.13, aten/src/ATen/native/GroupedMMUtils.h: _grouped_mm_fallback, create_grouped_gemm_output_tensor.)
    """
    count, columns = rows.shape[0], weights.shape[-1]
    step = _ALIGNED // rows.dtype.itemsize
    return rows.new_empty_strided((count, columns), (-(-columns // step) * step, 1))


def _fitting(args: Any) -> Any:  # noqa: ANN401
    """Sizes that add up: where each was assumed to be the most, the first takes all and nothing is left for others."""
    tensor, sizes, *axis = args
    whole = tensor.shape[axis[0] if axis else 0]
    if sizes and sum(sizes) != whole and set(sizes) == {sizes[0]}:
        sizes = [whole] + [0] * (len(sizes) - 1)
    return (tensor, sizes, *axis)


def _tensors(tree: Any) -> list[torch.Tensor]:  # noqa: ANN401
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _value(tensor: torch.Tensor) -> torch.Tensor | None:
    """What a tensor holds; one that is not fake holds itself."""
    if not isinstance(tensor, FakeTensor):
        return tensor
    real: torch.Tensor | None = getattr(tensor, "known", None)
    if real is not None and real.numel() and not real.untyped_storage().nbytes():
        return None  # see _forget
    return real


def _known(tree: Any) -> bool:  # noqa: ANN401
    return all(_value(tensor) is not None for tensor in _tensors(tree))


def _computed(function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
    args, kwargs = tree_map_only(torch.Tensor, _value, (args, kwargs))
    with _disable_current_modes():
        return function(*args, **kwargs)


def _attach(fake: Any, real: Any) -> None:  # noqa: ANN401
    for left, right in zip(tree_flatten(fake)[0], tree_flatten(real)[0], strict=True):
        if isinstance(left, FakeTensor):
            left.known = right


def _forget(args: Any) -> None:  # noqa: ANN401
    """Something unknown was written to one of these: empty the value's storage, which all views of it share."""
    for tensor in _tensors(args):
        real = getattr(tensor, "known", None)
        if real is not None:
            with _disable_current_modes():
                real.untyped_storage().resize_(0)
