"""data/launchers.toml: every spelling is upstream's, every row has a meaning; how words are written does not matter."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launched import deployment, said

from vramguard.data import load
from vramguard.facts import Deployment
from vramguard.link.launches import hardware, images
from vramguard.link.launches.flags import find
from vramguard.link.launches.tables import TAKES, Engine, engines
from vramguard.link.launches.tables import images as all_images

RECORDED: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent / "recorded_flags.json").read_text(encoding="utf-8")
)["flags"]
FIELDS = {each.name for each in fields(Deployment)}
BEGINNINGS = {"--tp", "--dp"}  # that SGLang's argparse takes for --tp-size and --dp-size


@pytest.mark.parametrize("name", RECORDED)
def test_every_spelling_is_upstream(name: str) -> None:
    known = {flag for names in RECORDED[name].values() for flag in names.split()}
    assert len(known) > 35
    assert set(engines()[name].flags) - known - BEGINNINGS == set()


@pytest.mark.parametrize("name", ["vllm", "sglang", "tgi"])
def test_every_flag_of_upstream_is_there_and_takes_as_many_values(name: str) -> None:
    flags = engines()[name].flags
    wrong = {
        flag: (takes, flags[flag].takes if flag in flags else None)
        for takes, names in RECORDED[name].items()
        for flag in names.split()
        if flag not in flags or flags[flag].takes != takes
    }
    assert wrong == {}


@pytest.mark.parametrize("engine", engines().values(), ids=engines())
def test_rows_mean_something(engine: Engine) -> None:
    assert engine.source
    assert date.fromisoformat(engine.date) <= date(2030, 1, 1)
    assert engine.programs
    for name, flag in engine.flags.items():
        assert name in flag.names
        assert flag.takes in TAKES
        assert (flag.field is not None) + (flag.special is not None) + flag.unread <= 1
        assert flag.field is None or flag.field in FIELDS
        assert flag.field or flag.special or flag.because
    for variable, flag_name in engine.variables.items():
        assert find(flag_name, engine)[0] is not None, variable
    assert set(engine.nested.values()) <= FIELDS


def test_values_that_do_no_harm_are_of_flags_that_are_there() -> None:
    for row in load("launchers")["engine"]:
        for group in row.get("unread", ()):
            listed = {name for takes in TAKES for name in group.get(takes, "").split()}
            assert set(group.get("unless", {})) <= listed, row["name"]
        assert set(row.get("harmless_values", {})) <= set(row.get("harmful", ())), row["name"]


def test_no_flag_is_in_two_groups() -> None:
    for row in load("launchers")["engine"]:
        names = [name for flag in row.get("flags", ()) for name in flag["names"].split()]
        groups = [*row.get("unread", ()), *row.get("harmless", ())]
        names += [name for group in groups for takes in TAKES for name in group.get(takes, "").split()]
        assert sorted(set(names)) == sorted(names), row["name"]


def test_images_name_engines_that_are_there() -> None:
    for image in all_images():
        assert image.engine in engines()
        assert image.source
        assert date.fromisoformat(image.date) <= date(2030, 1, 1)


VALUES: dict[str, tuple[str, ...]] = {
    "--max-model-len": ("4096", "32k"),
    "--tensor-parallel-size": ("2", "8"),
    "--gpu-memory-utilization": ("0.9",),
    "--dtype": ("half", "bfloat16"),
    "--kv-cache-dtype": ("fp8",),
    "--max-num-seqs": ("64",),
    "--served-model-name": ("name",),
    "--load-format": ("tensorizer",),
    "--speculative-config": ('{"method": "ngram", "num_speculative_tokens": 3}',),
}


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """The same flags twice, in another order and in another spelling."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, min_size=1))
    chosen = {name: draw(st.sampled_from(VALUES[name])) for name in names}
    plain = ["vllm", "serve", "a/b"]
    for name, value in chosen.items():
        plain += [name, value]
    other = ["vllm", "serve"]
    for name in draw(st.permutations(names)):
        spelled = name.replace("-", "_").replace("__", "--", 1) if draw(st.booleans()) else name
        joined = name == "--served-model-name" or draw(st.booleans())  # it takes all words up to the next flag
        other += [f"{spelled}={chosen[name]}"] if joined else [spelled, chosen[name]]
    place = draw(st.sampled_from([2, len(other)]))
    return plain, [*other[:place], "a/b", *other[place:]]


@settings(deadline=None)
@given(command_lines())
def test_order_joining_and_underscores_change_nothing(lines: tuple[list[str], list[str]]) -> None:
    first, second = (said(deployment(line)) for line in lines)
    first_unread, second_unread = (set(map(plain, each.pop("unread", ()))) for each in (first, second))
    assert first == second
    assert first_unread == second_unread


def plain(text: str) -> str:
    return text.replace("_", "-")


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=8), st.text(max_size=60), st.text(max_size=40))
def test_hostile_words_are_only_words(words: list[str], image: str, gpu: str) -> None:
    found: Any = said(deployment(["vllm", "serve", "a/b", *words], image=image or "x"))
    assert found["engine"] == "vllm"
    hardware.named(gpu)
    images.parts(image)
