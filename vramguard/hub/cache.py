"""What the Hugging Face cache on this disk holds of a model. Read as it lies: the client library is not imported.

The layout is that of huggingface_hub 2.4.0, `file_download.py` (hf_hub_download): models--OWNER--NAME/refs/REVISION
holds a commit, and snapshots/COMMIT/FILE links to a blob. Links are followed inside the cache only.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from vramguard.hub.found import CONFIG, INDEX, MAX_CONFIG, MAX_INDEX, Asked, Found, HubError, found

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!\.)[\w.-]+(?:/(?!\.)[\w.-]+)*", re.ASCII)  # `refs/pr/1`; nothing that climbs
_DEFAULT: Final = "main"


def folder() -> Path:
    """Where the cache lies: HF_HUB_CACHE, else `hub` in HF_HOME, else in XDG_CACHE_HOME (huggingface_hub 2.4.0,
    `constants.py`).
    """
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return _expanded(given)
    home = os.environ.get("HF_HOME")
    if not home:
        home = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return _expanded(home) / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111 - a home that is nowhere raises no error


def look_up(asked: Asked, root: Path | None = None) -> Found | None:
    """The model as the cache has it at the revision asked for; None where it has not. Raises `HubError` for a config
    that is there and is none.
    """
    root = folder() if root is None else root
    model = root / f"models--{asked.model.replace('/', '--')}"
    commit = _commit(model, asked.revision)
    if commit is None:
        return None
    snapshot = model / "snapshots" / commit
    config, index = _bytes(root, snapshot / CONFIG, MAX_CONFIG), _bytes(root, snapshot / INDEX, MAX_INDEX)
    if config is None:
        return None
    for name, data, most in ((CONFIG, config, MAX_CONFIG), (INDEX, index or b"", MAX_INDEX)):
        if len(data) > most:
            raise HubError(f"`{asked}`: its {name} in the cache is larger than {most >> 20} MiB")
    return found(asked, commit, "cache", config, index)


def _commit(model: Path, revision: str | None) -> str | None:
    """The commit that a revision stood for when it was last fetched."""
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    name = revision or _DEFAULT
    if not _REVISION.fullmatch(name):
        return None
    data = _bytes(model, model / "refs" / name, 64)
    text = "" if data is None else data.decode("ascii", "replace").strip()
    return text if _COMMIT.fullmatch(text) else None


def _bytes(root: Path, path: Path, most: int) -> bytes | None:
    """A regular file's bytes, links followed below `root` only, one past `most` at most; None where there is none."""
    try:
        real, top = os.path.realpath(path), os.path.realpath(root)
        if os.path.commonpath((real, top)) != top or not os.path.isfile(real):  # noqa: PTH113 - a path as text
            return None
        with open(real, "rb") as file:  # noqa: PTH123 - likewise
            return file.read(most + 1)
    except (OSError, ValueError):
        return None
