"""The lock as text: the same rows give the same bytes, and what is written is what is read."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from vramguard.extract import extract
from vramguard.facts import LockedModel
from vramguard.hub.found import Asked, Found, found, slim
from vramguard.hub.lockfile import render, row_of
from vramguard.source import Unreadable, read

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "_name_or_path": "/home/somebody/out",
    "rope_scaling": {"factor": 8.0, "short_factor": [1.0, 1.05, 2.0]},
    "eos_token_id": [1, 2],
    "sliding_window": None,
}


def row(model: str, revision: str | None = None, config: dict[str, Any] | None = None, **more: Any) -> Found:  # noqa: ANN401
    data = json.dumps(CONFIG if config is None else config).encode()
    return found(Asked(model, revision), COMMIT, "hub", data)._replace(**more)


def read_back(text: str) -> list[Found]:
    document = read("vramguard.lock", text.encode(), kind="json")
    assert not isinstance(document, Unreadable)
    facts = list(extract(document))
    assert all(isinstance(fact, LockedModel) for fact in facts)
    return [row_of(fact) for fact in facts if isinstance(fact, LockedModel)]


def test_rows_are_sorted_whatever_their_order() -> None:
    rows = [row("b/b"), row("A/a", "v2"), row("a/a"), row("a/a", "v1")]
    text = render(rows)
    assert render(reversed(rows)) == text
    assert [str(item.asked) for item in read_back(text)] == ["a/a", "a/a@v1", "A/a@v2", "b/b"]
    assert text.endswith("\n}\n")


def test_what_no_proof_reads_is_left_out_and_nulls_stay() -> None:
    (back,) = read_back(render([row("a/a")]))
    assert back.config == {key: value for key, value in CONFIG.items() if key != "_name_or_path"}
    assert back.config is not None
    assert list(back.config) == sorted(back.config)


def test_a_head_with_as_many_outputs_as_labels_keeps_them() -> None:
    config = {"id2label": {"0": "a", "1": "b"}, "label2id": {}, "text_config": {"id2label": {"0": "a"}}}
    assert slim(config) == {"text_config": {}}
    kept = slim({**config, "architectures": ["LlamaForSequenceClassification"]})
    assert kept["id2label"] == {"0": "a", "1": "b"}


def test_numbers_of_a_list_share_a_line_and_words_do_not() -> None:
    text = render([row("a/a", tensors={"model.*.w": [[4, 8], "bfloat16", 3]})])
    assert '"eos_token_id": [1, 2],' in text
    assert '"short_factor": [1.0, 1.05, 2.0]' in text
    (back,) = read_back(text)
    assert back.tensors == {"model.*.w": [[4, 8], "bfloat16", 3]}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.text(), _VALUES, max_size=5), max_size=3))
def test_any_config_comes_back_as_it_went(configs: Sequence[dict[str, Any]]) -> None:
    rows = [Found(Asked(f"a/m{n}"), COMMIT, "hub", config, "0" * 64) for n, config in enumerate(configs)]
    assert [item.config for item in read_back(render(rows))] == [slim(config) for config in configs]


def test_an_index_may_count_as_it_likes() -> None:
    def total(text: str) -> int | None:
        return found(Asked("a/a"), COMMIT, "hub", b"{}", text.encode()).total_size

    assert total('{"metadata": {"total_size": 16.0}}') == 16
    assert total('{"metadata": {"total_size": 16.5}}') is None
    assert total('{"metadata": {"total_size": Infinity}}') is None
    assert total('{"metadata": {"total_size": true}}') is None
    assert total('{"metadata": {"total_size": -4}}') is None
    assert total("{}") is None
    assert math.isinf(json.loads("Infinity")), "as Python's reader has it"
