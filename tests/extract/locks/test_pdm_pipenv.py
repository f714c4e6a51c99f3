"""pdm.lock and Pipfile.lock: files, hashes, commits, folders, groups and places."""

from __future__ import annotations

import json

import pytest
from locked import lock

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
MD5 = "md5:9e107d9d372bb6826bd81d3542a419d6"
COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"


PDM = f"""\
[metadata]
groups = ["default", "Dev_Tools"]
lock_version = "4.5.0"
content_hash = "sha256:00ff"

[[package]]
name = "torch"
version = "2.1.0"
files = [
    {{file = "torch.whl", hash = "{SHA}"}},
    {{url = "https://h/torch.tar.gz", hash = "{MD5}"}},
]

[[package]]
name = "torch"
version = "2.1.0"
extras = ["opt"]

[[package]]
name = "zoo"
version = "1"
git = "https://h/zoo"
ref = "main"
revision = "{COMMIT}"

[[package]]
name = "lib"
version = "0.1"
path = "../lib"
editable = true
"""


def test_pdm() -> None:
    found = lock(PDM, "serving/pdm.lock")
    torch, extra, zoo, lib = found.packages
    assert (found.form, found.content_hash, found.groups) == ("pdm", "sha256:00ff", frozenset({"default", "dev-tools"}))
    assert (torch.hashes, torch.artifacts, torch.at[1:]) == ((SHA, MD5), 2, (6, 1, 6, 12))
    assert (extra.hashes, extra.artifacts, extra.at.line) == ((SHA, MD5), 2, 14)
    assert (zoo.commit, zoo.local) == (COMMIT, None)
    assert (lib.local, lib.commit) == ("lib", None)


def test_pdm_before_4_3_lists_its_files_at_the_end() -> None:
    text = '[[package]]\nname = "a"\nversion = "1"\n[metadata]\ncontent_hash = "sha256:0"\n[metadata.files]\n'
    (found,) = lock(text + f'"a 1" = [{{url = "u", hash = "{SHA}"}}]\n', "pdm.lock").packages
    assert (found.hashes, found.artifacts) == ((SHA,), 1)


def test_pdm_does_not_say_its_groups_when_old() -> None:
    assert lock("[metadata]\n", "pdm.lock").groups is None


PIPENV = json.dumps(
    {
        "_meta": {"hash": {"sha256": "00ff"}, "sources": [{"url": "https://h"}]},
        "default": {
            "torch": {"hashes": [SHA, MD5], "version": "==2.1.0"},
            "bare": {"version": "==1"},
            "zoo": {"git": "https://h/zoo", "ref": COMMIT},
            "branch": {"git": "https://h/zoo", "ref": "main"},
            "mine": {"editable": True, "path": "."},
            "wheel": {"file": "https://h/w.whl", "hashes": [SHA]},
            "loose": {"file": "https://h/w.whl"},
        },
        "develop": {"torch": {"hashes": [SHA], "version": "==2.1.0"}},
        "docs": {"sphinx": {"hashes": [SHA], "version": "==7.0"}},
    },
    indent=4,
)


def test_pipenv() -> None:
    found = lock(PIPENV, "serving/Pipfile.lock")
    torch, bare, zoo, branch, mine, wheel, loose, develop, docs = found.packages
    assert (found.form, found.content_hash) == ("pipenv", "00ff")
    assert (torch.version, torch.hashes, torch.artifacts) == ("2.1.0", (SHA, MD5), 2)
    assert PIPENV.splitlines()[torch.at.line - 1].strip() == '"torch": {'
    assert (bare.hashes, bare.artifacts) == ((), 0)
    assert (zoo.commit, branch.commit) == (COMMIT, None)
    assert mine.local == "serving"
    assert (wheel.local, wheel.hashes) == (None, (SHA,))
    assert (loose.local, loose.hashes) == (None, ())
    assert (develop.name, docs.name) == ("torch", "sphinx")


@pytest.mark.parametrize("path", ["pdm.lock", "Pipfile.lock"])
@pytest.mark.parametrize(
    "value",
    [
        {},
        {"package": 1, "metadata": 2, "_meta": 3, "default": 4},
        {"package": [1, {}], "_meta": {"hash": 1}, "default": {"a": 1}},
        {"package": [{"name": 1, "version": 2, "files": 3, "path": 4}], "default": {"a": {"hashes": 1, "version": 2}}},
        {"metadata": {"groups": 1, "files": [], "content_hash": 3}, "default": {"a": {"hashes": [1], "path": 2}}},
        {"package": [{"git": 1, "revision": 2}], "default": {"a": {"git": 1, "ref": 2, "file": 3}}},
    ],
)
def test_wrong_types_never_crash(value: dict[str, object], path: str) -> None:
    text = json.dumps(value) if path == "Pipfile.lock" else _toml(value)
    assert lock(text, path).form


def _toml(value: object) -> str:
    """TOML of one line a key, which suffices here."""
    assert isinstance(value, dict)
    return "".join(f"{key} = {_inline(item)}\n" for key, item in value.items())


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)
