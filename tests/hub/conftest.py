"""A hub of our own, and a cache of models as huggingface_hub leaves it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hub.server import HubServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Cached(Protocol):
    def __call__(
        self, model: str, config: Mapping[str, Any] | bytes, *, revision: str = "main", commit: str = COMMIT
    ) -> Path: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The hub that HF_ENDPOINT names; pauses between tries are not waited for."""
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield hub


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cached:
    """`cached("org/name", config)` puts a model into the cache that HF_HUB_CACHE names; returns its folder."""
    root = tmp_path / "cache"
    monkeypatch.setenv("HF_HUB_CACHE", str(root))

    def put(model: str, config: Mapping[str, Any] | bytes, *, revision: str = "main", commit: str = COMMIT) -> Path:
        folder = root / f"models--{model.replace('/', '--')}"
        data = config if isinstance(config, bytes) else json.dumps(config).encode()
        blob, snapshot, ref = folder / "blobs" / "b1", folder / "snapshots" / commit, folder / "refs" / revision
        for made in (blob.parent, snapshot, ref.parent):
            made.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        (snapshot / "config.json").symlink_to("../../blobs/b1")
        ref.write_text(commit)
        return folder

    return put
