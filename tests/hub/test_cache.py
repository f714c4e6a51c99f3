"""The Hugging Face cache as it lies on a disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hub.conftest import COMMIT

from vramguard.hub.cache import folder, look_up
from vramguard.hub.found import Asked, HubError

if TYPE_CHECKING:
    from hub.conftest import Cached

CONFIG = {"model_type": "llama"}


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_branch_and_its_commit(cached: Cached, revision: str | None) -> None:
    cached("acme/a", CONFIG)
    found = look_up(Asked("acme/a", revision))
    assert found is not None
    assert (found.commit, found.source, found.config, found.total_size) == (COMMIT, "cache", CONFIG, None)


def test_the_index_says_how_large_the_weights_are(cached: Cached) -> None:
    home = cached("acme/a", CONFIG)
    index = home / "snapshots" / COMMIT / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 99}}))
    found = look_up(Asked("acme/a"))
    assert found is not None
    assert found.total_size == 99


def test_a_branch_below_another_word(cached: Cached) -> None:
    cached("acme/a", CONFIG, revision="refs/pr/1")
    assert look_up(Asked("acme/a", "refs/pr/1")) is not None
    assert look_up(Asked("acme/a")) is None


def test_what_is_not_there(cached: Cached) -> None:
    cached("acme/a", CONFIG)
    assert look_up(Asked("acme/b")) is None
    assert look_up(Asked("acme/a", "v2")) is None
    assert look_up(Asked("acme/a", "f" * 40)) is None


@pytest.mark.parametrize("revision", ["../../../secret", "..", "/etc/hostname", "a/../b", "", "a\0b"])
def test_a_revision_never_leads_out(cached: Cached, revision: str) -> None:
    home = cached("acme/a", CONFIG)
    (home.parent / "secret").write_text(COMMIT)
    assert look_up(Asked("acme/a", revision or "./main")) is None


def test_links_are_followed_inside_the_cache_only(cached: Cached, tmp_path: Path) -> None:
    home = cached("acme/a", CONFIG)
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps(CONFIG))
    config = home / "snapshots" / COMMIT / "config.json"
    config.unlink()
    config.symlink_to(outside)
    assert look_up(Asked("acme/a")) is None
    config.unlink()
    config.symlink_to("config.json")
    assert look_up(Asked("acme/a")) is None, "a loop of links"


@pytest.mark.parametrize(
    ("content", "words"), [(b"{", "cannot be read"), (b"[]", "no JSON object"), (b"x" * (5 << 20), "larger than 4 MiB")]
)
def test_a_config_that_is_none_is_said(cached: Cached, content: bytes, words: str) -> None:
    cached("acme/a", content)
    with pytest.raises(HubError, match=words) as caught:
        look_up(Asked("acme/a"))
    assert "acme/a" in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/b"}, "/old"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HOME": "/home/me"}, "/home/me/.cache/huggingface/hub"),
        ({"HF_HOME": "$MINE/hf", "MINE": "/m"}, "/m/hf/hub"),
    ],
)
def test_where_the_cache_lies(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert folder() == Path(expected)
