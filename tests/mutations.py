"""Certificates with one thing changed and all that follows from it computed anew, as a forger would."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory import FormulaError, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

# Text that says nothing which a program could hold up to anything: `reason` only tells what the numbers say.
FREE: Final = ("written_by", "assumptions", "source", "reason", "sha256", "schema")
_WORDS: Final = {
    "answer": ("FITS", "EXCEEDS", "UNKNOWN"),
    "kind": ("exact", "bound", "measured"),
    "method": ("analytic", "trace"),
    "engine": ("transformers", "vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp"),
    "gpu": ("h100-sxm5-80gb", "a100-sxm4-80gb", "l4-24gb", "h200-sxm-141gb", "t4-16gb"),
    "dtype": ("bfloat16", "float16", "float32"),
    "kv_cache_dtype": ("bfloat16", "float16", "float32", "fp8"),
    "quantization": ("bnb-nf4", "fp8", "bnb-int8"),
    "attn_implementation": ("sdpa", "eager", "flash_attention_2"),
    "mode": ("inference", "training"),
    "type": ("llama", "mistral", "qwen2", "gpt2"),
    "architecture": ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"),
    "path": ("config.json", "other/config.json", "../config.json"),
    "config": ("config.json", "other/config.json", "../config.json"),
}


class Mutation(NamedTuple):
    """A changed certificate, what class the change is of, and where it is."""

    sort: str
    keys: tuple[str | int, ...]
    value: dict[str, Any]


def leaves(value: object, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The keys of every value that is no free text."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in FREE:
                yield from leaves(item, (*keys, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*keys, number))
    else:
        yield keys


def at(value: Any, keys: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - JSON
    for key in keys:
        value = value[key]
    return value


def mutate(value: dict[str, Any], keys: tuple[str | int, ...] | str, random: Random) -> Mutation | None:
    """`value`, which is changed in place, with the leaf under `keys` (or its rows) changed; None where nothing came."""
    if isinstance(keys, str):
        _rows(value["ledger"], keys, random)
        mend(value, ())
        return Mutation(f"row {keys}", ("ledger",), value)
    holder, old = at(value, keys[:-1]), at(value, keys)
    sort, new = _changed(str(keys[-1]), old, holder, value, random)
    if new == old and type(new) is type(old):
        return None
    holder[keys[-1]] = new
    mend(value, keys)
    return Mutation(sort, keys, value)


def _rows(rows: list[Any], how: str, random: Random) -> None:
    number = random.randrange(len(rows))
    if how == "dropped":
        del rows[number]
    elif how == "duplicated":
        copy = {**rows[number], "inputs": dict(rows[number]["inputs"])}
        if random.random() < 0.5:  # under a name of its own, which no row has twice
            copy["name"] += random.choice(("_2", ".bias", ".again"))
        rows.insert(random.randrange(len(rows) + 1), copy)
    else:
        other = (number + random.randrange(1, len(rows))) % len(rows)
        rows[number], rows[other] = rows[other], rows[number]


def _changed(key: str, old: Any, holder: Any, value: dict[str, Any], random: Random) -> tuple[str, Any]:  # noqa: ANN401
    if key in ("formula", "lower_formula"):
        return "formula", _formula(old, list(holder["inputs"]), random)
    if isinstance(old, bool):
        return "flag", random.choice((not old, None, int(old)))
    if isinstance(old, int):
        return "number", _number(old, value, random)
    if old is None:
        words = _WORDS.get(key, ())
        return "absent", random.choice((*words, True, 1, 2, 16, 4096)) if words or random.random() < 0.9 else 0
    if key in _WORDS:
        return "word", random.choice((*_WORDS[key], None)) if random.random() < 0.95 else f"{old}x"
    return "text", _text(old, random)


def _number(old: int, value: dict[str, Any], random: Random) -> Any:  # noqa: ANN401 - JSON
    row = random.choice(value["ledger"])
    other = random.choice([row["upper_bytes"], *row["inputs"].values()])
    ways = [old + 1, old - 1, old * 2, old // 2, 0, -old, old + 512, old * 1024, other, other, True, str(old), None]
    return random.choice((*ways, old ^ 1 << random.randrange(40), random.randrange(1 << 20), random.randrange(200)))


def _text(old: str, random: Random) -> str | None:
    digits = [match.start() for match in re.finditer(r"[0-9a-f]", old)]
    if digits and random.random() < 0.7:
        place = random.choice(digits)
        return old[:place] + random.choice("0123456789") + old[place + 1 :]
    return random.choice((old[:-1], old + "x", old.upper(), old.replace("/", "."), None))


def _formula(old: str | None, names: list[str], random: Random) -> str | None:
    if old is None:
        return random.choice(("0", *names))
    tokens = re.findall(r"[a-z_][a-z0-9_]*|[0-9]+|//|[-+*(),]", old)
    number = random.randrange(len(tokens))
    token = tokens[number]
    if token in ("+", "-", "*", "//"):
        tokens[number] = random.choice([mark for mark in ("+", "-", "*", "//") if mark != token])
    elif token in ("min", "max", "ceil_div"):
        tokens[number] = random.choice([name for name in ("min", "max", "ceil_div") if name != token])
    elif token.isdigit():
        tokens[number] = str(max(0, int(token) + random.choice((-1, 1, 8, 512))))
    elif token.isidentifier() and len(names) > 1 and random.random() < 0.6:
        tokens[number] = random.choice([name for name in names if name != token])
    else:
        return random.choice((f"{old} + 1", f"2 * ({old})", f"max({old}, 1)", f"({old}) // 2", f"-({old})", "0", None))
    return " ".join(tokens)


def mend(value: dict[str, Any], changed: tuple[str | int, ...]) -> None:
    """Compute anew what follows from the rest: bytes, sums, budget, headroom, answer; never what was `changed`."""

    def put(keys: tuple[str | int, ...], new: Callable[[], Any]) -> None:
        if keys != changed:
            try:
                at(value, keys[:-1])[keys[-1]] = new()
            except (FormulaError, TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError):
                return

    for number, row in enumerate(value["ledger"]):
        for key, formula in (("upper_bytes", row["formula"]), ("lower_bytes", row["lower_formula"] or row["formula"])):
            put(("ledger", number, key), partial(evaluate, formula, row["inputs"]))
    _mend_sums(value, put)


def _mend_sums(value: dict[str, Any], put: Callable[[tuple[str | int, ...], Callable[[], Any]], None]) -> None:
    rows, totals, device = value["ledger"], value["totals"], value["device"]

    def total(group: str) -> int:
        return sum(row["upper_bytes"] for row in rows if str(row["name"]).partition("/")[0] == group)

    for key in ("weights", "kv_cache", "activation", "runtime"):
        put(("totals", f"{key}_bytes"), partial(total, "activations" if key == "activation" else key))
    put(("totals", "peak_lower_bytes"), lambda: sum(row["lower_bytes"] for row in rows))
    put(("totals", "peak_upper_bytes"), lambda: sum(row["upper_bytes"] for row in rows))
    put(("offload_bytes",), lambda: -total("offload"))
    put(("device", "budget_bytes"), lambda: device["capacity_bytes"] * Fraction(device["budget_fraction"]) // 1)
    budget = device["budget_bytes"]
    put(("headroom_bytes",), lambda: budget - totals["peak_upper_bytes"])
    put(("answer",), lambda: _answer(totals, budget))
    put(("reason",), lambda: None if value["answer"] == "FITS" else "the peak is over the budget")
    if value["pool"]:
        put(("pool", "within_budget"), lambda: value["pool"]["reserved_bytes"] <= budget)


def _answer(totals: dict[str, int], budget: int) -> str:
    if totals["peak_upper_bytes"] <= budget:
        return "FITS"
    return "EXCEEDS" if totals["peak_lower_bytes"] > budget else "UNKNOWN"
