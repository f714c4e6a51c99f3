"""Exact bytes of quantized weights: what each format stores in a weight's place, and what modules it leaves alone.

`scheme_of` reads a config's quantization_config or a flag, `quantize` gives the rows of the ledger. A mechanism is
code; each stands in the module of its format, with the numbers that are its own (a block of 64, a table of 16 values)
and where they were read: no row of data could change one of them without the code.

What is not known, be it one key, raises UnprovenError: exact or UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.quantization import (
    bitsandbytes,
    compressed_tensors,
    fp4,
    fp8,
    grouped,
    hqq,
    torchao,
)
from vramguard.memory.quantization.bitsandbytes import forward
from vramguard.memory.quantization.config import Options
from vramguard.memory.quantization.loading import loading
from vramguard.memory.quantization.scheme import Network, Scheme, quantize, unpacked

__all__ = ["FLAGS", "Network", "Scheme", "forward", "loading", "quantize", "scheme_of", "unpacked"]

_Reader = Callable[..., Scheme]

# By quant_method, as transformers 5.23.0 names it (quantizers/auto.py); modelopt is other engines'.
_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {
        "bitsandbytes": bitsandbytes.scheme,
        "gptq": grouped.gptq,
        "awq": grouped.awq,
        "compressed-tensors": compressed_tensors.scheme,
        "fp8": fp8.scheme,
        "mxfp8": fp8.scheme,
        "fbgemm_fp8": fp8.fbgemm,
        "mxfp4": fp4.mxfp4,
        "nvfp4": fp4.nvfp4,
        "modelopt": fp4.modelopt,
        "torchao": torchao.scheme,
        "hqq": hqq.scheme,
    }
)


def _torchao(kind: str, **data: object) -> Mapping[str, Any]:
    return {"quant_method": "torchao", "quant_type": {"default": {"_type": kind, "_version": 2, "_data": data}}}


_NF4: Final = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
_FP4: Final = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}
_NESTED: Final = {"bnb_4bit_use_double_quant": True}

# What a flag stands for where the config has no quantization_config: the config object that one passes to
# `from_pretrained`. The names of methods alone are flags too.
FLAGS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "bnb-int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
        "bnb-nf4": _NF4,
        "bnb-nf4-dq": {**_NF4, **_NESTED},
        "bnb-fp4": _FP4,
        "bnb-fp4-dq": {**_FP4, **_NESTED},
        "torchao-int8": _torchao("Int8WeightOnlyConfig"),
        "torchao-int8-dynamic": _torchao("Int8DynamicActivationInt8WeightConfig"),
        "torchao-float8": _torchao("Float8WeightOnlyConfig"),
        "torchao-float8-dynamic": _torchao("Float8DynamicActivationFloat8WeightConfig"),
        "torchao-int4": _torchao("Int4WeightOnlyConfig"),
        "fp8": {"quant_method": "fp8"},
        "fbgemm_fp8": {"quant_method": "fbgemm_fp8"},
        "mxfp4": {"quant_method": "mxfp4"},
        "nvfp4": {"quant_method": "nvfp4"},
    }
)
# Other engines' names of the kernel for a method.
_ALIASES: Final = {
    "awq_marlin": "awq", "gptq_marlin": "gptq", "compressed_tensors": "compressed-tensors", "int8": "bnb-int8",
    "nf4": "bnb-nf4", "nf4-dq": "bnb-nf4-dq", "fp4": "bnb-fp4", "fp4-dq": "bnb-fp4-dq", "modelopt_fp4": "modelopt",
}  # fmt: skip


def scheme_of(config_quantization: Mapping[str, Any] | None, flag: str | None) -> Scheme | None:
    """Scheme of a config's quantization_config, of a flag, or of both where they agree; None where there is neither.

    Raises UnprovenError where something that decides bytes is not known, or where the two contradict each other.
    """
    name = None if flag is None else _ALIASES.get(flag, flag)
    if not config_quantization:
        return None if name is None else _of_flag(name)
    method = method_of(config_quantization)
    if name is not None and name != method and FLAGS.get(name, {}).get("quant_method") != method:
        raise UnprovenError(f"quantization {flag!r:.40} contradicts the config's quantization_config of {method}")
    if name is not None and name != method and not _agree(FLAGS[name], config_quantization):
        raise UnprovenError(f"quantization {flag!r:.40} contradicts the config's quantization_config")
    return _READERS[method](Options(config_quantization), on_the_fly=False)


def method_of(config_quantization: Mapping[str, Any]) -> str:
    """Return the method that transformers would dispatch to; raises UnprovenError for one that is not known."""
    method = config_quantization.get("quant_method")
    producer = config_quantization.get("producer")
    if method is None and "quant_algo" in config_quantization and isinstance(producer, Mapping):
        method = producer.get("name")  # ModelOpt's own file, which names no method; other engines read it so
    if config_quantization.get("load_in_4bit") or config_quantization.get("load_in_8bit"):
        method = "bitsandbytes"
    if not isinstance(method, str) or method not in _READERS:
        raise UnprovenError(f"quantization_config.quant_method {method!r:.40} is not known")
    return method


def _of_flag(name: str) -> Scheme:
    if name in FLAGS:
        config = FLAGS[name]
        return _READERS[str(config["quant_method"])](Options(config, f"quantization {name}"), on_the_fly=True)
    if name in _READERS:
        raise UnprovenError(f"quantization {name}: the config has no quantization_config that would say how")
    raise UnprovenError(f"quantization {name!r:.40} is not known")


def _agree(flag: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a config says at least what a flag does; a key that neither writes has its default."""
    return all(config.get(key) == value for key, value in flag.items())
