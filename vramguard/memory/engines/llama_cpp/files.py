"""The type of every tensor in a file, by the file's type: what llama-quantize chooses.

A file named Q4_K_M has Q4_K and Q6_K by the tensor's part and its layer. The rules are those of llama.cpp 0.5.0,
src/llama-quant.cpp (llama_tensor_get_type_impl, tensor_type_fallback), for a network that is not Falcon. Where an
importance matrix or an older rule changes a type, a tensor has several: the lightest first.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.llama_cpp.layout import EMBEDDING, OUTPUT
from vramguard.memory.quantization.gguf import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.engines.llama_cpp.layout import Entry

SOURCE: Final = "llama.cpp 0.5.0, src/llama-quant.cpp (llama_tensor_get_type_impl, tensor_type_fallback)"
PLAIN: Final = MappingProxyType({"F32": 4, "F16": 2, "BF16": 2})  # bytes of a value

# The type that most tensors of a file have (llama_ftype_get_default_type), and the file's other names.
FILES: Final = MappingProxyType({
    "F32": "F32", "F16": "F16", "BF16": "BF16",
    "Q4_0": "Q4_0", "Q4_1": "Q4_1", "Q5_0": "Q5_0", "Q5_1": "Q5_1", "Q8_0": "Q8_0",
    "Q2_K": "Q2_K", "Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K", "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K", "Q6_K": "Q6_K",
    "IQ1_S": "IQ1_S", "IQ1_M": "IQ1_M", "IQ2_XXS": "IQ2_XXS", "IQ2_XS": "IQ2_XS", "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S",
    "IQ3_XXS": "IQ3_XXS", "IQ3_XS": "IQ3_S", "IQ3_S": "IQ3_S", "IQ3_M": "IQ3_S", "IQ4_NL": "IQ4_NL", "IQ4_XS": "IQ4_XS",
    "MXFP4_MOE": "MXFP4",
})  # fmt: skip
_ALIASES: Final = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
_TINY: Final = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")  # need an importance matrix

# What a type of blocks of 256 becomes where they do not divide a row.
_FALLBACK: Final = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K"), "Q4_0"),
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip


class Model(NamedTuple):
    """What the rules ask of a network."""

    layers: int
    experts: int
    queries_per_key: int  # heads over key heads
    seventy: bool  # 80 layers of a class whose size llama.cpp names 70B
    tied: bool
    shared: bool = False  # experts that every token passes stand beside the others
    native: str | None = None  # the type that the experts have in the checkpoint already


class Place(NamedTuple):
    """Where a tensor stands: its part's number among the parts of its kind, of how many."""

    entry: Entry
    number: int
    total: int
    imatrix: bool


def named(flag: str) -> str:
    """The file type that a flag names, in llama-quantize's spelling; raises UnprovenError."""
    name = _ALIASES.get(flag.upper(), flag.upper())
    if name not in FILES:
        known = ", ".join(FILES)
        raise UnprovenError(f"quantization {flag} is no file type of llama-quantize that is modelled: {known} are")
    return name


def kinds(file: str, entry: Entry, layer: int, model: Model) -> tuple[str, ...]:
    """Types that the tensor may have in that layer, the lightest first."""
    if not entry.packed:
        return ("F32",)
    if FILES[file] in PLAIN:
        return (model.native if model.native and entry.experts else FILES[file],)
    chosen = {_kind(file, Place(entry, layer, model.layers, given), model) for given in (False, True)}
    if entry.name == "attn_qkv":
        chosen.add(_FUSED.get(file, FILES[file]))
    return tuple(sorted({_fitting(kind, entry) for kind in chosen}, key=lambda kind: size(kind, entry.values)))


# What older builds chose for attn_qkv, as a log of b4897 shows: tests/receipts/logs/llama_cpp_b4897_q4_k_m.log.
_FUSED: Final = {"Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}


def size(kind: str, values: int) -> int:
    """Bytes of that many values."""
    if kind in PLAIN:
        return values * PLAIN[kind]
    block, width = BLOCKS[kind]
    return values // block * width


def _fitting(kind: str, entry: Entry) -> str:
    """The type, or what it falls back to where a row has no whole number of its blocks."""
    if entry.columns % BLOCKS[kind][0] == 0:
        return kind
    kind = _FALLBACK.get(kind, kind)
    return kind if entry.columns % BLOCKS[kind][0] == 0 else "F16"


def _kind(file: str, place: Place, model: Model) -> str:
    """The type before it is fitted to the row."""
    name, default = place.entry.name, FILES[file]
    if name == OUTPUT or (name == EMBEDDING and model.tied):
        return _output(file, place.entry)
    if file == "MXFP4_MOE":
        return "MXFP4" if place.entry.experts > 1 else "Q8_0"
    if name == EMBEDDING:
        return _EMBEDDINGS.get(file, default)
    rule = next(
        (rule for part, rule in _RULES if name == part or (part.startswith("ffn_") and name.startswith(part))), None
    )
    return default if rule is None else rule(file, place, model) or default


def _output(file: str, entry: Entry) -> str:
    default = FILES[file]
    if file == "MXFP4_MOE" or entry.columns % BLOCKS[default][0] or default == "Q8_0":
        return "Q8_0"
    if file in (*_TINY, "IQ3_XXS"):
        return "Q5_K"
    return "Q6_K"


_EMBEDDINGS: Final = {
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
}


def _more_bits(place: Place) -> bool:
    """Whether a part gets more bits (use_more_bits): the first and last eighth of the layers, each third between."""
    first, number = place.total // 8, place.number
    return number < first or number >= 7 * place.total // 8 or (number - first) % 3 == 2  # noqa: PLR2004 - every third


def _values(file: str, place: Place, model: Model) -> str | None:
    """attn_v, attn_qkv, attn_kv_b: the parts that suffer most."""
    grouped = model.queries_per_key >= 4  # noqa: PLR2004 - the rule's own number
    if file in _TINY:
        if grouped or model.experts >= 4:  # noqa: PLR2004 - the rule's own number
            return "Q4_K"
        return "IQ3_S" if file in ("IQ2_S", "IQ2_M") else "Q2_K"
    if model.experts == 8:  # noqa: PLR2004 - Mixtral's
        return "Q8_0"
    kind = _values_of(file, place, grouped=grouped) or FILES[file]
    return "Q5_K" if model.seventy and kind in ("Q3_K", "Q4_K") else kind


def _values_of(file: str, place: Place, *, grouped: bool) -> str | None:
    if file in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if _more_bits(place) else None
    if file == "IQ3_XXS" and not grouped:
        return "IQ3_XXS" if place.imatrix else "IQ3_S"
    fixed = {
        "Q2_K": "Q4_K" if grouped else "Q3_K",
        "Q3_K_M": "Q5_K" if place.number < 2 else "Q4_K",  # noqa: PLR2004 - the first two
        "Q3_K_L": "Q5_K",
        "Q4_K_S": "Q5_K" if place.number < 4 else None,  # noqa: PLR2004 - the first four
        "IQ3_M": "Q4_K",
        "IQ3_XXS": "Q4_K",
        **dict.fromkeys(("Q2_K_S", "IQ3_XS", "IQ3_S"), "Q4_K" if grouped else None),
        **dict.fromkeys(("IQ4_NL", "IQ4_XS"), "Q5_K" if grouped else None),
    }
    return fixed.get(file)


def _keys(file: str, _place: Place, model: Model) -> str | None:
    if model.experts == 8:  # noqa: PLR2004 - Mixtral's
        return "Q4_K" if file in _TINY else "Q8_0"
    return _queries(file, _place, model)


def _queries(file: str, _place: Place, _model: Model) -> str | None:
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(file)


def _attention_output(file: str, _place: Place, model: Model) -> str | None:
    if model.experts == 8:  # noqa: PLR2004 - Mixtral's
        kept = ("Q3_K_L", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K_S", "Q5_K_S", "Q5_K_M", "Q6_K")
        return None if file in kept else "Q5_K"
    fixed = {
        "Q2_K": "Q3_K",
        "IQ3_XXS": "IQ3_S",
        "Q3_K_M": "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ3_M": "Q4_K",
        **dict.fromkeys(("IQ1_S", "IQ1_M"), "IQ2_XXS"),
        **dict.fromkeys(("IQ2_S", "IQ2_M"), "IQ3_S"),
    }
    return fixed.get(file)


def _down(file: str, place: Place, model: Model) -> str | None:
    if file in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if _more_bits(place) else None
    if place.number < place.total // 8:
        return _early_down(file, place, model)
    if file == "IQ3_M":
        return "Q4_K" if model.experts == 8 and _more_bits(place) else None  # noqa: PLR2004 - Mixtral's
    return {**_DOWN, "IQ3_XXS": None if place.imatrix else "Q3_K"}.get(file)


_DOWN: Final = {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K"}


def _early_down(file: str, place: Place, model: Model) -> str | None:
    """ffn_down in the first eighth of the layers."""
    if file in _TINY:
        # The rule counts tensors, of which a layer with shared experts has two: the second may be past the eighth.
        late = model.shared and place.imatrix and 2 * place.number + 1 >= place.total // 8
        return None if late else "IQ3_S" if file in ("IQ2_S", "IQ2_M") else "Q2_K"
    if file == "Q3_K_M":
        return "Q5_K" if place.number < place.total // 16 else "Q4_K"
    if place.imatrix:
        return {**_DOWN, "Q4_0": "Q4_1", "Q5_0": "Q5_1", **_EARLY}.get(file)
    return {**_DOWN, "IQ3_XXS": "Q4_K", "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K", **_EARLY}.get(file)


_EARLY: Final = {"Q2_K_S": "Q4_K", "Q4_K_S": "Q5_K", "IQ3_M": "Q4_K"}


def _wide(file: str, place: Place, _model: Model) -> str | None:
    """ffn_gate and ffn_up."""
    middle = place.total // 8 <= place.number < 7 * place.total // 8
    return "IQ3_XXS" if file == "IQ3_XS" and middle else None


# By name, of feed-forward parts the beginning of it, as tensor_get_category tells them apart; attn_q_a has no rule.
_RULES: Final[Sequence[tuple[str, Callable[[str, Place, Model], str | None]]]] = (
    ("attn_qkv", _values),
    ("attn_v", _values),
    ("attn_k", _keys),
    ("attn_q", _queries),
    ("attn_output", _attention_output),
    ("ffn_up", _wide),
    ("ffn_gate", _wide),
    ("ffn_down", _down),
)
