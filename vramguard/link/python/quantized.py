"""What transformers quantizes while it loads, in the words that a deployment's `quantization` may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.link.python.builtins import table
from vramguard.link.python.fields import flag
from vramguard.link.python.names import Made, Options, text_of

if TYPE_CHECKING:
    from vramguard.link.python.fields import Arguments, Fields
    from vramguard.link.python.values import Reader

# Configurations of checkpoints that are quantized already: transformers 5.23.0, utils/quantization_config.py.
_METHODS: Final = {
    "GPTQConfig": "gptq", "AwqConfig": "awq", "Mxfp4Config": "mxfp4", "FineGrainedFP8Config": "fp8",
    "FbgemmFp8Config": "fbgemm_fp8", "CompressedTensorsConfig": "compressed-tensors",
}  # fmt: skip
_TORCHAO: Final = {
    "int8_weight_only": "torchao-int8", "int4_weight_only": "torchao-int4", "float8_weight_only": "torchao-float8",
    "int8_dynamic_activation_int8_weight": "torchao-int8-dynamic",
    "float8_dynamic_activation_float8_weight": "torchao-float8-dynamic",
}  # fmt: skip


def quantization(fields: Fields, arguments: Arguments) -> None:
    """`quantization_config`, `load_in_4bit` and `load_in_8bit` of `from_pretrained`."""
    given, at = arguments.take("quantization_config")
    if given is not None:
        fields.put("quantization", _of_config(arguments.reader, given), at)
    for name, word in (("load_in_8bit", "bnb-int8"), ("load_in_4bit", "bnb-fp4")):
        value, at = arguments.take(name)
        fields.put("quantization", _word(value, word), at)


def _word(value: object, word: str) -> str | Unknown | None:
    """The word, where it is asked for."""
    asked = flag(value)
    return asked if isinstance(asked, Unknown) else word if asked else None


def _of_config(reader: Reader, given: object) -> str | Unknown | None:
    if isinstance(given, Options):
        return _of_options(reader, given)
    if isinstance(given, dict):
        return _bitsandbytes(given) if "load_in_4bit" in given or "load_in_8bit" in given else Unknown(text_of(given))
    if not isinstance(given, Made) or given.call is None:
        return Unknown(text_of(given))
    name = getattr(given.of, "last", "")
    if name == "BitsAndBytesConfig":
        return _bitsandbytes(table(reader, given.call, given.module, given.scope))
    if name == "TorchAoConfig":
        kind = given.call.argument("quant_type", 0)
        value = reader.value(kind, given.module, given.scope) if kind else None
        return _TORCHAO.get(value) or Unknown(text_of(given)) if isinstance(value, str) else Unknown(text_of(given))
    return _METHODS.get(name) or Unknown(text_of(given))


def _of_options(reader: Reader, given: Options) -> str | Unknown | None:
    found = {_of_config(reader, value) if value is not None else None for value in given.values}
    return found.pop() if len(found) == 1 else Unknown(text_of(given))


def _bitsandbytes(given: dict[str, object]) -> str | Unknown | None:
    """The word for `BitsAndBytesConfig(**given)`: its defaults are fp4 and no second quantization."""
    four, eight = flag(given.get("load_in_4bit")), flag(given.get("load_in_8bit"))
    kind = given.get("bnb_4bit_quant_type", "fp4")
    double = flag(given.get("bnb_4bit_use_double_quant", False))
    for value in (four, eight, given.get("**")):
        if isinstance(value, Unknown):
            return Unknown(f"BitsAndBytesConfig({value.text})")
    if eight:
        return "bnb-int8"
    if not four:
        return None
    if not isinstance(kind, str) or isinstance(double, Unknown):
        return Unknown(f"BitsAndBytesConfig(bnb_4bit_quant_type={text_of(kind)})")
    return f"bnb-{kind}-dq" if double else f"bnb-{kind}"
