"""Whatever git makes of `git revert` merges; the same debt brought in by another change does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Git, Repo

HASH = f" --hash=sha256:{'0' * 64}"
PINNED = f"torch==2.1.0{HASH}\n"
LOOSE = "torch>=2\n"


class Check(Protocol):
    def __call__(self, root: Path, *options: str) -> tuple[int, list[str], list[str]]: ...


def test_a_revert_of_the_last_commit(repo: Repo, against: Check, git: Git) -> None:
    root = repo({"requirements.txt": LOOSE, "a.py": ""}, commit="one")
    repo({"requirements.txt": PINNED, "a.py": "1"}, commit="two")
    git(root, "revert", "--no-edit", "HEAD")
    assert against(root, "--diff-base", "HEAD~1")[:2] == (0, [])


def test_a_revert_not_committed_yet(repo: Repo, against: Check, git: Git) -> None:
    root = repo({"requirements.txt": LOOSE}, commit="one")
    repo({"requirements.txt": PINNED}, commit="two")
    git(root, "revert", "--no-commit", "HEAD")
    assert against(root)[:2] == (0, [])


def test_a_revert_of_an_older_commit_whose_file_went_on(repo: Repo, against: Check, git: Git) -> None:
    rest = "".join(f"package{number}==1{HASH}\n" for number in range(9))
    root = repo({"requirements.txt": LOOSE + rest}, commit="one")
    repo({"requirements.txt": PINNED + rest}, commit="two")
    repo({"requirements.txt": PINNED + rest + f"numpy==1{HASH}\n", "a.py": ""}, commit="three")
    git(root, "revert", "--no-edit", "HEAD~1")
    assert (root / "requirements.txt").read_text("utf-8") == LOOSE + rest + f"numpy==1{HASH}\n"
    assert against(root, "--diff-base", "HEAD~1")[:2] == (0, [])
    repo({"requirements.txt": LOOSE + rest + "# more\n"})
    assert against(root, "--diff-base", "HEAD~1")[1] == ["VG101"], "this is no longer the revert"


def test_a_revert_of_an_older_commit_that_conflicts_is_none(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": LOOSE}, commit="one")
    repo({"requirements.txt": PINNED}, commit="two")
    repo({"requirements.txt": PINNED.replace("2.1.0", "2.2.0")}, commit="three")
    repo({"requirements.txt": LOOSE + "# by hand\n"}, commit="four")
    assert against(root, "--diff-base", "HEAD~1")[1] == ["VG101"]


def test_a_revert_brings_back_and_takes_away_files(repo: Repo, against: Check, git: Git) -> None:
    root = repo({"requirements.txt": LOOSE, "b.txt": ""}, commit="one")
    repo({"requirements.txt": None, "requirements.in": LOOSE + "# c\n", "c.txt": ""}, commit="two")
    repo({"d.txt": ""}, commit="three")
    git(root, "revert", "--no-edit", "HEAD~1")
    assert (root / "requirements.txt").exists()
    assert against(root, "--diff-base", "HEAD~1")[:2] == (0, [])
    repo({"coverage.xml": "left over by CI"})
    assert against(root, "--diff-base", "HEAD~1")[:2] == (0, [])
    (root / "more.yaml").symlink_to("nowhere")
    assert against(root, "--diff-base", "HEAD~1")[1] == ["VG001", "VG101"], "this is more than the revert"


def test_a_revert_in_a_repository_of_sha_256(repo: Repo, against: Check, git: Git) -> None:
    root = repo({})
    git(root, "init", "--quiet", "--object-format=sha256")
    repo({"requirements.txt": LOOSE}, commit="one")
    repo({"requirements.txt": PINNED}, commit="two")
    repo({"requirements.txt": LOOSE})
    assert against(root)[:2] == (0, [])
    repo({"requirements.txt": LOOSE + LOOSE})
    assert against(root)[1] == ["VG101", "VG101"]


def test_a_revert_of_a_merge(repo: Repo, against: Check, git: Git) -> None:
    root = repo({"requirements.txt": LOOSE}, commit="one")
    git(root, "switch", "-qc", "change")
    repo({"requirements.txt": PINNED}, commit="pin")
    repo({"new.txt": ""}, commit="and more")
    git(root, "switch", "-q", "main")
    repo({"a.py": ""}, commit="main")
    git(root, "merge", "-q", "--no-ff", "--no-edit", "change")
    git(root, "revert", "--no-edit", "-m", "1", "HEAD")
    assert against(root, "--diff-base", "HEAD~1")[:2] == (0, [])


def test_a_revert_of_two_commits_that_are_no_neighbours(repo: Repo, against: Check, git: Git) -> None:
    root = repo({"requirements.txt": LOOSE, "requirements-b.txt": LOOSE}, commit="one")
    repo({"requirements.txt": PINNED}, commit="two")
    repo({"a.py": ""}, commit="three")
    repo({"requirements-b.txt": PINNED}, commit="four")
    git(root, "revert", "--no-edit", "HEAD", "HEAD~2")
    assert against(root, "--diff-base", "HEAD~2")[:2] == (0, [])


def test_a_revert_brings_back_the_bigger_card(repo: Repo, against: Check, git: Git) -> None:
    table = '[[deployment]]\nconfig = "config.json"\ngpu = "{}"\n'
    root = repo({"config.json": "{}", "vramguard.toml": table.format("h100-sxm5-80gb")}, commit="one")
    repo({"vramguard.toml": table.format("a10g-24gb")}, commit="cheaper")
    git(root, "revert", "--no-edit", "HEAD")
    assert against(root, "--diff-base", "HEAD~1")[:2] == (0, [])
    git(root, "commit", "-q", "--amend", "-m", "a bigger card")
    assert against(root, "--diff-base", "HEAD~1")[1] == ["VG003"], "a weaker policy has to say that it is a revert"


def test_a_revert_of_nothing_merged_is_none(repo: Repo, against: Check, git: Git) -> None:
    root = repo({"requirements.txt": PINNED}, commit="one")
    git(root, "switch", "-qc", "side")
    repo({"requirements.txt": PINNED + "numpy\n"}, commit="debt that was never merged")
    git(root, "switch", "-q", "main")
    repo({"requirements.txt": PINNED + "numpy\n"}, commit="This reverts commit 0123456789")
    assert against(root, "--diff-base", "HEAD~1")[1] == ["VG101"]


def test_a_revert_with_something_new_beside_it_is_none(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": LOOSE}, commit="one")
    repo({"requirements.txt": PINNED}, commit="two")
    repo({"requirements.txt": LOOSE, "feature.py": "new"}, commit="three")
    assert against(root, "--diff-base", "HEAD~1")[1] == ["VG101"]
