"""The list of files and their bytes, in repositories that mean us harm."""

from __future__ import annotations

import gc
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from timed import within
from weights import safetensors

from vramguard.discover import GitTree, WorkTree, matcher
from vramguard.discover import git as ask
from vramguard.schema import ConfigError
from vramguard.source import MAX_BYTES
from vramguard.source.heads import Head

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Git, Repo

IGNORED = {
    ".gitignore": "*.log\n/build/\n!keep.log\ntmp/\n# a comment\n\\#odd\n**/deep/x.txt\nend \n[\n",
    "a.log": "",
    "keep.log": "",
    "build/a.txt": "",
    "sub/build/a.txt": "",
    "sub/.gitignore": "!b.log\n/only.txt\nkeep.log\r\n",
    "sub/b.log": "",
    "sub/keep.log": "",
    "sub/only.txt": "",
    "sub/x/only.txt": "",
    "sub/tmp/a.txt": "",
    "sub/tmp/.gitignore": "!a.txt\n",
    "tmp": "a file",
    "#odd": "",
    "z/y/deep/x.txt": "",
    "end": "",
    "node_modules/a/requirements.txt": "",
}


def test_git_and_the_matcher_of_our_own_agree(repo: Repo, git: Git) -> None:
    root = repo(IGNORED)
    walked = WorkTree(root).paths()
    git(root, "init", "--quiet")
    assert WorkTree(root).paths() == walked
    assert set(walked) >= {"keep.log", "sub/b.log", "sub/build/a.txt", "sub/x/only.txt", "tmp", "sub/.gitignore"}
    assert not set(walked) & {"a.log", "build/a.txt", "sub/keep.log", "sub/tmp/a.txt", "#odd", "end", "z/y/deep/x.txt"}


def test_untracked_files_count_and_deleted_ones_are_not_there(repo: Repo) -> None:
    root = repo({"a.txt": "1", "b.txt": "2"}, commit="one")
    repo({"a.txt": None, "c.txt": "3"})
    tree = WorkTree(root)
    assert tree.paths() == ["a.txt", "b.txt", "c.txt"]
    assert [tree.read(path) for path in tree.paths()] == [None, b"2", b"3"]


def test_a_folder_that_its_repository_ignores_is_judged_as_it_is(repo: Repo) -> None:
    root = repo({".gitignore": "scratch/\n", "scratch/a.txt": "1"}, commit="one")
    assert WorkTree(root / "scratch").paths() == ["a.txt"]


def test_a_submodule_is_listed_and_never_read(repo: Repo, git: Git, tmp_path: Path) -> None:
    root = repo({"a.txt": "1"}, commit="one")
    git(root, "-c", "protocol.file.allow=always", "clone", "--quiet", str(root), str(tmp_path / "other"))
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "other"), "sub")
    git(root, "commit", "--quiet", "--message=two")
    for tree in (WorkTree(root), GitTree(root, "HEAD")):
        assert tree.paths() == [".gitmodules", "a.txt", "sub"]
        assert tree.read("sub") is None


NAMES = ["-rf", "new\nline", "tab\t", "é", "\udcff", "\x1b[31m", " lead", "[x]", "*"]


@pytest.mark.parametrize("with_git", [True, False])
def test_odd_names_are_names(repo: Repo, with_git: bool) -> None:  # noqa: FBT001
    root = repo({name: name.encode("utf-8", "surrogateescape") for name in NAMES})
    trees: list[WorkTree | GitTree] = [WorkTree(root)]
    if with_git:
        repo({}, commit="all")
        trees.append(GitTree(root, "HEAD"))
    for tree in trees:
        assert tree.paths() == sorted(NAMES)
        assert all(tree.read(name) == name.encode("utf-8", "surrogateescape") for name in NAMES)


@pytest.mark.parametrize("path", ["nul\0", "x" * 300, "../outside", "/etc/hostname", "a.txt/b", "", ".", "no/such"])
def test_what_is_not_there_is_none(repo: Repo, path: str) -> None:
    root = repo({"a.txt": "1"}, commit="one")
    (root.parent / "outside").write_text("secret")
    assert GitTree(root, "HEAD").read(path) is None
    if len(path) < 300:
        assert WorkTree(root).read(path) is None


LINKS = {
    "in": "a.txt",
    "chain": "sub/up",
    "sub/up": "../in",
    "through": "folder/a.txt",
    "out": "../outside",
    "absolute": "/etc/passwd",
    "nowhere": "absent",
    "loop": "pool",
    "pool": "loop",
    "self": "self",
}


def linked(root: Path) -> None:
    for name, target in LINKS.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(target)
    (root / "folder").symlink_to("real")
    (root.parent / "outside").write_text("secret")


def test_links_are_followed_inside_the_root_only_and_alike_in_both_trees(repo: Repo) -> None:
    root = repo({"a.txt": "1", "real/a.txt": "2"})
    linked(root)
    repo({}, commit="links")
    for tree in (WorkTree(root), GitTree(root, "HEAD")):
        assert set(tree.paths()) == {*LINKS, "a.txt", "real/a.txt", "folder"}
        assert [tree.read(name) for name in ("in", "chain", "through", "folder")] == [b"1", b"1", b"2", None]
        for name in ("out", "absolute", "nowhere", "loop", "self"):
            with pytest.raises(OSError, match=r"link|regular"):
                tree.read(name)


def test_pipes_and_devices_are_never_opened(repo: Repo) -> None:
    root = repo({"a.txt": ""})
    os.mkfifo(root / "requirements.txt")
    (root / "link.txt").symlink_to("requirements.txt")
    (root / "pyproject.toml").symlink_to("/dev/zero")
    tree = WorkTree(root)
    for name in ("requirements.txt", "link.txt", "pyproject.toml"):
        assert name in tree.paths()
        with pytest.raises(OSError, match=r"no regular file|leads out"):
            tree.read(name)


def test_a_pipe_for_a_gitignore_ignores_nothing(repo: Repo) -> None:
    root = repo({"a.txt": ""})
    os.mkfifo(root / ".gitignore")
    assert "a.txt" in WorkTree(root).paths()


def test_a_folder_that_cannot_be_listed_is_said(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repo({"a/b.txt": ""})
    real = os.scandir

    def denied(path: str) -> object:
        if path.endswith("a/"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ConfigError, match="`a/` cannot be listed: Permission denied"):
        WorkTree(root).paths()


def test_the_size_that_is_read_is_bounded(repo: Repo) -> None:
    root = repo({"big.txt": b"x" * (MAX_BYTES + 5), "small.txt": "1"}, commit="one")
    for tree in (WorkTree(root), GitTree(root, "HEAD")):
        assert len(tree.read("big.txt") or b"") == MAX_BYTES + 1
        assert tree.read("small.txt") == b"1"


WEIGHTS = safetensors({"a": (2**24,)})  # more than may be read of it
HEADER = WEIGHTS[: 8 + int.from_bytes(WEIGHTS[:8], "little")]


def test_of_weights_the_header_is_read(repo: Repo) -> None:
    root = repo({"m.safetensors": WEIGHTS, "tiny.gguf": b"GGUF"}, commit="one")
    before = children()
    for tree in (WorkTree(root), GitTree(root, "HEAD")):
        assert tree.head("m.safetensors") == Head(HEADER, len(WEIGHTS))
        assert tree.head("tiny.gguf") == Head(b"GGUF", 4)
        assert tree.head("absent.gguf") is None
    assert children() == before, "git is ended where the header ends"


def test_terabytes_of_weights_cost_nothing(tmp_path: Path) -> None:
    with (tmp_path / "m.safetensors").open("wb") as stream:
        stream.write(HEADER)
        stream.truncate(2**40)
    with within(1):
        head = WorkTree(tmp_path).head("m.safetensors")
    assert head == Head(HEADER, 2**40)


def test_a_link_to_weights_that_are_kept_elsewhere_is_no_file(repo: Repo) -> None:
    root = repo({"a.txt": "1", "real/a.txt": "2"})
    linked(root)
    repo({}, commit="links")
    for tree in (WorkTree(root), GitTree(root, "HEAD")):
        assert [tree.head(name) for name in ("out", "absolute", "nowhere", "folder")] == [None] * 4
        assert [tree.head(name) for name in ("in", "through")] == [Head(b"1", 1), Head(b"2", 1)]


def test_weights_that_a_partial_clone_lacks_are_said(repo: Repo) -> None:
    root = repo({"m.gguf": b"GGUF"}, commit="one")
    tree = GitTree(root, "HEAD")
    assert tree.blobs
    for blob in (root / ".git/objects").glob("??/*"):
        blob.unlink()
    with pytest.raises(OSError, match="not in this clone"):
        tree.head("m.gguf")


def test_weights_in_a_pipe_are_never_opened(repo: Repo) -> None:
    root = repo({"a.txt": ""})
    os.mkfifo(root / "m.gguf")
    with pytest.raises(OSError, match="no regular file"):
        WorkTree(root).head("m.gguf")


def test_nothing_that_a_repository_configures_is_run(repo: Repo, git: Git, tmp_path: Path) -> None:
    root = repo({"a.txt": "1", ".gitattributes": "* filter=evil diff=evil\n"}, commit="one")
    marker = tmp_path / "ran"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\necho $0 $@ >> {marker}\nexit 1\n")
    evil.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "reference-transaction", "post-checkout", "fsmonitor-watchman"):
        (hooks / hook).symlink_to(evil)
    (tmp_path / "included").write_text(f"[core]\n fsmonitor = {evil}\n[alias]\n ls-files = !{evil}\n")
    for key, value in {
        "core.fsmonitor": str(evil), "core.hooksPath": str(hooks), "core.pager": str(evil),
        "core.sshCommand": str(evil),
        "core.editor": str(evil), "core.askPass": str(evil), "diff.external": str(evil), "diff.evil.command": str(evil),
        "diff.evil.textconv": str(evil), "filter.evil.clean": str(evil), "filter.evil.smudge": str(evil),
        "filter.evil.process": str(evil), "alias.ls-files": f"!{evil}", "include.path": str(tmp_path / "included"),
        "pager.ls-files": str(evil), "gpg.program": str(evil), "credential.helper": str(evil),
        "uploadpack.packObjectsHook": str(evil), "remote.origin.url": f"ext::{evil}", "protocol.ext.allow": "always",
        "remote.origin.promisor": "true", "extensions.partialClone": "origin", "remote.origin.uploadpack": str(evil),
        "core.repositoryFormatVersion": "1",
    }.items():  # fmt: skip
        git(root, "config", key, value)
    (root / "a.txt").write_text("2")
    tree = GitTree(root, "HEAD")
    assert WorkTree(root).read("a.txt") == b"2"
    assert WorkTree(root).paths() == [".gitattributes", "a.txt"]
    assert tree.read("a.txt") == b"1"
    assert tree.head("a.txt") == Head(b"1", 1)
    assert not marker.exists(), marker.read_text()
    ask(root, "diff-index", "--name-only", "--no-ext-diff", "--relative", "-z", "HEAD")
    assert not marker.exists(), "diff-index ran it"
    for blob in (root / ".git/objects").glob("??/*"):  # an object that is missing would be fetched from the promisor
        blob.unlink()
    gone = GitTree.__new__(GitTree)
    gone.root, gone.commit = root, tree.commit
    with pytest.raises(OSError, match="not in this clone"):
        gone._objects("0" * 39 + "1")
    assert not marker.exists(), marker.read_text()


def test_a_hooks_environment_names_another_repository(
    repo: Repo, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repo({"a.txt": "1"}, commit="one")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    (other / "b.txt").write_text("2")
    git(other, "add", "--all")
    git(other, "commit", "--quiet", "--message=x")
    for name, value in {"DIR": other / ".git", "INDEX_FILE": other / ".git/index", "WORK_TREE": other}.items():
        monkeypatch.setenv(f"GIT_{name}", str(value))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    assert WorkTree(root).paths() == ["a.txt"]
    assert GitTree(root, "HEAD").paths() == ["a.txt"]


def test_without_git_the_folder_is_walked(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repo({"a.txt": "1", ".gitignore": "b.txt\n", "b.txt": ""}, commit="one")
    monkeypatch.setenv("PATH", "")
    assert WorkTree(root).paths() == [".gitignore", "a.txt"]
    with pytest.raises(ConfigError, match="is in no git repository"):
        GitTree(root, "HEAD")


def test_a_bare_repository_is_a_folder_of_its_own_files(repo: Repo, git: Git, tmp_path: Path) -> None:
    root = repo({"a.txt": "1"}, commit="one")
    bare = tmp_path / "bare.git"
    git(root, "clone", "--quiet", "--bare", str(root), str(bare))
    assert "HEAD" in WorkTree(bare).paths()
    assert GitTree(bare, "HEAD").read("a.txt") == b"1"


@pytest.mark.parametrize("revision", ["nothere", "-x", "--all", "HEAD:a.txt", "", "HEAD^9", "a\0b", "$(x)", "HEAD\n"])
def test_an_unknown_revision_is_one_line(repo: Repo, revision: str) -> None:
    root = repo({"a.txt": "1"}, commit="one")
    with pytest.raises(ConfigError, match="is no commit here"):
        GitTree(root, revision)


def test_a_commit_is_read_as_it_was(repo: Repo, git: Git) -> None:
    root = repo({"old.txt": "1", "sub/run.sh": "2", "sub/deep/x.txt": "3"}, commit="one")
    (root / "sub/run.sh").chmod(0o755)
    repo({"old.txt": None, "new.txt": "1"}, commit="two")
    assert GitTree(root, "HEAD~1").paths() == ["old.txt", "sub/deep/x.txt", "sub/run.sh"]
    assert GitTree(root, "HEAD").paths() == ["new.txt", "sub/deep/x.txt", "sub/run.sh"]
    assert GitTree(root, "HEAD").read("sub/run.sh") == b"2"
    below = GitTree(root / "sub", git(root, "rev-parse", "HEAD").strip())
    assert below.paths() == ["deep/x.txt", "run.sh"]
    assert below.read("run.sh") == b"2"
    assert below.read("../new.txt") is None
    assert GitTree(root, "HEAD").read("absent") is None


def children() -> set[str]:
    done = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True
    )
    return {line for line in done.stdout.splitlines() if "git" in line}


def test_the_reading_child_ends_with_its_tree(repo: Repo) -> None:
    root = repo({"a.txt": "1"}, commit="one")
    gc.collect()
    before = children()
    tree = GitTree(root, "HEAD")
    assert tree.read("a.txt") == b"1"
    assert len(children() - before) == 1
    del tree
    gc.collect()  # a child left behind would also be a ResourceWarning here, hence a failure
    assert children() <= before


def test_many_files_and_many_ignore_files_are_walked_soon(tmp_path: Path) -> None:
    for folder in range(200):
        (tmp_path / f"f{folder}").mkdir()
        (tmp_path / f"f{folder}/.gitignore").write_text("*.tmp\n")
        for number in range(40):
            (tmp_path / f"f{folder}/{number}.txt").touch()
    with within(3):
        assert len(WorkTree(tmp_path).paths()) == 200 * 41


@pytest.mark.parametrize(
    ("patterns", "path", "matches"),
    [
        ([], "a", False),
        (["docs/"], "docs/a.txt", True),
        (["docs/"], "docs", False),
        (["/a.txt"], "sub/a.txt", False),
        (["*.txt", "!keep.txt"], "keep.txt", False),
        (["**/x/*"], "a/x/b", True),
        (["[[:alpha:]]"], "a", False),
    ],
)
def test_patterns(patterns: list[str], path: str, matches: bool) -> None:  # noqa: FBT001
    assert bool(matcher(patterns)(path)) is matches


@pytest.mark.parametrize("pattern", ["!", "a\\", "[z-a]"])
def test_what_is_no_pattern_is_said(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"is no pattern as in \.gitignore"):
        matcher(["ok", pattern])
