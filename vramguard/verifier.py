"""A second opinion on a certificate: every sum, product and rounding done anew, from nothing but what it is handed.

It shares no line with the prover and imports nothing of this package, so that it can be read, and trusted, alone. What
it cannot know is whether the rows are those that the config asks for: `vramguard verify` proves that again.
"""

from __future__ import annotations

import hashlib
import json
import re
from fractions import Fraction
from operator import add, floordiv, mul, sub
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA: Final = "vramguard.certificate/1"
MAX_BYTES: Final = 4 << 20  # of a certificate; those of the catalogue's models have a hundredth of it
_BITS: Final = 256  # of any number, on the way too
_DEPTH: Final = 40  # of brackets in a formula
_LENGTH: Final = 10_000  # characters of a formula
_TOKEN: Final = re.compile(r"\s*([0-9]+|[a-z_][a-z0-9_]*|//|[-+*(),])")
_CALCULATE: Final = {"+": (1, add), "-": (1, sub), "*": (2, mul), "//": (2, floordiv)}
_CALLS: Final[dict[str, Any]] = {"min": min, "max": max, "ceil_div": lambda pair: -floordiv(-pair.pop(0), *pair)}
_PEAKS: Final = ("peak_lower_bytes", "peak_upper_bytes")
# Inputs that stand for one quantity of the workload wherever they stand.
_OF_WORKLOAD: Final = {"batched": "max_num_batched_tokens", "seqs": "max_num_seqs", "context": "max_model_len"}
_CARD: Final = ("capacity_bytes", "context_lower_bytes", "context_upper_bytes")
_ROW: Final = ["name", "lower_bytes", "upper_bytes", "formula", "lower_formula", "inputs", "kind", "source"]


class NotACertificateError(ValueError):
    """The bytes are no certificate of this schema, altered or not."""


def parse(data: bytes) -> dict[str, Any]:
    """The certificate in JSON's types, not yet believed. Raises `NotACertificateError`."""
    try:
        value = json.loads(data.decode("ascii"), parse_int=_integer) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise NotACertificateError(f'it is no JSON in ASCII of at most {MAX_BYTES >> 20} MiB with "schema": "{SCHEMA}"')
    return value


def written(value: Mapping[str, Any]) -> bytes:
    """The one way to write a certificate, its digest included: whatever says the same otherwise has been altered."""
    body = {key: item for key, item in value.items() if key != "sha256"}
    body["sha256"] = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    lines = ",\n  ".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in body.items())
    return ("{\n  " + lines.replace('{"name": ', '\n    {"name": ') + "\n}\n").encode()  # no text holds a bare quote


def refusals(data: bytes, config: bytes | None, cards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every reason to refuse a certificate, beside the config.json (None: it is no file) and the catalogue's cards."""
    value = parse(data)
    try:
        if not _is_plain(value) or written(value) != data:
            return ["it was altered: its bytes are not those that its digest was taken of"]
        if found := list(_of_rows(value)):
            return found
        found = [*_of_sums(value), *_of_card(value, cards), *_of_answer(value), *_of_workload(value)]
        return found if config is None else [*found, *_of_config(value, config)]
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        return [f"it has not the form of a certificate: {type(error).__name__} {str(error)[:100]}"]


def _integer(digits: str) -> int:
    return int(digits) if len(digits) < _BITS // 3 else 1 << _BITS  # which is refused once it is looked at


def _is_plain(value: object) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | bool) or (type(value) is int and value.bit_length() < _BITS)


def _of_rows(value: dict[str, Any]) -> Iterator[str]:
    for row in value["ledger"]:
        name, *bounds, formula, lower, inputs, kind, _ = (row[key] for key in _ROW)
        read = {word for word in _TOKEN.findall(f"{formula},{lower or 0}") if word.isidentifier()} - _CALLS.keys()
        if list(row) != _ROW or any(type(number) is not int for number in (*inputs.values(), *bounds)):
            yield f"{name}: it is no row of a ledger"
        elif read != inputs.keys():
            yield f"{name}: its inputs are not those that its formulas read"
        elif kind not in ("bound" if lower else "exact", "measured" if formula == "upper" else ""):
            yield f"{name}: `{kind}` is not the kind of a row with its formulas"
        elif [evaluate(formula if lower is None else lower, inputs), evaluate(formula, inputs)] != bounds:
            yield f"{name}: its formulas do not give its bytes"
        elif not bounds[0] <= bounds[1] or (bounds[0] < 0 and _group(name) != "offload"):
            yield f"{name}: its bounds contradict each other"
    if len(set(map(repr, value["ledger"]))) < len(value["ledger"]):
        yield "a row stands in its ledger twice"


def _group(name: str) -> str:
    """What a row, or a total, is of: `activations/inputs` and `activation_bytes` are of one."""
    return name.partition("/")[0].removesuffix("_bytes").rstrip("s")


def _of_sums(value: dict[str, Any]) -> Iterator[str]:
    """The totals: one for each group of rows, and the peaks."""
    rows, totals = value["ledger"], value["totals"]
    groups = [(_group(row["name"]), row["upper_bytes"]) for row in rows]
    sums = {key: sum(size for group, size in groups if group == _group(key)) for key in (*totals, "offload_bytes")}
    sums |= {peak: sum(row[peak.removeprefix("peak_")] for row in rows) for peak in _PEAKS}
    told = totals | {"offload_bytes": -value["offload_bytes"]}
    if told != sums or not {group for group, _ in groups} <= set(map(_group, sums)):
        yield f"its totals are not the sums of its rows: {sorted(sums.items() - told.items())}"


def _of_card(value: dict[str, Any], cards: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    device, share = value["device"], value["device"]["budget_fraction"]
    if value["workload"]["gpu"] != device["name"] or any(device[key] != cards[device["name"]][key] for key in _CARD):
        yield f"its card is not the catalogue's row {device['name']}"
    context = [row["inputs"] for row in value["ledger"] if row["name"] == "runtime/cuda_context"]
    if context not in ([], [{"lower": device[_CARD[1]], "upper": device[_CARD[2]]}]):
        yield "runtime/cuda_context: it is not what the catalogue says of the card"
    known = re.fullmatch(r"[0-9]{1,20}(?:[./][0-9]{1,20})?", share) and 0 < Fraction(share) <= 1
    if not known or device["budget_bytes"] != device["capacity_bytes"] * Fraction(share) // 1:
        yield "its budget is not a share of its card"


def _of_answer(value: dict[str, Any]) -> Iterator[str]:
    budget, lower, upper = value["device"]["budget_bytes"], *(value["totals"][key] for key in _PEAKS)
    answer = "FITS" if upper <= budget else "EXCEEDS" if lower > budget else "UNKNOWN"
    if value["answer"] != answer or answer == "UNKNOWN" or (value["reason"] is None) != (answer == "FITS"):
        yield f"its answer is {value['answer']}, and its peak and its budget give {answer}"
    if value["headroom_bytes"] != budget - upper or value["method"] != "analytic":
        yield "its headroom is not what the budget leaves above the peak, or its method none that can be computed again"
    if (pool := value["pool"]) and pool["within_budget"] is not (pool["reserved_bytes"] <= budget):
        yield "pool: what it reserves and the budget give another answer"


def _of_workload(value: dict[str, Any]) -> Iterator[str]:
    workload, asked = value["workload"], value["asked"]
    if any(workload[key] != item for key, item in asked.items() if type(item) is not str):
        yield "its workload is not what was asked for"
    for row in value["ledger"]:
        cached = {"sequences": "concurrency"} if _group(row["name"]) == "kv_cache" else {}
        for name, key in (_OF_WORKLOAD | cached).items():
            if row["inputs"].get(name, workload[key]) != workload[key]:
                yield f"{row['name']}: `{name}` is not the workload's {key}"


def _of_config(value: dict[str, Any], data: bytes) -> Iterator[str]:
    """What the config itself says: its digest, its type and class, and the width of its network."""
    if hashlib.sha256(data).hexdigest() != value["config"]["sha256"]:
        yield "the config.json is not the one that was proved: its sha256 is another"
        return
    config = json.loads(data)
    if f"{config['model_type']} {config['architectures'][0]}".lower() != " ".join(value["model"].values()).lower():
        yield "the config is of another type or class"
    parts = (config, *(part for part in config.values() if isinstance(part, dict)))
    for row in value["ledger"]:  # an encoder hands on several layers side by side
        width = None if "/encoder" in row["name"] else row["inputs"].get("hidden")
        if width is not None and not any(width in part.values() for part in parts):
            yield f"{row['name']}: its width stands nowhere in the config"


def evaluate(formula: str, inputs: Mapping[str, int]) -> int:
    """The value of a formula. Raises ValueError for what is none, ZeroDivisionError where it divides by zero."""
    tokens = _TOKEN.findall(formula) if len(formula) <= _LENGTH else []
    if "".join(tokens) != re.sub(r"\s", "", formula) or not tokens:
        raise ValueError("no formula")
    tokens.reverse()
    value = _sum(tokens, inputs, 0, _DEPTH)
    return value if not tokens else inputs["end of the formula"]


def _sum(tokens: list[str], inputs: Mapping[str, int], power: int, depth: int) -> int:  # of what binds closer
    value = _operand(tokens, inputs, depth)
    while tokens and tokens[-1] in _CALCULATE and _CALCULATE[tokens[-1]][0] > power:
        own, calculate = _CALCULATE[tokens.pop()]
        value = _small(calculate(value, _sum(tokens, inputs, own, depth)))
    return value


def _operand(tokens: list[str], inputs: Mapping[str, int], depth: int) -> int:
    word = tokens.pop() if tokens and depth else ""
    if word == "-":
        return -_operand(tokens, inputs, depth - 1)
    if word == "(" or (word in _CALLS and tokens and tokens.pop() == "("):
        values = [_sum(tokens, inputs, 0, depth - 1)]
        while tokens and tokens[-1] == ",":
            tokens.pop()
            values.append(_sum(tokens, inputs, 0, depth - 1))
        if not tokens or tokens.pop() != ")" or (word == "(" and len(values) > 1):
            raise ValueError("brackets that do not close")
        return _small(values[0] if word == "(" else _CALLS[word](values))
    return _small(_integer(word) if word.isdigit() else inputs[word])


def _small(value: int) -> int:
    if value.bit_length() > _BITS:
        raise ValueError("a number too large to be one of bytes")
    return value
