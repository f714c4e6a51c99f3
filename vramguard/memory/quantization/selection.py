"""What modules transformers' quantizers take: every Linear but the head, tied ones, the last one and those named.

Read from transformers 5.23.0: quantizers/base.py (get_keys_to_not_convert, get_modules_to_not_convert) and
quantizers/quantizers_utils.py (should_convert_module).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization.scheme import Packing

if TYPE_CHECKING:
    from vramguard.memory.quantization.scheme import Chooser, Network

# What `get_output_embeddings()` returns in transformers' causal, sequence-to-sequence and image-text classes: 271 of
# the 302 of 5.23.0 could be built from their default config and were asked. A tied head has no row of its own.
HEADS: Final = frozenset({
    "lm_head", "language_model.lm_head", "text_model.lm_head", "decoder.lm_head", "generator_lm_head",
    "lm_head.decoder", "lm_head.out_proj", "cls.predictions.decoder", "decoder.cls.predictions.decoder",
    "output_projection", "proj_out", "embed_out", "pred_layer.proj", "lm_loss", "output", "decoder", "head",
})  # fmt: skip
LINEAR: Final = ("linear", "linear_subclass")  # isinstance(module, nn.Linear)

MAX_PATTERN: Final = 500  # characters
MAX_REPEATS: Final = 4  # unbounded repetitions: with names of up to 200 characters, no match takes long
# A group that is repeated, or a reference back into one, may take exponential time. Configs come from strangers.
_RISKY: Final = re.compile(r"\)[*+{]|\\[1-9]|\(\?P=")


@dataclass(frozen=True, slots=True)
class AllBut:
    """The rule of most quantizers: modules of `kinds`, except those whose name a pattern matches.

    `skipped` None means that the config lists none: then the head, the module of the last parameter and tied ones are
    left alone. A list replaces these, unless `always` adds them to it.
    """

    packing: Packing
    skipped: tuple[str, ...] | None = None
    kinds: tuple[str, ...] = ("linear",)
    always: bool = False
    by_parameter: bool = False  # patterns are tried on the parameter's name, "x.q_proj.weight" (torchao)
    guard: Callable[[Sequence[Tensor]], None] | None = None  # refuses networks that the method does otherwise with

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        if self.guard is not None:
            self.guard(network.tensors)
        names = list(network.fp32_modules)
        if self.skipped is None or self.always:
            names += default_skips(network.tensors)
        names += self.skipped or ()
        patterns = tuple(map(pattern, names))
        if network.tied and self.skipped is not None and not self.always and not left_alone("lm_head", names, patterns):
            raise UnprovenError("quantization_config: the list of modules leaves out the head, which is tied")

        leaves = _leaver(tuple(names), patterns)

        def choose(module: str, tensor: Tensor) -> Packing | None:
            if tensor.kind not in self.kinds:
                return None
            name = f"{module}.{tensor.name.rpartition('.')[2]}" if self.by_parameter else module
            return None if leaves(name) else self.packing

        return choose


def default_skips(tensors: Sequence[Tensor]) -> list[str]:
    """Names that are left alone where a config lists none: the head, and the module of the last parameter's weight."""
    names = [tensor.name for tensor in tensors if tensor.kind in LINEAR]
    heads = [name.removesuffix(".weight") for name in names if name.removesuffix(".weight") in HEADS]
    if not tensors:
        return heads
    last = tensors[-1]
    number = str(last.layers[-1]) if last.layers else "*"
    return [*heads, last.name.replace("*", number, 1).removesuffix(".weight")]


def left_alone(name: str, texts: Sequence[str], patterns: Sequence[re.Pattern[str]]) -> bool:
    """Whether a name begins with a pattern up to a dot, or ends with its text."""
    return name.endswith(tuple(texts)) or any(found.match(name) is not None for found in patterns)


@lru_cache(maxsize=64)
def _leaver(texts: tuple[str, ...], patterns: tuple[re.Pattern[str], ...]) -> Callable[[str], bool]:
    """`left_alone` of a list that is asked for every module of a network, and for every way of splitting it."""
    return lru_cache(maxsize=1 << 17)(lambda name: left_alone(name, texts, patterns))


def pattern(text: str) -> re.Pattern[str]:
    """Compile a module's name or pattern: it must end at a dot or at the end of the name; raises UnprovenError."""
    return compiled(rf"(?:{safe(text)})(?:(?<=\.)|(?=\.|$))")


@lru_cache(maxsize=4096)
def compiled(text: str) -> re.Pattern[str]:
    """Compile a regular expression; raises UnprovenError."""
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UnprovenError(f"quantization_config: {text[:80]!r} is no pattern: {error}") from None


def safe(text: str) -> str:
    """Return the text of a pattern that cannot take exponential time; raises UnprovenError for any other."""
    if len(text) > MAX_PATTERN or _RISKY.search(text) or len(re.findall(r"(?<!\\)[*+{]", text)) > MAX_REPEATS:
        raise UnprovenError(f"quantization_config: the pattern {text[:80]!r} is too involved to be tried")
    return text
