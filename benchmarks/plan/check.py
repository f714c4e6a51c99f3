"""Whether what `plan` and the findings say is exact: each value passes, and one step beyond it does not.

    .venv/bin/python benchmarks/plan/check.py [--training] [--write] [--count 2000] [--jobs 2]

Workloads are generated from a seed: the models of tests/catalogue and every class that transformers has with its own
defaults, in other depths and contexts, on every engine, on cards of the whole catalogue. Everything that is said of one
is put to a prover that shares nothing with what said it. `--write` puts the table into benchmarks/plan/README.md.
`--training` generates trainings instead, of the families whose steps are recorded, and writes training.md.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard import data
from vramguard.checks import changes
from vramguard.checks.vram import Question, device
from vramguard.memory import Answer, Depth, Prover, Workload
from vramguard.memory.planning import NODE, SLICE, batch, row, spreads
from vramguard.memory.training import optimizers, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.checks.changes import Change
    from vramguard.memory import Device, Proof
    from vramguard.memory.planning import Largest, Row

ROOT = Path(__file__).parents[2]
CATALOGUE = sorted((ROOT / "tests" / "catalogue").glob("*.json"))
BUDGET = Fraction(4, 5)
SEED = 9
TRAININGS = 10 * 10**6  # where seeds of trainings begin
CARDS_EACH = 4  # that are planned with one prover, as a table does
ENGINES = (
    *(("transformers", None), ("transformers", "4.57.0"), ("vllm", "0.19.0"), ("vllm", "0.33.0"), ("vllm", "0.11.0")),
    *(("vllm", None), ("sglang", "0.5.10"), ("sglang", None), ("tgi", "3.3.7"), ("tensorrt-llm", "1.2.1")),
    *(("llama.cpp", None), (None, None)),
)


class Said(NamedTuple):
    """What one workload was asked: how many answers of each kind were checked, and those that were wrong, in words."""

    checked: Counter[str]
    wrong: list[str]


class Case(NamedTuple):
    """A config and a workload, to be planned on several cards."""

    config: dict[str, Any]
    workload: Workload
    cards: tuple[Device, ...]


@cache
def classes() -> tuple[tuple[str, str], ...]:
    """Every class of language models that transformers has, with its model type."""
    table = json.loads(files("vramguard.memory.families").joinpath("configs.json").read_text("utf-8"))["classes"]
    return tuple(sorted((name, min(row["types"])) for name, row in table.items() if row["types"]))


def case(random: Random) -> Case:
    """One case, from the generator's state."""
    config = generated(random)
    engine, version = random.choice(ENGINES)
    whole = [device(name) for name in data.gpus()]
    return Case(config, workload(random, engine, version), tuple(random.sample(whole, CARDS_EACH)))


def generated(random: Random) -> dict[str, Any]:
    """A config: of the catalogue or a class with its defaults, of another depth and context half of the time."""
    if random.random() < 0.6:  # noqa: PLR2004
        config: dict[str, Any] = json.loads(random.choice(CATALOGUE).read_text("utf-8"))
    else:
        name, model_type = random.choice(classes())
        config = {"architectures": [name], "model_type": model_type, "torch_dtype": "bfloat16"}
    if random.random() < 0.5 and "layer_types" not in config:  # noqa: PLR2004
        if isinstance(config.get("num_hidden_layers"), int):
            config["num_hidden_layers"] = max(1, config["num_hidden_layers"] * random.choice((1, 2, 3, 6)) // 4)
        if isinstance(config.get("max_position_embeddings"), int):
            config["max_position_embeddings"] = random.choice((2048, 8192, 32768, 131072))
    return config


def workload(random: Random, engine: str | None, version: str | None) -> Workload:
    """What is asked: mostly little, now and then all of it."""

    def perhaps(likely: float, *values: Any) -> Any:  # noqa: ANN401
        return random.choice(values) if random.random() < likely else None

    one = engine in (None, "transformers", "llama.cpp")
    tensor = None if one else perhaps(0.5, 1, 2, 2, 3, 4, 8)
    stages = None if one else perhaps(0.15, 1, 2, 3)
    cards = (tensor or 1) * (stages or 1)
    return Workload(
        engine=engine,
        engine_version=version,
        tensor_parallel_size=tensor,
        pipeline_parallel_size=stages,
        gpus=perhaps(0.5, cards, cards, cards, 2 * cards),
        max_model_len=perhaps(0.7, random.randint(1, 2000), random.randint(2000, 40000), 4096, 32768, 131072),
        concurrency=perhaps(0.4, 1, 2, 3, 8, 40),
        max_num_seqs=perhaps(0.2, 1, 8, 64, 256),
        max_num_batched_tokens=perhaps(0.1, 2048, 16384),
        gpu_memory_utilization=perhaps(0.4, f"0.{random.randint(100, 990)}", "0.9", "0.7"),
        enforce_eager=perhaps(0.1, True),
        kv_cache_dtype=perhaps(0.1, "fp8") if engine == "vllm" else None,
        attn_implementation=perhaps(0.2, "eager", "sdpa") if engine in (None, "transformers") else None,
        device_map=perhaps(0.2, "auto", "balanced") if engine in (None, "transformers") else None,
    )


def training(random: Random) -> Case:
    """One training of a family whose steps are recorded: a stated batch, precision, optimizer, adapters, and cards."""

    def perhaps(likely: float, *values: Any) -> Any:  # noqa: ANN401
        return random.choice(values) if random.random() < likely else None

    known = {model_type: name for name, model_type in classes() if model_type in recorded.families()}
    model_type = random.choice(sorted(known))
    catalogue = [path for path in CATALOGUE if json.loads(path.read_text("utf-8")).get("model_type") in known]
    defaults = {"architectures": [known[model_type]], "model_type": model_type, "torch_dtype": "bfloat16"}
    config = json.loads(random.choice(catalogue).read_text("utf-8")) if random.random() < 0.5 else defaults  # noqa: PLR2004
    if isinstance(config.get("num_hidden_layers"), int) and "layer_types" not in config:
        config["num_hidden_layers"] = max(2, config["num_hidden_layers"] * random.choice((1, 2, 4)) // 4)
    mixed, adapted = perhaps(0.6, "bf16", "bf16", "fp16"), random.random() < 0.4  # noqa: PLR2004
    stage = perhaps(0.25, 1, 2, 3)
    asked = Workload(
        mode="training",
        engine=perhaps(0.3, "transformers"),
        max_model_len=perhaps(0.8, random.randint(1, 2048), 512, 1024, 4096, 8192),
        per_device_train_batch_size=perhaps(0.8, 1, 2, 4, 16, 64),
        gradient_accumulation_steps=perhaps(0.4, 1, 2, 8),
        gradient_checkpointing=perhaps(0.5, True, False),
        optim=perhaps(0.7, *optimizers.NAMES),
        bf16=True if mixed == "bf16" else None,
        fp16=True if mixed == "fp16" else None,
        dtype=perhaps(0.6, "float32", "bfloat16", "bfloat16"),
        lora_rank=random.choice((4, 8, 64)) if adapted else None,
        lora_target_modules=perhaps(0.9, "all-linear", "all-linear", "q_proj,v_proj") if adapted else None,
        quantization=perhaps(0.4, "bnb-nf4") if adapted else None,
        gpus=perhaps(0.4, 1, 2, 4, 8),
        zero_stage=stage,
        fsdp=None if stage else perhaps(0.2, "full_shard auto_wrap", "full_shard", "shard_grad_op auto_wrap"),
        attn_implementation=perhaps(0.2, "eager", "sdpa"),
        device_map=perhaps(0.1, "auto"),
    )
    return Case(config, asked, tuple(random.sample([device(name) for name in data.gpus()], CARDS_EACH)))


class Checker:
    """One workload on one card; each question is put to a prover of its own."""

    def __init__(self, case: Case, card: Device, random: Random) -> None:
        self.case, self.card, self.random = case, card, random
        self.workload = replace(case.workload, gpu=card.name)
        self.said = Said(Counter(), [])

    def prove(self, depth: Depth = Depth.ANSWER, /, **changed: Any) -> Proof:  # noqa: ANN401
        """The proof with some values changed, from the beginning."""
        return Prover(self.case.config, BUDGET)(replace(self.workload, **changed), self.card, depth)

    def expect(self, what: str, *, right: bool, why: object) -> None:
        """Count an answer, and say what was wrong with it."""
        self.said.checked[what] += 1
        if not right:
            config = self.case.config.get("architectures"), self.case.config.get("num_hidden_layers")
            self.said.wrong.append(f"{what}: {why}; {config} {self.workload} on {self.card.name}")

    def run(self, shared: Prover) -> Said:
        """Everything that is said of it."""
        found = row(shared, self.workload, self.card, shared.context)
        asked = self.prove(Depth.POOL)
        self.expect("as it stands", right=found.asked == asked, why=(found.asked, asked))
        self.said.checked["peaks"] += asked.totals is not None
        if asked.parameters is None:
            return self.said
        self.largest("max_model_len", found.max_model_len)
        self.largest(batch(self.workload), found.concurrency)
        self.share(asked)
        self.cards(found)
        for one in found.quantized:
            proof = self.prove(quantization=one.method)
            self.expect(f"quantization {one.answer}", right=proof.answer is one.answer, why=(one, proof.reason))
        self.changes(shared, asked)
        return self.said

    def fits(self, **changed: Any) -> bool:  # noqa: ANN401
        """Whether it fits with some values changed."""
        return self.prove(Depth.ANSWER, **changed).answer is Answer.FITS

    def largest(self, field: str, found: Largest) -> None:
        """It fits at the value and not at the next; nor at any larger one, and at every smaller one, by samples."""
        value = found.value or 0
        if found.value is not None:
            self.expect(f"{field} fits", right=self.fits(**{field: value}), why=found)
            below = self.random.randint(1, value)
            proof = self.prove(Depth.ANSWER, **{field: below})
            refused = proof.totals is None and not proof.mismatch  # below what the engine is modelled for
            self.expect(f"{field} fits below", right=refused or proof.answer is Answer.FITS, why=(found, below, proof))
        if found.limit == "budget":
            self.expect(f"{field} + 1 does not fit", right=not self.fits(**{field: value + 1}), why=found)
            above = value + 2 + self.random.randint(0, 1 << self.random.randint(0, 17))
            self.expect(f"{field} does not fit above", right=not self.fits(**{field: above}), why=(found, above))

    def within(self, thousandths: int) -> bool:
        """Whether what is taken at that share is within the budget."""
        pool = self.prove(Depth.POOL, gpu_memory_utilization=f"{thousandths / 1000:g}").pool
        return pool is not None and pool.within_budget

    def share(self, asked: Proof) -> None:
        """The largest share that is within the budget, and the next."""
        if asked.pool is None or asked.pool.largest_utilization is None:
            return
        share = int(Fraction(asked.pool.largest_utilization) * 1000)
        self.expect("utilization is within", right=self.within(share), why=asked.pool)
        if share < 999:  # noqa: PLR2004 - at 1 some engines refuse
            self.expect("utilization + 0.001 is not within", right=not self.within(share + 1), why=asked.pool)

    def cards(self, found: Row) -> None:
        """The fewest cards fit it, and no grid of fewer does."""
        node = 1 if SLICE in self.card.name else NODE
        for grid in spreads(self.workload, node):
            fits = Prover(self.case.config, BUDGET)(grid, self.card).answer is Answer.FITS
            same = grid.tensor_parallel_size in (None, found.cards.tensor_parallel_size)
            if same and grid.gpus == found.cards.gpus:
                self.expect("cards fit", right=fits, why=(found.cards, grid))
                return
            self.expect("fewer cards do not fit", right=not fits, why=(found.cards, grid))

    def changes(self, shared: Prover, asked: Proof) -> None:
        """Each change that findings would name passes; one step less does not."""
        question = Question(shared, self.workload, self.card, shared.context, packed=False)
        asked = replace(asked, min_fitting_gpus=None)
        pool = asked.pool
        if asked.mismatch:
            for change in changes.to_spread(question, asked):
                self.spread(change)
        elif asked.answer is not Answer.FITS:
            for change in changes.to_fit(question, asked):
                self.change("VG201", change, changes.fits)
        if pool is not None and not pool.within_budget:
            for change in changes.to_keep(question, asked, "gpu_memory_utilization"):
                self.change("VG203", change, changes.keeps)
        if pool is not None and (pool.refusal or not pool.starts):
            for change in changes.to_start(question, asked, "gpu_memory_utilization"):
                self.change("VG204", change, changes.starts)

    def spread(self, change: Change) -> None:
        """The nearest size that the engine takes: none between it and what is asked is."""
        size, step = int(change.new), 1 if int(change.new) > int(change.old or 1) else -1
        for new in range(int(change.old or 1), size + step, step):
            grid = changes._grid(self.workload, change.field, new)  # noqa: SLF001
            found = Prover(self.case.config, BUDGET)(grid, self.card)
            taken = found.mismatch is None and found.totals is not None
            self.expect(f"VG205 {change.field}", right=taken is (new == size), why=(change, new, found.reason))

    def change(self, rule: str, change: Change, passes: Callable[[Proof], bool]) -> None:
        """It passes, and one step less does not."""
        depth = Depth.ANSWER if rule == "VG201" else Depth.POOL

        def at(value: Any) -> bool:  # noqa: ANN401
            workload, card = self.workload, self.card
            if change.field == "gpu":
                card = device(value)
                workload = replace(workload, gpu=value)
            elif change.field == "tensor_parallel_size":
                workload = changes._grid(workload, change.field, value)  # noqa: SLF001
            else:
                workload = replace(workload, **{change.field: value})
            return passes(Prover(self.case.config, BUDGET)(workload, card, depth))

        self.expect(f"{rule} {change.field} passes", right=at(change.new), why=change)
        for less in steps(change, self.card):
            self.expect(f"{rule} {change.field}, one step less", right=not at(less), why=(change, less))


def steps(change: Change, card: Device) -> Iterator[int | str]:
    """One step less than a change; of cards and grids all that are less."""
    if change.field == "gradient_checkpointing":
        yield change.old or 0
    elif change.field in ("tensor_parallel_size", "gpus"):
        yield from range(int(change.old or 1) + 1, int(change.new))
    elif change.field == "gpu":
        cards = sorted((device(name) for name in data.gpus()), key=lambda one: (one.capacity_bytes, one.name))
        names = [one.name for one in cards if one.capacity_bytes > card.capacity_bytes and SLICE not in one.name]
        yield from names[: names.index(str(change.new))]
    elif change.field == "gpu_memory_utilization":
        step = 1 if Fraction(str(change.new)) < Fraction(str(change.old)) else -1
        yield f"{(int(Fraction(str(change.new)) * 1000) + step) / 1000:g}"
    else:
        yield int(change.new) + 1


def checked(seed: int) -> Said:
    """One case of that seed, on its cards, with one prover for all of them."""
    random = Random(seed)  # noqa: S311 - no secret
    made = (training if seed >= TRAININGS else case)(random)
    shared = Prover(made.config, BUDGET)
    said = Said(Counter(), [])
    for card in made.cards:
        one = Checker(made, card, random).run(shared)
        said.checked.update(one.checked)
        said.checked["workloads"] += 1
        said.checked[f"engine {made.workload.mode or made.workload.engine or 'not stated'}"] += 1
        said.wrong.extend(f"seed {seed}: {line}" for line in one.wrong)
    return said


def seeds(count: int, start: int = SEED * 10**6) -> range:
    """Seeds of as many workloads."""
    return range(start, start + -(-count // CARDS_EACH))


def table(total: Said, seconds: float) -> str:
    """What was checked, in Markdown."""
    engines = {name.removeprefix("engine "): number for name, number in total.checked.items() if "engine " in name}
    by_engine = ", ".join(f"{name} {number}" for name, number in sorted(engines.items()))
    answers = sum(number for name, number in total.checked.items() if counted(name))
    workloads, words = total.checked["workloads"], "--training --write" if "training" in engines else "--write"
    lines = [
        "# Whether a plan is exact",
        "",
        f"`benchmarks/plan/check.py {words}`, {datetime.now(UTC).date()}: {workloads:,} generated workloads",
        f"({by_engine}), each answer",
        "of `plan` and each change that VG201 to VG205 would name put to a prover that shares nothing with what said",
        f"it ({total.checked['peaks']:,} of them have a peak; of the others none is known):",
        f"**{len(total.wrong)} wrong of {answers:,}**, in {seconds:,.0f} s.",
        "",
        "| what was asked | proofs |",
        "|---|---:|",
        *(f"| {name} | {number:,} |" for name, number in sorted(total.checked.items()) if counted(name)),
        "",
    ]
    return "\n".join([*lines, *(f"- {line}" for line in total.wrong)])


def counted(name: str) -> bool:
    """Whether a count is of answers."""
    return name not in ("workloads", "peaks") and not name.startswith("engine ")


def main() -> int:
    """Check them all; 1 where an answer was wrong."""
    parser = ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    total, start = Said(Counter(), []), perf_counter()
    asked = seeds(given.count, TRAININGS) if given.training else seeds(given.count)
    with ProcessPoolExecutor(given.jobs) as pool:
        for said in pool.map(checked, asked, chunksize=4):
            total.checked.update(said.checked)
            total.wrong.extend(said.wrong)
            for line in said.wrong:
                print(line, file=sys.stderr, flush=True)
    text = table(total, perf_counter() - start)
    print(text)
    if given.write:
        (Path(__file__).parent / ("training.md" if given.training else "README.md")).write_text(text, "utf-8")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
