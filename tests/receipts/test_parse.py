"""A reader of a log and the parser find the same values in it; a log can be anything and is read in its own time."""

from __future__ import annotations

import re
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from timed import within

from vramguard.receipts import Measured, Receipt, Settings, Size, parse
from vramguard.receipts.lines import ROWS

LOGS = Path(__file__).parent / "logs"
ENTRIES: list[dict[str, Any]] = tomli.loads((LOGS / "logs.toml").read_text("utf-8"))["log"]
GIB = 1 << 30


def log(name: str) -> str:
    return (LOGS / name).read_text("utf-8")


def said(values: dict[str, Any]) -> dict[str, Any]:
    """What a rank says, with sizes as the range of bytes: `parts` sums are known half a hundredth worse each."""
    parts = {name.removesuffix("_parts"): count for name, count in values.items() if name.endswith("_parts")}
    sizes: dict[str, Any] = {}
    for name, value in values.items():
        if not name.endswith("_parts"):
            sized = isinstance(value, str) and name != "concurrency"
            sizes[name] = spread(value, parts.get(name, 1)) if sized else value
    return sizes


def spread(printed: str, parts: int) -> Size:
    """All bytes that print as this many GiB, as a sum of `parts` numbers that were rounded alone."""
    slack = Fraction(GIB * parts, 2 * 10 ** len(printed.partition(".")[2]))
    return Size(-((slack - Fraction(printed) * GIB) // 1), (Fraction(printed) * GIB + slack) // 1)


def known(values: Measured | Settings) -> dict[str, Any]:
    return {name: value for name, value in asdict(values).items() if value is not None}


def nearly(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Equal, but for the byte that rounding each part of a sum may cost."""
    if found.keys() != expected.keys():
        return False
    ends = ((found[name], value) for name, value in expected.items())
    return all(
        max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= 1 if isinstance(other, Size) else one == other
        for one, other in ends
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["file"]))
def test_each_log_gives_what_a_reader_finds(entry: dict[str, Any]) -> None:
    receipt = parse(log(entry["file"]))
    assert receipt.engine == entry["engine"]
    assert receipt.version == entry.get("version")
    assert known(receipt.settings) == entry["settings"]
    assert receipt.ranks.keys() == entry["ranks"].keys()
    for name, values in entry["ranks"].items():
        assert nearly(known(receipt.ranks[name]), said(values)), (name, known(receipt.ranks[name]), said(values))
    assert receipt.unknown == receipt.contradictions == ()
    assert receipt.cut == 0


def test_every_log_has_its_row_and_its_source() -> None:
    ours = {path.name for path in LOGS.glob("*.log") if path.name.startswith(("vllm-", "sglang-"))}
    assert {entry["file"] for entry in ENTRIES} == ours
    public = re.compile(r"https://github\.com/\S+|[\w-]+/[\w.-]+@[0-9a-f]{40}:\S+")
    assert all(public.fullmatch(entry["source"]) for entry in ENTRIES)
    vllm = {entry["file"].split("-")[1] for entry in ENTRIES if entry["engine"] == "vllm"}
    assert len([version for version in vllm if version[0].isdigit()]) >= 6
    assert sum(entry["engine"] == "sglang" for entry in ENTRIES) >= 3


def test_the_worst_rank_binds() -> None:
    measured = parse(log("vllm-0.19-pp2.log")).measured
    assert measured.activation == spread("2.01", 1)
    assert measured.kv_cache == spread("65.63", 1)
    assert measured.kv_cache_tokens == 1_075_312
    assert parse(log("vllm-0.11-html-tp2.log")).measured.kv_cache == spread("2.90", 1)


def test_what_was_asked_is_kept_beside_what_runs() -> None:
    receipt = parse(log("vllm-0.24.log"))
    assert receipt.asked.quantization == "modelopt"
    assert receipt.settings.quantization == "modelopt_fp4"
    assert receipt.asked.tensor_parallel_size is None


@pytest.mark.parametrize(
    "line",
    [
        "INFO 01-01 [gpu_worker.py:1] Sharding freed 3.21 GiB of wonder memory",
        "(Worker_TP0 pid=1) INFO Flux cache is 12.5 GB",
        "Reserved 512 MiB for the frobnicator",
    ],
)
def test_a_line_of_memory_in_unknown_words_is_named(line: str) -> None:
    receipt = parse(f"hello\n{line}\n")
    assert [(found.number, found.text) for found in receipt.unknown] == [(2, line)]
    assert receipt.ranks == {}


@pytest.mark.parametrize(
    "line",
    [
        "model-00001-of-00004.safetensors: 100%|##########| 4.98G/4.98G [00:10<00:00, 480MB/s]",
        "INFO [loader.py:1] Filesystem type for checkpoints: EXT4. Checkpoint size: 14.99 GiB. Available RAM: 9 GiB.",
        "INFO [loggers.py] Engine 000: Avg prompt throughput: 10.0 tokens/s, GPU KV cache usage: 8.2%",
        "Capturing batches (bs=1 avail_mem=38.07 GB): 100%",
    ],
)
def test_a_line_about_something_else_is_not(line: str) -> None:
    assert parse(line).unknown == ()


def test_a_value_that_contradicts_an_earlier_one_is_named_and_does_not_count() -> None:
    receipt = parse("Model loading took 14.99 GiB and 3 seconds\nModel loading took 7.00 GiB and 3 seconds\n")
    assert receipt.measured.weights == spread("14.99", 1)
    assert [line.number for line in receipt.contradictions] == [2]


def test_the_same_value_printed_finer_is_taken() -> None:
    receipt = parse("model weights take 14.99GiB;\nModel loading took 14.9889 GiB and 3 seconds\n")
    assert receipt.measured.weights == spread("14.9889", 1)
    assert receipt.contradictions == ()


def test_a_restarted_server_counts_once() -> None:
    one = log("sglang-0.4.log")
    assert parse(one + one).ranks == parse(one).ranks
    twice = parse("vLLM API server version 0.9.0\nModel loading took 7.00 GiB\n" + log("vllm-0.19-pp2.log"))
    assert twice.ranks == parse(log("vllm-0.19-pp2.log")).ranks
    assert twice.version == "0.19.0"


def test_dropped_zeros_do_not_widen_a_size() -> None:
    """VLLM's format_gib prints 60.5 for 60.50: it is as fine as 60.51."""
    assert Size.printed("60.5", "GiB") == Size.printed("60.50", "GiB") == spread("60.50", 1)
    assert Size.printed("-1.44", "GiB").low < Size.printed("-1.44", "GiB").high < 0


def test_colours_and_carriage_returns_do_not_disturb() -> None:
    plain = log("vllm-0.19-pp2.log")
    dressed = plain.replace("INFO", "\x1b[32mINFO\x1b[0m").replace("(Worker", "\x1b[0;36m(Worker").replace("\n", "\r\n")
    assert parse(dressed) == parse(plain)


def test_the_engines_own_words_for_the_newest_version() -> None:
    """VLLM 0.33.0: one line for the cache, and what is consumed instead of what is not PyTorch's."""
    receipt = parse(
        "INFO [kv_cache_utils.py:1148] GPU KV cache size: 476,016 tokens, "
        "Maximum concurrency for 8,192 tokens per request: 58.11x\n"
        "DEBUG [gpu_worker.py:770] Memory profiling takes 9.00 seconds. Total non KV cache memory: 17.12GiB; torch "
        "peak memory increase: 1.89GiB; total consumed (from mem_get_info): 15.24GiB; weights memory: 14.99GiB.\n"
        "INFO [gpu_worker.py:1065] Free memory on device (78.68/79.19 GiB) on startup. Desired GPU memory utilization "
        "is (0.92, 72.86 GiB). Actual usage is 15.24 GiB for consumed memory (weights + non-torch), 1.89 GiB for peak "
        "activation, and 0.91 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with "
        "`--kv-cache-memory=1` (57.05 GiB) to fit into requested memory. Current kv cache memory in use is 55.74 GiB.\n"
    )
    values = {"total": "79.19", "requested": "72.86", "weights": "14.99", "activation": "1.89", "consumed": "15.24"}
    values |= {"non_kv_cache": "17.12", "graphs": "0.91", "kv_cache": "55.74", "concurrency": "58.11"}
    expected = said(values) | {"kv_cache_tokens": 476_016, "concurrency_tokens": 8192}
    assert known(receipt.measured) == expected
    assert receipt.unknown == ()


HOSTILE = {
    "one huge line": "Model loading took " + "9" * 5_000_000,
    "quotes without end": "Initializing a V1 LLM engine (v1) with config: " + "model='" * 1_000_000,
    "brackets without end": "non-default args: {" + "'a': [" * 500_000,
    "commas": "server_args=ServerArgs(" + "," * 3_000_000,
    "many configurations": "Initializing a V1 LLM engine (v1) with config: model='a', x=(((\n" * 50_000,
    "spaces": ("total_gpu_memory" + " " * 60_000 + "GiB\n") * 40,
    "ranks": "".join(f"(Worker_TP{n % 99999} pid={n}) Model loading took 1.00 GiB\n" for n in range(30_000)),
    "control characters": "\x00\x1b[9999999999999999999m\u202e 1 GiB \x07" * 100_000,
    "words": ("the rest of the memory reserved for KV Cache is " * 1000 + "1 GiB\n") * 50,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_log_is_read_in_its_own_time(name: str) -> None:
    with within(10):
        receipt = parse(HOSTILE[name])
    assert all(len(line.text) <= 300 for line in (*receipt.unknown, *receipt.contradictions))
    assert len(receipt.unknown) <= 1000


def test_a_line_that_is_cut_is_counted() -> None:
    assert parse(HOSTILE["one huge line"]).cut == 1


PIECES = st.sampled_from([*(row.pattern.pattern for row in ROWS), *(log(entry["file"]) for entry in ENTRIES)])


@given(st.lists(st.one_of(st.text(), PIECES), max_size=6))
def test_anything_is_read(pieces: list[str]) -> None:
    assert isinstance(parse("\n".join(pieces)), Receipt)


def test_nothing_says_nothing() -> None:
    assert parse("") == parse("hello\nworld\n") == Receipt()
