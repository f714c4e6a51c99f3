"""Deployments that vramguard finds in public repositories, against labels that were made by eye before it ran.

Usage: python compare.py CHECKOUTS [--half development|held-out|all] [--verbose]

CHECKOUTS holds one folder per repository, OWNER+NAME, at the commit in labels-*.toml, whose heads say how to read them.
Each repository is read whole, as `check` reads it. Printed: deployments found, missed and false; fields right and
wrong, a field that is reported and not written being wrong; and how many of those that state their model are decided,
FITS or EXCEEDS, without any word from the user.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vramguard import data, engine
from vramguard.checks.vram import VramBudget
from vramguard.discover import WorkTree
from vramguard.facts import Deployment, Facts, Unknown
from vramguard.link.launches.hardware import named

HERE = Path(__file__).parent
REACH = 60  # lines between a label and what is reported for it
OTHER_WORDS = {"mem_fraction_static": "gpu_memory_utilization"}
# What a label may state; what is reported of these and not written is wrong.
STATED = [
    "engine",
    "accelerator",
    "model",
    "revision",
    "gpu",
    "gpus",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "max_model_len",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "gpu_memory_utilization",
    "max_num_seqs",
    "max_num_batched_tokens",
    "cpu_offload_gb",
    "device_map",
    "engine_version",
    "enforce_eager",
]
# Ours name what a preset, an image or a resource means where a label has its text.
SAME = {"nim": {"nim", "tensorrt-llm", "vllm"}, "triton": {"triton", "tensorrt-llm", "vllm"}}


@dataclass
class Count:
    """One run's counts, and what to look at."""

    found: int = 0
    missed: int = 0
    false: int = 0
    right: int = 0
    wrong: int = 0
    joined: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        for name in ("found", "missed", "false", "right", "wrong", "joined"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.answers += other.answers
        self.lines += other.lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path)
    parser.add_argument("--half", default="development", choices=["development", "held-out", "all"])
    parser.add_argument("--labels", nargs="*", type=Path, default=sorted(HERE.glob("labels-*.toml")))
    parser.add_argument("--only", default="", help="repositories whose name contains this")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    total = Count()
    for repository, files in wanted(given.labels, given.half).items():
        if given.only in repository:
            total.add(compare(given.checkouts, repository, files))
    report(total, verbose=given.verbose)


def wanted(labels: list[Path], half: str) -> dict[str, list[dict[str, Any]]]:
    """Labelled files by repository."""
    result: dict[str, list[dict[str, Any]]] = {}
    for path in labels:
        for file in tomllib.loads(path.read_text("utf-8"))["file"]:
            if half in ("all", file["half"]):
                result.setdefault(file["repository"], []).append(file)
    return result


def compare(checkouts: Path, repository: str, files: list[dict[str, Any]]) -> Count:
    root = checkouts / repository.replace("/", "+")
    count = Count()
    if not root.is_dir():
        print(f"left out, no checkout: {repository}")
        return count
    tree = WorkTree(root)
    policy = engine.load_policy(tree)
    _, facts = engine.gather(tree, policy.configuration)
    for file in files:
        found = [item for item in facts.of(Deployment) if speaks_of(item, file["path"])]
        where = f"{repository} {file['path']}"
        count.add(of_file(where, file, found, facts))
    return count


def speaks_of(item: Deployment, path: str) -> bool:
    """Whether a deployment stands in a file, or the model that it loads is named there."""
    return item.at.path == path or ("model" in item.places and item.places["model"].path == path)


def line(item: Deployment, path: str) -> int:
    """Its line in that file."""
    return item.at.line if item.at.path == path else item.places["model"].line


def of_file(where: str, file: dict[str, Any], found: list[Deployment], facts: Facts) -> Count:
    labels, count = file.get("deployment", []), Count()
    path = file["path"]
    pairs = sorted(  # what stands in the file itself comes first
        (item.at.path != path, distance(label, line(item, path)), n, m)
        for n, label in enumerate(labels)
        for m, item in enumerate(found)
    )
    taken: dict[int, int] = {}
    for _, far, n, m in pairs:
        if far <= REACH and n not in taken and m not in taken.values():
            taken[n] = m
    for n, label in enumerate(labels):
        at = f"{where}:{label['line']}"
        if n in taken:
            matched(at, label, found[taken[n]], facts, count)
        elif not label.get("borderline"):
            count.missed += 1
            count.lines.append(f"missed  {at}: {label.get('engine')} {label.get('model')}")
    neutral = set(file.get("neutral_lines", ())) | {n for label in labels for n in label.get("neutral_lines", ())}
    for m, item in enumerate(found):
        if (
            item.at.path == path
            and m not in taken.values()
            and item.at.line not in neutral
            and not inside(item, labels)
        ):
            count.false += 1
            count.lines.append(f"false   {where}:{item.at.line}: {item.engine} {item.model} ({item.form} {item.name})")
    return count


def inside(item: Deployment, labels: list[dict[str, Any]]) -> bool:
    """Whether it stands inside a borderline label, which is neither right nor wrong."""
    spans = [label.get("span", [label["line"]] * 2) for label in labels if label.get("borderline")]
    return any(first <= item.at.line <= last for first, last in spans)


def distance(label: dict[str, Any], at: int) -> int:
    """Lines between a label and what is reported; 0 where the label says that the line is as good."""
    first, last = label.get("span", [label["line"], label["line"]])
    if first <= at <= last or at in label.get("also_lines", ()):
        return 0
    return min(abs(at - line) for line in (label["line"], first, last))


def matched(at: str, label: dict[str, Any], item: Deployment, facts: Facts, count: Count) -> None:
    if not label.get("borderline"):
        count.found += 1
    also = {**label.get("also", {}), **label.get("accept", {})}
    stated = {OTHER_WORDS.get(name, name): value for name, value in label.items()}
    for name in STATED:
        said, meant = getattr(item, name), stated.get(name)
        others = also.get(name, [])
        others = others if isinstance(others, list) else [others]
        if meant is None and said is None:
            continue
        if meant is not None and said is None and name in label.get("optional", ()):
            continue
        if (meant is None or isinstance(meant, dict)) and _elsewhere(item, name):
            count.joined += 1  # another file says it, which the labels of this one do not cover
            continue
        right = any(same(name, said, other) for other in [meant if meant is not None else "absent", *others])
        count.right += right
        count.wrong += not right
        if not right:
            count.lines.append(f"wrong   {at}: {name} is {show(meant)}, reported {show(said)}")
    if label.get("not_judged") or label.get("borderline") or item.accelerator or item.training or "model" not in label:
        return
    proof, *_ = VramBudget().prove_one(facts, item)
    count.answers[proof.answer.value] += 1
    if proof.answer.value == "UNKNOWN":
        count.lines.append(f"UNKNOWN {at}: {proof.reason}")


def _elsewhere(item: Deployment, name: str) -> bool:
    return name in item.places and item.places[name].path != item.at.path


def same(name: str, said: object, meant: object) -> bool:
    if meant == "absent":
        return said is None
    if meant == "unknown" or isinstance(meant, dict):
        return isinstance(said, Unknown)
    if said is None or isinstance(said, Unknown):
        return False
    return _alike(name, str(said), str(meant))


def _alike(name: str, said: str, meant: str) -> bool:
    if name == "gpu":
        return card(said) == card(meant)
    if name == "engine":
        return said in SAME.get(meant, {meant})
    if name in ("gpu_memory_utilization", "cpu_offload_gb"):
        return float(said) == float(meant)
    return said.lower() == meant.lower()


def card(name: str) -> str:
    """The row of the catalogue that a text names, as a card or as a machine; else the text."""
    row, machine = data.gpu(name), data.instance(name)
    return row.name if row else machine.gpu if machine else named(name) or name.lower()


def show(value: object) -> str:
    return f"unknown `{value.text}`" if isinstance(value, Unknown) else f"`{value}`"


def report(count: Count, *, verbose: bool) -> None:
    if verbose:
        print(*sorted(count.lines), sep="\n")
    labelled, values = count.found + count.missed, count.right + count.wrong
    decided = count.answers["FITS"] + count.answers["EXCEEDS"]
    asked = sum(count.answers.values())
    print(f"deployments: {count.found} of {labelled} found, {count.missed} missed, {count.false} false")
    print(f"fields: {count.right} of {values} right, {count.wrong} wrong; {count.joined} from other files not compared")
    print(f"decided: {decided} of {asked} that state their model: {dict(count.answers)}")


if __name__ == "__main__":
    main()
