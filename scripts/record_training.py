"""Write vramguard/memory/training/recorded/: what one step of training of each family keeps alive, as formulas.

    python scripts/record_training.py [MODEL_TYPE ...]

Run it where torch and transformers are installed. A family is traced in one size whose numbers are told apart, four
layers deep: what every inner layer keeps counts once for each layer of the config, the rest once. Of a step those
moments are kept that can be the worst: up to the gradient of the last layer's output, in the last layer's backward pass
and in the first layer's; between these two what is alive changes by the same amount with each layer. Other sizes of the
family are then traced against the result.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, combinations_with_replacement, pairwise
from math import prod
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))
from recorder.families import FAMILIES, SEQUENCES, TOKENS, resized

from vramguard.memory.activation import default_implementation
from vramguard.memory.families import architecture
from vramguard.memory.training import recorded as table
from vramguard.trace.record import TraceError
from vramguard.trace.training import Asked, Step, trace_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.trace.record import Allocation

FOLDER = Path(__file__).parents[1] / "vramguard" / "memory" / "training" / "recorded"
Polynomial = dict[tuple[str, ...], int]
DTYPES = ((False, "float32"), (True, "float32"), (False, "bfloat16"), (True, "bfloat16"))
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
_MANY = 16  # of a storage beyond its tensor
_NEAR = 100  # below it a size beside another is so by chance
_FEW = 4  # a number that is the code's own
_SMALL = 4096  # bytes that no name explains: counted as they are


SLACK = 1.04  # what laying one moment over another may add to the larger of the two


class Moment(NamedTuple):
    at: str
    bytes: Polynomial  # activations and what the backward pass takes, without gradients
    gradients: Polynomial


class Names:
    """What a number of a shape is, in the names of the config."""

    def __init__(self, sizes: dict[str, int]) -> None:
        wanted = {k: v for k, v in sizes.items() if not k.startswith("text_") and v > _FEW and not _ID.search(k)}
        self.queries, self.keys = (sizes.get(key, 0) for key in ("num_attention_heads", "num_key_value_heads"))
        self.single: dict[int, tuple[str, ...]] = {}
        for name, value in sorted(wanted.items(), key=lambda item: item[0] not in _FIRST):
            self.single.setdefault(value, (name,))
        self.sizes, self.width = dict(self.single), sizes.get("head_dim", 0)
        names = [(value, name) for value, name in self.single.items()]
        self.products: dict[int, tuple[str, ...]] = {}
        for (a, x), (b, y) in combinations_with_replacement(names, 2):
            self.products.setdefault(a * b, tuple(sorted((*x, *y))))
        self.single |= {TOKENS: ("tokens",), SEQUENCES: ("sequences",), TOKENS * SEQUENCES: ("sequences", "tokens")}

    def heads(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape in which keys that are repeated for several queries are as many as the queries."""
        for one, (a, b) in enumerate(pairwise(shape)):
            if a == self.keys and a * b == self.queries and b > 1:
                return (*shape[:one], a * b, *shape[one + 2 :])
        return shape

    def dimension(self, size: int) -> Polynomial | None:  # noqa: C901, PLR0911, PLR0912 - a row each
        """One number of a shape."""
        if size == 1:
            return {(): 1}
        for times in (1, 2, 3, 4):
            if size % times == 0 and size // times in self.single:
                return {self.single[size // times]: times}
        if size in self.products:
            return {self.products[size]: 1}
        for times in (2, 3, 4):
            if size % times == 0 and size // times in self.products:
                return {self.products[size // times]: times}
        parts = {**self.products, **self.sizes}
        for one, names in parts.items():
            for times in (1, 2):
                rest = size - one
                if rest > 0 and rest % times == 0 and rest // times in parts and one != rest:
                    return {names: 1, parts[rest // times]: times}
        for near in (-1, 1, 2, -2):
            if size + near in self.single and size > _NEAR:  # a prompt and one token, positions and two more
                return {self.single[size + near]: 1, **({(): -near} if near < 0 else {})}
        for whole, prompt in (
            (SEQUENCES, ("sequences",)),
            (TOKENS * SEQUENCES, ("sequences", "tokens")),
            (TOKENS, ("tokens",)),
        ):
            rest = size // whole
            if size % whole == 0 and (rest in self.single or rest in self.products):
                return {tuple(sorted((*(self.single.get(rest) or self.products[rest]), *prompt))): 1}
        if size <= _FEW:
            return {(): size}
        return {("head_dim",): 1} if size < self.width else None  # the part of a head that is rotated, or the other


_ID = re.compile(r"_id|pretraining|query_pre|context|original|layer|window")
_FIRST = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "n_embd",
    "n_inner",
    "n_head",
    "ffn_dim",
    "ffn_hidden_size",
)


def polynomial(item: Allocation, names: Names) -> Polynomial:
    """Bytes of an allocation."""
    width = getattr(torch, item.dtype).itemsize
    whole = 1
    result: Polynomial = {(): width}
    for size in names.heads(item.shape):
        whole *= size
        found = names.dimension(size)
        if found is None:
            raise ValueError(f"{item.module}:{item.operator} {item.shape}: no name for {size}")
        result = multiply(result, found)
    if whole * width == item.bytes:
        return result
    if item.bytes <= _SMALL:
        return {(): item.bytes}
    ratio = Fraction(item.bytes, whole * width)
    if ratio.denominator == 1 and ratio <= _MANY:
        return multiply(result, {(): int(ratio)})
    flat = (
        names.dimension(item.bytes // width // (TOKENS * SEQUENCES))
        if item.bytes % (width * TOKENS * SEQUENCES) == 0
        else None
    )
    if flat is not None:
        return multiply(multiply({(): width}, flat), {("sequences", "tokens"): 1})
    raise ValueError(f"{item.module}:{item.operator} {item.shape} of {item.bytes} bytes")


def multiply(one: Polynomial, other: Polynomial) -> Polynomial:
    result: Polynomial = defaultdict(int)
    for a, x in one.items():
        for b, y in other.items():
            result[tuple(sorted((*a, *b)))] += x * y
    return dict(result)


def add(into: Polynomial, other: Polynomial, times: int = 1) -> None:
    for key, value in other.items():
        into[key] = into.get(key, 0) + times * value


def moments(step: Step, names: Names, layers: int) -> list[Moment]:
    """Every moment that may be the worst."""
    trace = step.trace
    made = [(item, polynomial(item, names)) for item in trace.allocations]
    starts = dict(step.layers)
    last, before = starts[layers - 1], starts[layers - 2]
    first = starts[0]
    found = []
    entered = [item.born for item in trace.allocations if f".{layers - 1}." in f"{item.module}."]
    opened = [item.born for item in trace.allocations if ".0." in f"{item.module}."]
    windows = (
        (0, min(opened), "inputs"),
        (min(entered), last, "forward"),
        (last, before, "last layer"),
        (first, step.backward_end, "first layer"),
    )
    for start, end, part in windows:
        for at in _peaks(trace.levels, start, end):
            live = [(item, p) for item, p in made if item.born <= at and (item.died is None or at < item.died)]
            born = [item for item, _ in live if item.born == at]
            where = f"{part}: {_operator(born[0])}" if born else part
            if part == "forward" and at >= step.forward_end:
                where = where.replace("forward", "loss")
            found.append(Moment(where, _sum(live, step, layers, False), _sum(live, step, layers, True)))
    return folded(pruned(found))


def _operator(item: Allocation) -> str:
    name = item.operator.removeprefix("aten.").split(".")[0]
    return f"{_NUMBER.sub('.*', item.module)}:{name}".lstrip(":")


def _peaks(levels: tuple[int, ...], start: int, end: int) -> Iterator[int]:
    for at in range(start, min(end, len(levels))):
        if levels[at] >= levels[max(at - 1, 0)] and (at + 1 >= len(levels) or levels[at + 1] <= levels[at]):
            yield at


def _sum(live: list[tuple[Allocation, Polynomial]], step: Step, layers: int, gradients: bool) -> Polynomial:  # noqa: FBT001
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * layers)
    result: Polynomial = {}
    for item, terms in live:
        if (item.cache is not None) is not gradients:
            continue
        place = step.weights[item.cache] if item.cache is not None else item.module
        numbers = re.findall(r"\.(\d+)(?=\.|$)", place)
        if not numbers:
            add(result, terms)
            continue
        key = (_NUMBER.sub(".*", place), item.operator if not gradients else "", tuple(sorted(terms.items())))
        counts[key][int(numbers[0])] += 1
    for (_, _, terms), per_layer in counts.items():
        inner = max(per_layer[1:-1])
        rest = sum(max(0, count - inner) for count in per_layer)
        if inner:
            add(result, multiply(dict(terms), {("layers",): 1}), inner)
        if rest:
            add(result, dict(terms), rest)
    return {key: value for key, value in result.items() if value}


def _points() -> list[dict[str, int]]:
    """Sizes of networks and of steps as they are met: where a moment is large decides which are kept."""
    random, points = Random(0), []  # noqa: S311 - sizes
    for _ in range(60):
        heads, width = random.choice((8, 16, 32, 64)), random.choice((64, 128))
        hidden, keys = heads * width, random.choice((1, heads // 4, heads))
        inner, layers = hidden * random.choice((2, 3, 4)), random.choice((4, 12, 32, 80))
        point = {"tokens": random.choice((128, 1024, 4096, 8192)), "sequences": random.choice((1, 2, 8, 32))}
        point |= dict.fromkeys(("hidden_size", "n_embd", "word_embed_proj_dim"), hidden)
        point |= dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"), inner)
        point |= dict.fromkeys(("num_attention_heads", "n_head"), heads)
        point |= dict.fromkeys(("num_key_value_heads", "num_kv_heads"), keys)
        point |= dict.fromkeys(("max_position_embeddings", "n_positions"), 2048)
        point |= {
            "head_dim": width,
            "rotary_dim": width // 2,
            "vocab_size": random.choice((32000, 128256)),
            "layers": layers,
        }
        points.append(point)
    return points


POINTS = _points()


def value(terms: Polynomial, point: dict[str, int]) -> int:
    return sum(times * prod(point[name] for name in names) for names, times in terms.items())


def folded(found: list[Moment]) -> list[Moment]:
    """Moments that cover all of `found`, term by term: one is laid over another where that adds little to it."""
    sizes: dict[int, list[int]] = {id(m): _sizes(m) for m in found}
    kept: list[Moment] = []
    alive = list(found)  # so that no id is given twice
    for one in sorted(found, key=lambda m: -sum(sizes[id(m)])):
        choices = []
        for number, other in enumerate(kept):
            laid = _laid(other, one)
            # How much more than the larger of the two the two together are, at worst.
            larger = zip(_sizes(laid), sizes[id(other)], sizes[id(one)], strict=True)
            choices.append((max(all_ / max(a, b) for all_, a, b in larger), number, laid))
        best = min(choices, default=(2.0, 0, one), key=lambda choice: choice[0])
        if best[0] <= SLACK:
            kept[best[1]] = best[2]
            sizes[id(best[2])] = _sizes(best[2])
            alive.append(best[2])
        else:
            kept.append(one)
    return pruned(kept)


def _sizes(moment: Moment) -> list[int]:
    return [value(moment.bytes, p) + value(moment.gradients, p) for p in POINTS]


def _laid(one: Moment, other: Moment) -> Moment:
    def both(a: Polynomial, b: Polynomial) -> Polynomial:
        return {key: max(a.get(key, 0), b.get(key, 0)) for key in {*a, *b}}

    return Moment(one.at, both(one.bytes, other.bytes), both(one.gradients, other.gradients))


def pruned(found: list[Moment]) -> list[Moment]:
    """Without those that another covers, term by term."""
    kept: list[Moment] = []
    for one in sorted(found, key=lambda m: -sum(m.bytes.values()) - sum(m.gradients.values())):
        if not any(_covers(other, one) for other in kept):
            kept.append(one)
    return kept


def _covers(one: Moment, other: Moment) -> bool:
    return _below(other.bytes, one.bytes) and _below(other.gradients, one.gradients)


LEAST = {
    "tokens": 16,
    "sequences": 1,
    "layers": 2,
    "rotary_dim": 4,
    "head_dim": 8,
    "num_attention_heads": 2,
    "n_head": 2,
    "num_key_value_heads": 1,
    "num_kv_heads": 1,
}  # of a size; of any other 64


def _below(small: Polynomial, large: Polynomial) -> bool:
    """Whether one is nowhere larger: what a term lacks is charged to terms that are a multiple of it."""
    surplus = {key: large.get(key, 0) - small.get(key, 0) for key in {*small, *large}}
    for key, left_over in list(surplus.items()):
        lack = max(0, -left_over)
        if not lack:
            continue
        for other, left in sorted(surplus.items(), key=lambda item: len(item[0])):
            rest = _without(other, key)
            if left > 0 and rest is not None:
                worth = prod(LEAST.get(name, 64) for name in rest)
                used = min(left, -(-lack // worth))
                surplus[other] -= used
                lack -= used * worth
            if lack <= 0:
                break
        if lack > 0:
            return False
    return True


def _without(names: tuple[str, ...], part: tuple[str, ...]) -> list[str] | None:
    rest = list(names)
    for name in part:
        if name not in rest:
            return None
        rest.remove(name)
    return rest or None


def record(model_type: str, every: int, *, eager: bool) -> dict[str, Any]:
    """All regimes of a family."""
    config = FAMILIES[model_type]
    network = architecture(config)
    names = Names(dict(network.sizes))
    rows: dict[str, Any] = {}
    default = default_implementation(network)
    for number, (regime, asked) in enumerate(regimes(("sdpa", "eager") if eager else (default,))):
        try:
            step = trace_step(config, asked)
        except TraceError as error:
            if "does not support an attention" not in str(error):
                print(f"    {model_type} {regime}: {error}", flush=True)
            continue
        found = moments(step, names, network.layers)
        rows[regime] = {"tensors": _tensors(step, network.layers), "moments": [_row(moment) for moment in found]}
        if number % every == 0:
            _check(f"{model_type} {regime}", resized(config), asked, found)
    dropped = {k: v for k, v in transformers.AutoConfig.for_model(**config).to_dict().items() if _DROPS.search(k) and v}
    return {
        "class": network.name,
        "act": network.activation,
        "variant": network.variant,
        "dropout": sorted(dropped),
        "regimes": rows,
    }


def _check(name: str, config: dict[str, Any], asked: Asked, found: list[Moment]) -> None:
    """Trace another size against what was recorded."""
    network = architecture(config)
    for tokens, sequences in ((203, 5),):
        step = trace_step(config, replace(asked, tokens=tokens, sequences=sequences))
        point = {**network.sizes, "layers": network.layers, "tokens": tokens, "sequences": sequences}
        most = max(value(m.bytes, point) + value(m.gradients, point) for m in found)
        traced = step.trace.peak_bytes
        RATIOS.append(most / traced)
        if most < traced:
            print(f"    {name} {sequences} x {tokens}: traced {traced}, recorded {most}", flush=True)


RATIOS: list[float] = []
_DROPS = re.compile(r"drop")


def regimes(kernels: tuple[str, ...]) -> Iterator[tuple[str, Asked]]:
    for kernel in kernels:
        for autocast, dtype in DTYPES:
            for checkpointing in (False, True):
                for frozen in (False, True):
                    name = table.regime(kernel, dtype, autocast=autocast, checkpointing=checkpointing, frozen=frozen)
                    yield name, Asked(TOKENS, SEQUENCES, dtype, autocast, checkpointing, kernel, frozen)


def _tensors(step: Step, layers: int) -> list[int]:
    """How many tensors are alive at once, beside gradients: in each layer, and outside of the layers."""
    trace = step.trace
    changes: dict[int, list[int]] = defaultdict(lambda: [0] * (trace.operations + 1))
    for item in trace.allocations:
        if item.cache is None:
            number = re.search(r"\.(\d+)(?=\.|$)", item.module)
            row = changes[int(number[1]) if number else layers]
            row[item.born] += 1
            row[trace.operations if item.died is None else item.died] -= 1
    most = {key: max(accumulate(row)) for key, row in changes.items()}
    return [max(most[key] for key in range(layers)), most.get(layers, 0)]


def _row(moment: Moment) -> dict[str, Any]:
    def text(terms: Polynomial) -> dict[str, int]:
        return {" * ".join(names): value for names, value in sorted(terms.items())}

    return {"at": moment.at, "bytes": text(moment.bytes), "gradients": text(moment.gradients)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    parser.add_argument(
        "--eager", action="store_true", help="with both kernels of attention, not the default one alone"
    )
    parser.add_argument("--every", type=int, default=5, help="of so many ways of a step, one is tried in another size")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True, parents=True)
    for model_type in options.types or FAMILIES:
        start = time.time()
        try:
            row = record(model_type, options.every, eager=options.eager)
        except (ValueError, KeyError) as error:
            print(f"{model_type}: {type(error).__name__} {error}", flush=True)
            continue
        lines = json.dumps({"transformers": transformers.__version__, **row}, indent=1)
        text = re.sub(r"\{\n\s+\"at\".*?\n\s+\}\n\s+\}", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), lines, flags=re.S)
        (FOLDER / f"{model_type}.json").write_text(text + "\n", encoding="utf-8")
        counts = {k: len(v["moments"]) for k, v in row["regimes"].items()}
        print(
            f"{model_type}: {len(counts)} regimes, {sum(counts.values())} moments, {time.time() - start:.0f} s; "
            f"recorded / traced in another size: median {sorted(RATIOS)[len(RATIOS) // 2]:.3f}, most {max(RATIOS):.3f}",
            flush=True,
        )
        RATIOS.clear()


if __name__ == "__main__":
    main()
