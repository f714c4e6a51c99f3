"""timm for the tests: without torchvision, whose wheels do not load beside every build of torch, and with fake tensors.

timm imports torchvision for the transforms of its data sets, which nothing here uses, and for a norm that it looks for
when it freezes one. The stand-in is there only while timm is imported, so that transformers takes no other turn for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import wraps
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)
# Modules of timm that read rates of dropping layers from a tensor, which a fake one does not have.
READERS = ("timm.models.fastvit", "timm.models.eva")


class _Members(type):
    """A class every attribute of which is its own name: an enumeration."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _StandIn(ModuleType):
    """A module in which every name is a class that does nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Members(name, (), {})


def install() -> bool:
    """Import timm as transformers finds it; False where it is not installed."""
    if importlib.util.find_spec("timm") is None:
        return False
    if importlib.util.find_spec("torchvision") is None:
        _with_stand_in()
    for name in READERS:
        module: Any = importlib.import_module(name)
        module.calculate_drop_path_rates = _with_real_tensors(module.calculate_drop_path_rates)
    return True


def _with_stand_in() -> None:
    from transformers.utils import import_utils

    sys.modules.update({name: _StandIn(name) for name in NAMES})
    for name in NAMES[1:]:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, sys.modules[name])
    try:
        importlib.import_module("timm")
        for found in (import_utils.is_torchvision_available, import_utils.is_timm_available):
            found.cache_clear()
        import_utils.is_timm_available()  # it remembers the answer
    finally:
        for name in NAMES:
            del sys.modules[name]
        import_utils.is_torchvision_available.cache_clear()


def _with_real_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - timm's own
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    return call
