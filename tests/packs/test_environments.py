"""The pack `github-environments`: workflows that linters take, with a person between training and users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packed import REPOSITORIES, VLLM, plan, written

from vramguard import scaffold
from vramguard.packs.environments import CHECKOUT

BIN = Path(sys.executable).parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the pack."""
    list(scaffold.write_files(tmp_path, plan(REPOSITORIES["many"], "github-environments").files))
    (tmp_path / ".git").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", [("zizmor", "--offline", "--no-progress", ".github"), ("jactionlint",)])
def test_linters_of_workflows_find_nothing(root: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run((BIN / command[0], *command[1:]), cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_is_one_for_the_shell_and_fails_where_nothing_is_written(root: Path) -> None:
    script = root / "ops/vramguard/release.sh"
    assert subprocess.run(("bash", "-n", script), check=False).returncode == 0
    for step, code in (("train", 1), ("evaluate", 1), ("promote", 1), ("unknown", 2)):
        done = subprocess.run(("bash", script, step), capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr
    if (BIN / "shellcheck").exists():  # there is no wheel of it for Linux on ARM
        done = subprocess.run((BIN / "shellcheck", script), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_nobody_but_a_person_starts_them_and_a_person_stands_before_users() -> None:
    files = written(REPOSITORIES["many"], "github-environments")
    retrain = yaml.load(files[".github/workflows/model-retrain.yml"], yaml.BaseLoader)  # noqa: S506 - `on` stays a word
    deploy = yaml.load(files[".github/workflows/model-deploy.yml"], yaml.BaseLoader)  # noqa: S506
    assert list(retrain["on"]) == list(deploy["on"]) == ["workflow_dispatch"]
    assert retrain["jobs"]["promote"]["environment"] == "model-promotion"
    assert retrain["jobs"]["promote"]["needs"] == "evaluate"
    assert deploy["jobs"]["deploy"]["environment"] == "model-production"
    assert CHECKOUT.split()[0] in scaffold.WORKFLOW, "one release of it in all that we write"


def test_what_is_written_out_is_rolled_out_and_what_is_built_is_not() -> None:
    script = written({"deploy/a b.yaml": VLLM}, "github-environments")["release.sh"]
    assert "kubectl apply --filename 'deploy/a b.yaml'" in script
    assert "kubectl rollout status deployment/llama --namespace serving" in script
    assert "unwritten deploy" in written({"README.md": "none"}, "github-environments")["release.sh"]


def test_owners_are_added_to_the_file_that_counts_and_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "CODEOWNERS").write_text("* @shop\n*.onnx @models\n", "utf-8")
    files = plan({**REPOSITORIES["many"], "CODEOWNERS": "* @shop\n"}, "github-environments").files
    (owners,) = [file for file in files if file.lines]
    assert owners.path == "CODEOWNERS"
    lines = list(scaffold.write_files(tmp_path, [owners], force=True))
    assert lines[0] == "CODEOWNERS: there already; add to it:"
    assert "    *.safetensors @OWNER/model-owners" in lines
    assert not [line for line in lines if "*.onnx" in line]
    assert (tmp_path / "CODEOWNERS").read_text("utf-8") == "* @shop\n*.onnx @models\n"
