"""timm without torchvision, whose wheels do not load beside every build of torch: enough to build timm's models.

timm imports torchvision for the transforms of its data sets, which nothing here uses, and for a norm that it looks for
when it freezes one. The stand-in is there only while timm is imported, so that transformers takes no other turn for it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from types import ModuleType

NAMES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


class _Members(type):
    """A class every attribute of which is its own name: an enumeration."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Anything(ModuleType):
    """A module in which every name is a class that does nothing."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Members(name, (), {})


def install() -> bool:
    """Import timm, with the stand-in where torchvision is absent; False where timm is absent too."""
    if importlib.util.find_spec("timm") is None:
        return False
    if importlib.util.find_spec("torchvision") is None:
        _import_timm()
    return True


def _import_timm() -> None:
    from transformers.utils import import_utils

    for name in NAMES:
        module = sys.modules[name] = _Anything(name)
        module.__path__ = []
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        import timm  # noqa: F401

        import_utils.is_torchvision_available.cache_clear()
        import_utils.is_timm_available.cache_clear()
        assert import_utils.is_timm_available()  # and remembers it
    finally:
        for name in NAMES:
            del sys.modules[name]
        import_utils.is_torchvision_available.cache_clear()
