"""Weights that are not what is said of them, from bytes to problems."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from weights import TINY, gguf, index, safetensors, shapes_of

from vramguard import engine
from vramguard.checks import Severity
from vramguard.checks.weights import WeightsMatchConfig
from vramguard.classes import classifier
from vramguard.facts import Deployment, Facts
from vramguard.memory.families import architecture
from vramguard.source import Location
from vramguard.source.heads import Head

if TYPE_CHECKING:
    from collections.abc import Mapping

HELD = shapes_of(TINY)
BYTES = 2 * architecture(TINY).parameters
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1000\n"


class Tree:
    """A tree in memory; of a file of weights all is its head."""

    def __init__(self, files: Mapping[str, bytes | str]) -> None:
        self._files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}

    def paths(self) -> list[str]:
        return sorted(self._files)

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def head(self, path: str) -> Head | None:
        data = self._files.get(path)
        return None if data is None else Head(data, len(data))

    def sample(self, path: str, kind: str) -> None:
        """None of them is a file of data."""


def said(files: Mapping[str, bytes | str], *deployments: Deployment) -> list[tuple[str, int, str]]:
    """Place and words of every problem."""
    tree = Tree(files)
    facts = [*engine.facts_of(tree, engine.load_policy(tree)), *deployments]
    problems = WeightsMatchConfig().find(Facts(facts, classifier({}), tree.paths()))
    return [(problem.at.path, problem.at.line, problem.values["what"]) for problem in problems]


NAMES = sorted(HELD)
FILES = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(NAMES)}


def sharded(folder: str = "m", total: int = BYTES, **changes: Any) -> dict[str, bytes | str]:  # noqa: ANN401
    """A model in two files with their index; `changes` are to its config."""
    parts: dict[str, bytes | str] = {
        f"{folder}/{file}": safetensors({name: HELD[name] for name in NAMES if FILES[name] == file})
        for file in sorted(set(FILES.values()))
    }
    parts[f"{folder}/model.safetensors.index.json"] = index(FILES, total_size=total)
    return parts | {f"{folder}/config.json": json.dumps(TINY | changes)}


def one(dtype: str = "BF16", **changes: Any) -> dict[str, bytes | str]:  # noqa: ANN401 - values of JSON
    return {"config.json": json.dumps(TINY | changes), "model.safetensors": safetensors(HELD, dtype)}


ONE, TWO = "m/model-00001-of-00002.safetensors", "m/model-00002-of-00002.safetensors"
INDEX = "m/model.safetensors.index.json"


@pytest.mark.parametrize(
    "files",
    [
        one(),
        sharded(),
        sharded() | {ONE: LFS},
        sharded() | {ONE: LFS, TWO: LFS},
        sharded() | {INDEX: LFS},
        one() | {"model.safetensors": LFS},
        one(vocab_size=99) | {"model.safetensors": b"broken"},
        {path: text for path, text in sharded().items() if not path.endswith(".safetensors")},
        {"model.safetensors": safetensors({"a": (4,)})},
        one(architectures=["NovelForCausalLM"], model_type="novel", vocab_size=99),
        one(quantization_config={"quant_method": "gptq"}, vocab_size=99),
        one(compression_config={"quant_method": "compressed-tensors"}, vocab_size=99),
        one(vocab_size=99) | {"model.safetensors": safetensors(HELD, "F8_E4M3")},
        {"tests/x/config.json": json.dumps(TINY | {"vocab_size": 99}), "tests/x/model.safetensors": safetensors(HELD)},
    ],
)
def test_nothing_to_say(files: Mapping[str, bytes | str]) -> None:
    assert said(files) == []


EMBEDDING = (
    "`model.embed_tokens.weight` is 32 x 8 in the weights, and the config makes it 99 x 8, and 1 more kind of tensor"
)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (one(vocab_size=99), [("config.json", 1, EMBEDDING)]),
        (sharded(vocab_size=99), [("m/config.json", 1, EMBEDDING)]),
        (one("F32"), [("config.json", 1, "the weights are stored as F32, and the config names bfloat16")]),
        (
            one("F32", vocab_size=99),
            [
                ("config.json", 1, EMBEDDING),
                ("config.json", 1, "the weights are stored as F32, and the config names bfloat16"),
            ],
        ),
        (
            {path: text for path, text in sharded().items() if path != TWO},
            [(INDEX, 1, f"1 of its 2 files, `{TWO}` first, not in the repository")],
        ),
        (sharded(total=5), [(INDEX, 3, f"total_size is 5, and the tensors take {BYTES:,} bytes")]),
        (
            sharded() | {INDEX: index(FILES | {NAMES[0]: FILES[NAMES[1]]})},
            [(INDEX, 1, f"`{NAMES[0]}` is not in `{TWO}`, where the index has it")],
        ),
        (
            {path: text for path, text in sharded(num_hidden_layers=2).items() if path not in (ONE, TWO)},
            [("m/config.json", 1, "the weights hold `model.layers.2`, and the config builds 2 layers")],
        ),
        (
            {path: text for path, text in sharded(total=20000).items() if path not in (ONE, TWO)},
            [("m/config.json", 1, f"the index counts 20,000 bytes, and the config builds {BYTES:,} in bfloat16")],
        ),
    ],
)
def test_what_contradicts_is_said(files: Mapping[str, bytes | str], expected: list[tuple[str, int, str]]) -> None:
    assert said(files) == expected


def test_a_deployed_model_is_judged_wherever_it_stands() -> None:
    files = sharded("tests/m", total=5, vocab_size=99)
    assert said(files) == []
    deployment = Deployment(Location("vramguard.toml"), declared=True, config="tests/m/config.json")
    assert [path for path, _, _ in said(files, deployment)] == [f"tests/{INDEX}", "tests/m/config.json"]


def test_wider_weights_weigh_what_the_policy_says() -> None:
    tree = Tree(one("F32", vocab_size=99))
    facts = Facts(engine.facts_of(tree, engine.load_policy(tree)), paths=tree.paths())
    found = [(problem.subject, problem.severity) for problem in WeightsMatchConfig(wider=Severity.NOTE).find(facts)]
    assert found == [("model.embed_tokens.weight", None), ("dtype", Severity.NOTE)]


def test_the_chain_of_evidence() -> None:
    tree = Tree(sharded(total=5, vocab_size=99))
    facts = Facts(engine.facts_of(tree, engine.load_policy(tree)), paths=tree.paths())
    total, embedding = WeightsMatchConfig().find(facts)
    assert [(link.at.path, link.what) for link in total.evidence] == [
        (ONE, "this is one of its files"),
        (TWO, "this is one of its files"),
    ]
    assert [(link.at.path, link.what) for link in embedding.evidence] == [(INDEX, "these are the weights beside it")]
    assert (total.subject, embedding.subject) == ("total_size", "model.embed_tokens.weight")


BLOCKS = {f"blk.{number}.attn_norm.weight": (8,) for number in range(3)}
LLAMA = {"general.architecture": "llama", "llama.block_count": 3, "llama.embedding_length": 8}
GGUF = {"token_embd.weight": (32, 8), **BLOCKS}


@pytest.mark.parametrize(
    ("values", "tensors", "words"),
    [
        (LLAMA, GGUF, []),
        ({}, GGUF, []),
        (LLAMA, {}, []),
        (LLAMA | {"llama.block_count": 4, "llama.nextn_predict_layers": 1}, GGUF, []),
        (LLAMA | {"llama.block_count": 3, "llama.nextn_predict_layers": 1}, GGUF, []),
        (LLAMA | {"llama.block_count": "3"}, GGUF, []),
        (LLAMA | {"llama.embedding_length": 4, "llama.features_length": 8}, GGUF, []),
        (LLAMA | {"llama.block_count": 1}, {"enc.blk.0.norm": (8,), "blk.x.norm": (8,), "v.blk.7.norm": (8,)}, []),
        (LLAMA | {"split.tensors.count": 4}, GGUF, []),
        (LLAMA | {"llama.block_count": 2}, GGUF, ["block_count is 2, and the last block is blk.2"]),
        (LLAMA | {"llama.block_count": 4}, GGUF, ["block_count is 4, and the last block is blk.2"]),
        (
            LLAMA | {"llama.embedding_length": 4},
            GGUF,
            ["embedding_length is 4, and token_embd.weight has rows of 8"],
        ),
        (LLAMA | {"split.tensors.count": 5}, GGUF, ["split.tensors.count is 5, and there are 4 tensors"]),
    ],
)
def test_a_gguf_and_its_own_tensors(
    values: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], words: list[str]
) -> None:
    assert said({"m.gguf": gguf(values, tensors)}) == [("m.gguf", 1, what) for what in words]


def test_a_split_gguf() -> None:
    first = gguf(LLAMA | {"split.count": 2, "split.tensors.count": 4}, {"token_embd.weight": (32, 8)})
    second = gguf({"split.count": 2, "split.tensors.count": 4}, BLOCKS)
    names = ("x-00001-of-00002.gguf", "x-00002-of-00002.gguf")
    assert said(dict(zip(names, (first, second), strict=True))) == []
    assert said({names[1]: second}) == [(names[1], 1, f"1 of its 2 files, `{names[0]}` first, not in the repository")]
    lost = gguf({}, {"blk.0.attn_norm.weight": (8,)})
    tree = Tree(dict(zip(names, (first, lost), strict=True)))
    facts = Facts(engine.facts_of(tree, engine.load_policy(tree)), paths=tree.paths())
    problems = list(WeightsMatchConfig().find(facts))
    assert [problem.subject for problem in problems] == ["tensors", "block_count"]
    assert [link.at.path for link in problems[0].evidence] == [names[1]]
