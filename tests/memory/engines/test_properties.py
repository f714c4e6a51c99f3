"""What holds of every proof of every engine, over published configs and drawn workloads."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from memory.engines.serving import device

from vramguard.memory import Answer, Proof, Workload, prove
from vramguard.memory.expression import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Thousands of proofs: measuring their lines takes three times as long and finds no new one.
pytestmark = pytest.mark.no_cover

CATALOGUE = sorted((Path(__file__).parents[2] / "catalogue").glob("*.json"))
ENGINES = ("transformers", "vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp")
SPLIT = ("vllm", "sglang", "tgi", "tensorrt-llm")  # that split a layer across cards
VERSIONS = {
    "transformers": ("5.0.0", "5.23.0"),
    "vllm": ("0.8.5", "0.9.2", "0.10.0", "0.10.2", "0.12.0", "0.16.0", "0.19.0", "0.20.0", "0.28.0", "0.33.0"),
    "sglang": ("0.4.6.post5", "0.4.10", "0.5.5", "0.5.10", "0.5.23"),
    "tgi": ("2.0.4", "2.2.0", "2.3.1", "2.4.1", "3.0.2", "3.2.3", "3.3.7"),
    "tensorrt-llm": ("1.1.0", "1.2.1"),
    "llama.cpp": ("b9000", "0.1.0"),
}
CARDS = ("h100-sxm5-80gb", "a100-sxm4-40gb", "l4-24gb", "b200-180gb", "rtx-4090-24gb", "t4-16gb")
FOUR_BITS = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
GROUPS = {"weights", "kv_cache", "activations", "runtime", "offload"}
BUDGET = Fraction(4, 5)
SAMPLE = 10  # proofs, or pairs of them, that one property is tried on

Config = dict[str, Any]


@cache
def config(path: Path) -> Config:
    found: Config = json.loads(path.read_text("utf-8"))
    return found


def judged(of: Config, asked: Workload, **changed: Any) -> Proof:  # noqa: ANN401 - of any field of a workload
    return prove(of, replace(asked, **changed), device(asked.gpu or CARDS[0]), BUDGET)


def workload(engine: str, draw: random.Random) -> Workload:
    """Sizes of every magnitude; now and then a version, a grid of cards or a share that somebody stated."""
    stated = draw.random() < (0.95 if engine == "vllm" else 0.5)  # a proof over every vLLM takes long
    asked = Workload(
        engine=engine,
        engine_version=draw.choice(VERSIONS[engine]) if stated else None,
        gpu=draw.choice(CARDS),
        max_model_len=int(2 ** draw.uniform(0 if engine != "tgi" else 9, 17)),
        concurrency=draw.choice([None, 1, int(2 ** draw.uniform(0, 8))]),
    )
    if engine == "transformers":
        return replace(asked, attn_implementation=draw.choice([None, "eager", "sdpa"]))
    batched = draw.choice([None, int(2 ** draw.uniform(5, 16))])
    requests = draw.choice([None, int(2 ** draw.uniform(0, 10 if batched is None else 5))])
    asked = replace(asked, max_num_batched_tokens=batched, max_num_seqs=requests)
    if engine == "llama.cpp":
        return replace(asked, n_gpu_layers=draw.choice([None, None, -1, 0, 20]))
    return replace(
        asked,
        tensor_parallel_size=draw.choice([None, 1, 2, 4, 8]),
        pipeline_parallel_size=draw.choice([None, None, 1, 2]) if engine != "tgi" else None,
        enforce_eager=draw.choice([None, False, True]),
        gpu_memory_utilization=draw.choice([None, None, "0.5", "0.85", "0.95"]),
    )


def cases(engine: str, seed: str, number: int = SAMPLE) -> Iterator[tuple[Config, Workload, random.Random]]:
    """So many workloads that the engine can be judged on, each with its config."""
    draw = random.Random(f"{engine} {seed}")  # noqa: S311 - drawn alike in every run
    found = 0
    for _ in range(50 * number):
        of, asked = config(draw.choice(CATALOGUE)), workload(engine, draw)
        if judged(of, asked).totals is not None:
            yield of, asked, draw
            found += 1
            if found == number:
                return
    raise AssertionError(f"{engine}: {found} of {number} workloads can be judged")


def upper(proof: Proof) -> int | None:
    """The demand, with the weights on the card that a proof may leave on the host: it does so once they do not fit."""
    return proof.totals.peak_upper_bytes + proof.offload_bytes if proof.totals else None


def not_above(small: Proof, large: Proof, of: Callable[[Proof], int | None] = upper) -> bool:
    """Whether both are known; then the first may not be the larger one."""
    first, second = of(small), of(large)
    if first is None or second is None:
        return False
    assert first <= second, (small.architecture, small.workload, large.workload, first - second)
    return True


def group(name: str) -> Callable[[Proof], int | None]:
    return lambda proof: proof.ledger.upper_bytes(name) if proof.totals else None


@pytest.mark.parametrize("name", ["max_model_len", "concurrency", "max_num_batched_tokens", "max_num_seqs"])
@pytest.mark.parametrize("engine", ENGINES)
def test_more_never_needs_less(engine: str, name: str) -> None:
    compared = 0
    for of, asked, draw in cases(engine, name):
        value = getattr(asked, name) or int(2 ** draw.uniform(9, 13))
        more = max(value + 1, int(value * draw.choice([1, 1.1, 2, 8])))
        if (engine, name) == ("llama.cpp", "max_num_seqs"):
            # llama.cpp rounds the batch of its buffers up to a multiple of its slots, so that 512 tokens become 513 in
            # 3 slots and 512 in 4: what it takes grows from a number of slots to a multiple of it, and not in between.
            more = value * draw.choice([2, 3, 8])
        compared += not_above(judged(of, asked, **{name: value}), judged(of, asked, **{name: more}))
    assert compared > SAMPLE // 3


def test_fewer_bits_of_a_number_never_need_more() -> None:
    """On Turing no fused attention of PyTorch takes bfloat16: there transformers really needs more for it."""
    for engine in ENGINES:
        compared = 0
        for of, asked, _ in cases(engine, "dtype", SAMPLE // 2):
            wide = judged(of, asked, dtype="float32")
            compared += not_above(judged(of, asked, dtype="float16"), wide)
            if asked.gpu != "t4-16gb":
                compared += not_above(judged(of, asked, dtype="bfloat16"), wide)
        assert compared or engine in ("tgi", "tensorrt-llm"), engine  # which have no float32


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang", "llama.cpp"])
def test_fewer_bits_of_a_weight_never_need_more(engine: str) -> None:
    """Of weights; of the peak where nothing is made of them: transformers unpacks matrices in a pass, and vLLM packs
    what goes into each matrix of a tower, which is large beside the tower's weights.
    """
    compared = 0
    for of, asked, _ in cases(engine, "quantized"):
        dense = judged(of, asked)
        others = [judged(of, asked, quantization=flag) for flag in ("fp8", "nf4", "Q8_0", "Q4_K_M")]
        if not of.get("quantization_config"):
            others.append(judged(of | {"quantization_config": FOUR_BITS}, asked))
        for packed in others:
            compared += not_above(packed, dense, group("weights"))
            if engine != "transformers" and "vision_config" not in of:
                not_above(packed, dense)
    assert compared > SAMPLE // 3


def without_flashinfer(proof: Proof) -> int | None:
    """FlashAttention reads no cache of one byte but on Hopper: elsewhere vLLM really needs FlashInfer's buffers."""
    buffers = sum(term.upper_bytes for term in proof.ledger if term.name == "runtime/flashinfer_workspace")
    return None if proof.totals is None else proof.totals.peak_upper_bytes + proof.offload_bytes - buffers


@pytest.mark.parametrize("engine", [*SPLIT, "llama.cpp"])
def test_fewer_bits_of_the_cache_never_need_more(engine: str) -> None:
    compared = 0
    for of, asked, _ in cases(engine, "cache"):
        wide = judged(of, asked, kv_cache_dtype="auto")
        for packed in (judged(of, asked, kv_cache_dtype=dtype) for dtype in ("fp8", "fp8_e4m3", "fp8_e5m2", "q8_0")):
            not_above(packed, wide, group("kv_cache"))
            compared += not_above(packed, wide, without_flashinfer if engine == "vllm" else upper)
    assert compared > SAMPLE // 3


@pytest.mark.parametrize("engine", SPLIT)
def test_more_cards_never_have_more_weights_each(engine: str) -> None:
    compared = 0
    for of, asked, _ in cases(engine, "cards"):
        grids = [judged(of, asked, tensor_parallel_size=n, pipeline_parallel_size=1, gpus=n) for n in (1, 2, 4, 8)]
        known = [proof.ledger for proof in grids if proof.totals is not None]
        for fewer, more in pairwise(known):
            compared += 1
            assert more.upper_bytes("weights") <= fewer.upper_bytes("weights"), (asked, of.get("architectures"))
            assert more.lower_bytes("weights") <= fewer.lower_bytes("weights"), (asked, of.get("architectures"))
    assert compared >= SAMPLE


@pytest.mark.parametrize("engine", ENGINES)
def test_eager_never_needs_more(engine: str) -> None:
    compared = sum(
        not_above(judged(of, asked, enforce_eager=True), judged(of, asked, enforce_eager=False))
        for of, asked, _ in cases(engine, "eager", SAMPLE // 2)
    )
    assert compared


@pytest.mark.parametrize("engine", ENGINES)
def test_no_version_stated_is_as_any(engine: str) -> None:
    """Both bounds of the peak, what is reserved, and what of it is the cache's."""
    compared = 0
    for of, asked, _ in cases(engine, "version", 2 if engine == "vllm" else SAMPLE):
        unstated = judged(of, asked, engine_version=None)
        for version in VERSIONS[engine]:
            exact = judged(of, asked, engine_version=version)
            if not not_above(exact, unstated):
                continue
            compared += 1
            assert exact.totals is not None
            assert unstated.totals is not None
            assert unstated.totals.peak_lower_bytes <= exact.totals.peak_lower_bytes, (version, asked)
            if exact.pool is not None and unstated.pool is not None:
                assert exact.pool.reserved_bytes <= unstated.pool.reserved_bytes, (version, asked)
                assert exact.pool.kv_cache_bytes >= unstated.pool.kv_cache_bytes, (version, asked)
    assert compared > SAMPLE // 2


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_of_a_proof_agree(engine: str) -> None:
    draw = random.Random(engine)  # noqa: S311 - drawn alike in every run
    for path in draw.sample(CATALOGUE, 2 * SAMPLE):
        consistent(judged(config(path), workload(engine, draw)))


def consistent(proof: Proof) -> None:
    """Raise where the numbers of one proof contradict each other, or UNKNOWN names nothing."""
    if proof.totals is None:
        assert proof.answer is Answer.UNKNOWN
        assert words(proof.reason) > 2, proof.reason
        assert not proof.ledger.terms
        return
    rows(proof)
    totals, budget = proof.totals, proof.budget_bytes
    assert totals.peak_lower_bytes == sum(term.lower_bytes for term in proof.ledger)
    assert totals.peak_upper_bytes == sum(term.upper_bytes for term in proof.ledger)
    grouped = (totals.weights_bytes, totals.kv_cache_bytes, totals.activation_bytes, totals.runtime_bytes)
    assert sum(grouped) - proof.offload_bytes == totals.peak_upper_bytes
    assert proof.headroom_bytes == budget - totals.peak_upper_bytes
    assert proof.answer is not Answer.FITS or totals.peak_upper_bytes <= budget
    assert proof.answer is not Answer.EXCEEDS or totals.peak_lower_bytes > budget
    if proof.answer is Answer.UNKNOWN:  # between the bounds, or of a dtype that nobody names
        between = totals.peak_lower_bytes <= budget < totals.peak_upper_bytes
        assert between or "dtype" in (proof.reason or ""), proof.reason
    assert (proof.reason is None) == (proof.answer is Answer.FITS)
    pool(proof)


def words(reason: str | None) -> int:
    return len((reason or "").split())


def rows(proof: Proof) -> None:
    for term in proof.ledger:
        assert evaluate(term.formula, term.inputs) == term.upper_bytes, term
        assert evaluate(term.lower_formula or term.formula, term.inputs) == term.lower_bytes, term
        assert term.lower_bytes <= term.upper_bytes, term
        assert all(type(value) is int for value in term.inputs.values()), term
        assert term.group in GROUPS, term
    # Names of weights have * for every number in them: those of a module with numbered parts are several.
    names = [term.name for term in proof.ledger if term.group != "weights"]
    assert len(set(names)) == len(names), names


def pool(proof: Proof) -> None:
    found = proof.pool
    if found is None:
        return
    assert 0 <= found.kv_cache_bytes <= found.reserved_bytes, found
    assert found.kv_cache_tokens >= 0, found
    assert found.within_budget == (found.reserved_bytes <= proof.budget_bytes)
    assert found.starts is not False or Fraction(found.max_concurrency) < 1, found
    if found.starts:
        assert Fraction(found.max_concurrency) >= 1, found


@pytest.mark.parametrize("engine", SPLIT)
def test_the_largest_utilization_is_the_largest(engine: str) -> None:
    named = 0
    for of, asked, _ in cases(engine, "utilization"):
        first = judged(of, asked)
        assert first.pool is not None
        if first.pool.largest_utilization is None:
            continue
        named += 1
        largest = Fraction(first.pool.largest_utilization)
        assert reserves(of, asked, largest), (asked, first.pool)
        more = largest + Fraction(1, 1000)
        assert more >= 1 or not reserves(of, asked, more), (asked, first.pool)
    assert named > SAMPLE // 2 or engine in ("tgi", "tensorrt-llm")  # which give none: their share is of what is free


def reserves(of: Config, asked: Workload, share: Fraction) -> bool:
    """Whether what is taken at that share is within the budget."""
    found = judged(of, asked, gpu_memory_utilization=f"{float(share):.3f}").pool
    assert found is not None
    return found.within_budget


INTEGERS = tuple(field.name for field in fields(Workload) if "int" in str(field.type))
WORDS = tuple(f.name for f in fields(Workload) if "str" in str(f.type) and f.name not in ("engine", "gpu"))
FLAGS = tuple(field.name for field in fields(Workload) if "bool" in str(field.type))
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 10**400)
STRINGS = (
    *("", " ", "nan", "NaN", "inf", "-inf", "1e400", "1e9999999", "-1", "0", "0.0", "1.0", "1.5", "5.", ".5", "1/0"),
    *("1/3", "٣", "0x10", "1_0", "auto", "none", "\x00", "9" * 5000, "v", "v0.", "0.33.0.0.0", "0..1", "latest", "b1"),
)
VALUES: tuple[object, ...] = (
    *(*NUMBERS, 0.5, float("nan"), float("inf"), -float("inf"), True, False, None, "", "8192", "0.5", "nan", "\x00"),
    *([], [1], ["x"], {}, {"a": 1}, [None], [[]]),
)


def places(found: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a value stands in a config, of a list the first."""
    entries = found.items() if isinstance(found, dict) else [(0, found[0])] if isinstance(found, list) and found else ()
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def spoiled_config(of: Config, draw: random.Random) -> Config:
    """One value is another."""
    spoiled: Any = copy.deepcopy(of)
    *outer, last = draw.choice(list(places(of)))
    inner = spoiled
    for key in outer:
        inner = inner[key]
    inner[last] = draw.choice(VALUES)
    return spoiled  # type: ignore[no-any-return]


def spoiled_workload(asked: Workload, draw: random.Random) -> Workload:
    """One or two of its values are others."""
    changed: dict[str, Any] = {}
    for _ in range(draw.choice([1, 2])):
        name = draw.choice([*INTEGERS, *WORDS, *FLAGS])
        changed[name] = draw.choice(NUMBERS if name in INTEGERS else STRINGS if name in WORDS else (True, False))
    return replace(asked, **changed)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_but_a_proof_comes_of_hostile_values(engine: str) -> None:
    draw = random.Random(f"{engine} hostile")  # noqa: S311 - drawn alike in every run
    for _ in range(4 * SAMPLE):
        of, asked = config(draw.choice(CATALOGUE)), workload(engine, draw)
        consistent(judged(spoiled_config(of, draw), asked))
        consistent(judged(of, spoiled_workload(asked, draw)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [*INTEGERS, *WORDS])
def test_no_value_of_an_option_is_raised(engine: str, name: str) -> None:
    """Each hostile value of each option, with a config that the engine runs."""
    of = config(CATALOGUE[0].with_name("meta-llama--Llama-3.2-1B-Instruct.json"))
    asked = Workload(engine=engine, gpu=CARDS[0], max_model_len=4096, engine_version=VERSIONS[engine][-1])
    for value in NUMBERS if name in INTEGERS else STRINGS:
        consistent(judged(of, asked, **{name: value}))


def test_a_budget_is_refused_by_name() -> None:
    for budget in (Fraction(0), Fraction(-1), Fraction(3, 2)):
        with pytest.raises(ValueError, match="not a share"):
            prove(config(CATALOGUE[0]), Workload(), device(), budget)
