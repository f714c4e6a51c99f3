"""Which row of which lock speaks for a deployment, and which names are the hub's."""

from __future__ import annotations

from typing import Any

import pytest

from vramguard.facts import Deployment, Facts, LockedModel, ModelConfig, ModelMissing, Unknown
from vramguard.link.model_lock import lock_above, locked, unused
from vramguard.link.models import place, supposed, unresolved
from vramguard.link.names import is_hub_id, on_hub
from vramguard.source import Location

COMMIT, OTHER = "0" * 40, "1" * 40
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def deployed(model: Any, revision: Any = None, path: str = "a.yaml") -> Deployment:  # noqa: ANN401
    return Deployment(Location(path, 3), declared=False, model=model, revision=revision)


def row(model: str, revision: str | None = None, commit: str | None = COMMIT, **more: Any) -> LockedModel:  # noqa: ANN401
    path = more.pop("path", "vramguard.lock")
    return LockedModel(Location(path, 5), model, revision, commit, "hub", more.pop("config", LLAMA), "0" * 64, **more)


def facts(*found: Any, paths: tuple[str, ...] = ("vramguard.lock",)) -> Facts:  # noqa: ANN401
    return Facts(found, paths=paths)


@pytest.mark.parametrize(
    ("revision", "held", "found"),
    [
        (None, (None, COMMIT), True),
        ("main", (None, COMMIT), True),
        (None, ("main", COMMIT), True),
        ("v1", ("v1", COMMIT), True),
        (COMMIT, (None, COMMIT), True),
        (COMMIT, (COMMIT, COMMIT), True),
        (OTHER, (None, COMMIT), False),
        ("v1", (None, COMMIT), False),
        (None, ("v1", COMMIT), False),
        (Unknown("${REV}"), (None, COMMIT), False),
    ],
)
def test_a_row_speaks_for_its_revision_only(revision: Any, held: tuple[str | None, str], *, found: bool) -> None:  # noqa: ANN401
    item = deployed("acme/a", revision)
    known = facts(item, row("ACME/a", *held))
    assert (locked(item, known) is not None) is found
    placement = place(item, known)
    assert (placement.config is not None) is found
    if placement.config:
        assert (placement.config.origin, placement.config.at.line) == ("lock", 5)
        assert supposed(placement.config) == ()


def test_the_nearest_lock_above_speaks() -> None:
    paths = ("vramguard.lock", "serving/vramguard.lock", "other/vramguard.lock", "serving-b/x.yaml")
    inner, outer = deployed("acme/a", path="serving/k8s/a.yaml"), deployed("acme/a", path="serving-b/x.yaml")
    known = facts(inner, outer, row("acme/a", commit=COMMIT), row("acme/a", commit=OTHER, path=paths[1]), paths=paths)
    assert lock_above(inner.at.path, known) == "serving/vramguard.lock"
    assert lock_above(outer.at.path, known) == "vramguard.lock"
    assert [found and found.commit for found in (locked(inner, known), locked(outer, known))] == [OTHER, COMMIT]
    assert lock_above("x.yaml", facts(paths=("serving/vramguard.lock",))) is None


def test_rows_that_nothing_names() -> None:
    one, two, three = row("acme/a"), row("acme/a", "v1", OTHER), row("acme/b")
    assert unused("vramguard.lock", facts(one, two, three, deployed("acme/a"))) == [two, three]
    templated = deployed(Unknown("{{ .Values.model }}"))
    assert unused("vramguard.lock", facts(one, two, three, deployed("acme/a"), templated)) == []


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("meta-llama/Llama-3.1-8B", True),
        ("gpt2", True),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", True),
        ("a/b/c", False),
        ("/models/llama", False),
        ("./llama", False),
        ("models/llama", False),
        ("checkpoints/step-100", False),
        ("s3://bucket/llama", False),
        ("org/na me", False),
        ("org/../name", False),
        ("org/name-", False),
        ("org/{{ name }}", False),
        ("org/ünï", False),
        ("x" * 200, False),
        ("", False),
    ],
)
def test_what_is_an_id_of_the_hub(text: str, *, known: bool) -> None:
    assert is_hub_id(text) is known


def test_a_folder_of_the_repository_is_no_id() -> None:
    assert on_hub(deployed("acme/a"), facts(paths=("acme/a/config.json",))) is None
    assert on_hub(deployed("acme/a"), facts(paths=("acme/ab/config.json",))) is not None
    inner = facts(paths=("apps/pricing/acme/a/config.json", "apps/pricing/k8s/serve.yaml"))
    assert on_hub(deployed("acme/a", path="apps/pricing/k8s/serve.yaml"), inner) is None
    assert on_hub(deployed("acme/a", path="apps/other/serve.yaml"), inner) is not None
    named = on_hub(deployed("hf://acme/a", "v1"), facts())
    assert named is not None
    assert (named.model, named.revision) == ("acme/a", "v1")
    assert on_hub(deployed(Unknown("$MODEL")), facts()) is None
    assert on_hub(deployed("acme/a", Unknown("$REV")), facts()) is None


def test_what_neither_the_repository_nor_a_lock_has_is_looked_for_once() -> None:
    own = ModelConfig(Location("m/config.json"), LLAMA, "")
    names = ("acme/a", "ACME/A", "acme/b", "m", "/models/x")
    known = facts(own, row("acme/b"), *map(deployed, names), deployed("acme/a", "v1"))
    assert list(unresolved(known)) == [("acme/a", None), ("acme/a", "v1")]


@pytest.mark.parametrize(
    ("origins", "believed"),
    [(("catalogue", "hub", "cache"), "cache"), (("catalogue", "hub"), "hub"), (("catalogue",), "catalogue")],
)
def test_cache_then_hub_then_catalogue(origins: tuple[str, ...], believed: str) -> None:
    elsewhere = [ModelConfig(Location("x", 9), LLAMA, "", "acme/A", "main", origin, "src") for origin in origins]
    item = deployed("acme/a")
    config = place(item, facts(item, *elsewhere)).config
    assert config is not None
    assert (config.origin, config.at) == (believed, item.at)
    assert "src" in supposed(config)[0]


def test_a_catalogue_that_is_turned_off_knows_nothing() -> None:
    item = deployed("acme/a")
    known = facts(item, ModelConfig(Location("x"), LLAMA, "", "acme/a", None, "catalogue", "src"))
    assert place(item, known, catalogue=False).missing.endswith("run `vramguard lock --model acme/a`")


def test_a_lock_wins_over_the_cache() -> None:
    item = deployed("acme/a")
    known = facts(item, row("acme/a"), ModelConfig(Location("x"), {}, "", "acme/a", None, "cache", "src"))
    config = place(item, known).config
    assert config is not None
    assert config.origin == "lock"


def test_why_nothing_is_known() -> None:
    item = deployed("acme/a", "v1")
    known = facts(item, ModelMissing(item.at, "acme/a", "v1", "`acme/a@v1` is gated"))
    words = "`acme/a@v1` is gated; where that is mended, run `vramguard lock --model acme/a@v1`"
    assert place(item, known).missing == words
    none = facts(deployed("acme/sd"), row("acme/sd", config=None))
    assert "no language model" in place(deployed("acme/sd"), none).missing
    revision = place(deployed("acme/a", Unknown("${REV}")), facts()).missing
    assert revision == "its model's revision is `${REV}`, which only a renderer knows"
