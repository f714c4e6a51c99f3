"""The whole loop over small repositories: what is read, what is narrowed, and that it is always the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from vramguard import engine
from vramguard.checks import Severity
from vramguard.discover import GitTree, WorkTree

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Git, Repo

    from vramguard.engine import Report

NOVEL = '{"model_type": "novel", "architectures": ["NovelForCausalLM"]}'


def judge(root: Path, *only: str, **overrides: Any) -> Report:  # noqa: ANN401 - fields of Settings
    tree = WorkTree(root)
    return engine.check(tree, engine.load_policy(tree, **overrides), only)


def seen(report: Report) -> list[tuple[str, str, int]]:
    return [(finding.id, finding.at.path, finding.at.line) for finding in report.findings]


def test_an_empty_folder_is_an_empty_report(repo: Repo) -> None:
    report = judge(repo({}))
    assert (report.findings, report.files, report.proofs) == ([], 0, [])


def test_findings_are_sorted_by_place(repo: Repo) -> None:
    root = repo({"b/requirements.txt": "x\ny\n", "a/config.json": NOVEL, "pyproject.toml": "[", "z.yaml": "a: b: c"})
    found = seen(judge(root))
    assert found == sorted(found, key=lambda item: (item[1], item[2]))
    assert [name for name, *_ in found] == ["VG202", "VG101", "VG101", "VG001", "VG001"]


def test_every_finding_says_which_class_of_path_it_stands_in(repo: Repo) -> None:
    root = repo({"tests/requirements.txt": "x\n", "a.yaml": "# vramguard: ignore[VG101]\n"})
    assert [(item.id, item.data["path_class"]) for item in judge(root).findings] == [
        ("VG000", "serving"),
        ("VG101", "test"),
    ]


def test_included_files_are_read_whatever_their_name(repo: Repo) -> None:
    root = repo({"requirements.txt": "-r more/deps.lst\n", "more/deps.lst": "-r deeper\n", "more/deeper": "x\n"})
    assert seen(judge(root)) == [("VG101", "more/deeper", 1)]


def test_includes_that_go_round_end(repo: Repo) -> None:
    assert (
        seen(judge(repo({"requirements.txt": "-r requirements.txt\n-r b.txt\n", "b.txt": "-r requirements.txt\n"})))
        == []
    )


@pytest.mark.parametrize("target", ["a" * 300, "../outside.txt", "/etc/hostname", "folder", "loop.txt", "gone.txt"])
def test_an_include_that_cannot_be_followed_never_crashes(repo: Repo, target: str) -> None:
    root = repo({"requirements.txt": f"-r {target}\n", "folder/x.py": ""})
    (root / "loop.txt").symlink_to("loop.txt")
    assert [item for item in seen(judge(root)) if item[0] not in ("VG001", "VG101")] == []


def test_weights_that_cannot_be_read_are_a_finding_and_a_pointer_to_them_is_none(repo: Repo) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    root = repo(
        {
            "a/model.safetensors": "broken",
            "b/model.safetensors": pointer,
            "b/model.safetensors.index.json": pointer,
            "c/model.gguf": b"GGUF",
            "d/model.safetensors.index.json": "{}",
            "tests/model.safetensors": b"",
            "vramguard.toml": 'exclude = ["x/"]\n',
            "x/model.safetensors": "broken",
        },
        commit="one",
    )
    (root / "link.safetensors").symlink_to("/data/model.safetensors")
    expected = [
        ("VG001", "a/model.safetensors", 1),
        ("VG001", "c/model.gguf", 1),
        ("VG001", "d/model.safetensors.index.json", 1),
        ("VG001", "tests/model.safetensors", 1),
    ]
    assert seen(judge(root)) == expected
    tree = GitTree(root, "HEAD")
    assert seen(engine.check(tree, engine.load_policy(tree))) == expected


def test_a_file_that_the_system_does_not_give_is_a_finding(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repo({"requirements.txt": "x==1\n", "config.json": "{}"})
    read = WorkTree.read

    def refuse(tree: WorkTree, path: str) -> bytes | None:
        if path == "config.json":
            raise PermissionError(13, "Permission denied")
        return read(tree, path)

    monkeypatch.setattr(WorkTree, "read", refuse)
    (finding, *_) = judge(root).findings
    assert (finding.id, finding.severity) == ("VG001", Severity.ERROR)
    assert finding.message.endswith("the system says: Permission denied")
    assert judge(root, "config.json").findings == [finding]


def test_a_deleted_file_that_git_still_lists_is_not_judged(repo: Repo, git: Git) -> None:
    root = repo({"requirements.txt": "x\n"}, commit="base")
    (root / "requirements.txt").unlink()
    assert git(root, "ls-files") == "requirements.txt\n"
    assert (judge(root).findings, judge(root).files) == ([], 0)


def test_an_ignored_name_hides_no_tracked_file(repo: Repo, git: Git) -> None:
    root = repo({".gitignore": "*\n", "svc/.gitignore": "*\n", "svc/requirements.txt": "x\n"})
    git(root, "init", "-q")
    git(root, "add", "--force", ".")
    assert seen(judge(root)) == [("VG101", "svc/requirements.txt", 1)]
    assert seen(judge(root / "svc")) == [("VG101", "requirements.txt", 1)]


def test_a_template_is_counted_as_not_judged(repo: Repo) -> None:
    report = judge(repo({"chart/values.yaml": "{{- if .x }}\na: b: c\n"}))
    assert (report.not_judged, [item.id for item in report.findings]) == (1, ["VG004"])
    assert report.count(Severity.NOTE) == 1


class TestNarrowed:
    """The tree is read whole, the report is narrowed."""

    def test_to_a_folder_or_a_file(self, repo: Repo) -> None:
        root = repo({"a/requirements.txt": "x\n", "b/requirements.txt": "y\n", "ab/requirements.txt": "z\n"})
        assert seen(judge(root, "a")) == [("VG101", "a/requirements.txt", 1)]
        assert seen(judge(root, "b/requirements.txt", "ab")) == [
            ("VG101", "ab/requirements.txt", 1),
            ("VG101", "b/requirements.txt", 1),
        ]
        assert judge(root, "a").files == 1

    def test_to_a_file_of_any_name(self, repo: Repo) -> None:
        root = repo({"deps.txt": "x\n", "model.json": NOVEL, "package.json": '{"name": "x"}'})
        assert seen(judge(root)) == []
        assert seen(judge(root, "deps.txt", "model.json", "package.json")) == [
            ("VG101", "deps.txt", 1),
            ("VG202", "model.json", 1),
        ]

    def test_a_models_folder_hears_of_the_fault_of_its_deployment(self, repo: Repo) -> None:
        table = '[[deployment]]\nconfig = "m/config.json"\n[[deployment]]\nconfig = "n/config.json"\n'
        root = repo({"vramguard.toml": table, "m/config.json": NOVEL, "n/config.json": NOVEL})
        report = judge(root, "m")
        assert [(item.id, item.at.path) for item in report.findings] == [("VG202", "vramguard.toml")]
        assert [proven.at.path for proven in report.proofs] == ["m/config.json"]

    def test_a_lock_outside_is_still_known(self, repo: Repo) -> None:
        root = repo({"requirements.txt": "-c constraints.txt\nx\n", "constraints.txt": "x==1\n"})
        assert "VG101" not in [name for name, *_ in seen(judge(root, "requirements.txt"))]


OWN = """
[[rule]]
id = "VG190"
name = "own"
check = "template"
severity = "error"
message = "m"
why = "w"
fix = "f"
"""
SUPPRESSED = "x  # vramguard: ignore[VG101] the base image ships it\n"


def test_what_is_accepted_is_counted_with_its_reason(repo: Repo) -> None:
    waiver = '[[waiver]]\nrules = ["VG1"]\npaths = ["old/"]\nreason = "never installed"\n'
    root = repo({"requirements.txt": SUPPRESSED, "old/requirements.txt": "y\n", "vramguard.toml": waiver})
    report = judge(root)
    assert report.findings == []
    assert sorted((item.finding.at.path, item.reason, item.written) for item in report.suppressed) == [
        ("old/requirements.txt", "never installed", False),
        ("requirements.txt", "the base image ships it", True),
    ]


def test_the_configurations_own_policy_file_is_read_beside_it(repo: Repo) -> None:
    root = repo({"ci/vramguard.toml": 'policies = ["own.toml"]\n', "ci/own.toml": OWN, "a.yaml": "{{ x }}: b: c\n"})
    tree = WorkTree(root)
    policy = engine.load_policy(tree, "ci/vramguard.toml", select=("VG190",))
    assert [item.id for item in engine.check(tree, policy).findings] == ["VG190"]


def test_the_same_bytes_whatever_the_order_the_hash_seed_and_the_folder(repo: Repo, tmp_path: Path) -> None:
    names = ["b/requirements.txt", "a/requirements.txt", "config.json", "x.yaml", "pyproject.toml"]
    texts = [
        "x\ny>1\n",
        "x\n" + SUPPRESSED,
        NOVEL,
        "a: 1\na: 2\n",
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["x"]\n',
    ]
    first = repo(dict(zip(names, texts, strict=True)))
    second = tmp_path / "elsewhere" / "repo"
    for name, text in reversed(list(zip(names, texts, strict=True))):
        (second / name).parent.mkdir(parents=True, exist_ok=True)
        (second / name).write_text(text, "utf-8")
    outputs = set()
    for root, seed in ((first, "0"), (first, "1"), (second, "2")):
        command = [sys.executable, "-m", "vramguard", "check", "--output-format", "json"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        outputs.add(done.stdout)
    (output,) = outputs
    assert {item["id"] for item in json.loads(output)["findings"]} >= {"VG101", "VG202", "VG005", "VG103"}


SERVED = """\
from fastapi import FastAPI
import joblib

from .names import LIMIT

app = FastAPI()
model = joblib.load("m{n}.pkl")


@app.post("/price")
def price(rows: list) -> float:
    return float(model.predict(rows)[0])


def learn(path):
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    data = pd.read_csv(path)
    return LinearRegression().fit(data[["a"]], data["b"])
"""


def test_many_processes_find_what_one_finds(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes read, and rules are judged beside each other; with what is accepted in between."""
    from vramguard.link import code
    from vramguard.link.code.program import Program

    files: dict[str, str | bytes | None] = {f"p{n}/app.py": SERVED.replace("{n}", str(n)) for n in range(40)}
    files |= {f"p{n}/names.py": "LIMIT = 1\n" for n in range(40)}
    accepted = "    # vramguard: ignore[VG301,VG401] seen\n    return float"
    files["p3/app.py"] = SERVED.replace("    return float", accepted)
    files["p4/run.py"] = 'from vllm import LLM\nllm = LLM("org/m")\nprint(llm.generate("ä"))\n'
    tree = WorkTree(repo(files))
    policy = engine.load_policy(tree)
    joined: list[Program] = []

    def program(*given: Any) -> Program:  # noqa: ANN401 - as given
        joined.append(Program(*given))
        return joined[-1]

    monkeypatch.setattr(code, "Program", program)
    monkeypatch.setattr(engine, "_WORTH_PROCESSES", 30)
    one, several = (engine.check(tree, policy, jobs=jobs) for jobs in (1, 2))
    assert {"VG301", "VG401", "VG522"} <= {finding.id for finding in one.findings}
    assert one.findings == several.findings
    assert [item.finding for item in one.suppressed] == [item.finding for item in several.suppressed] != []
    assert list(one.facts) == list(several.facts)
    assert (one.not_judged, one.proofs, one.files) == (several.not_judged, several.proofs, several.files)
    assert len(joined) == 2, "the program of a repository is joined once by each check"
