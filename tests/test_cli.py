"""The command line: exit codes, one line for each mistake, and what goes to which stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from vramguard import engine
from vramguard.cli import Exit, options, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Repo

LOOSE = {"requirements.txt": "torch>=2\n"}
EMPTY_ANSWERS = ("error", "warning", "note", "suppressed", "files", "not_judged", "baselined")


@pytest.fixture
def here(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """`here(files)` writes files under the current folder, which is a repository of its own."""
    monkeypatch.chdir(repo({}))
    return repo


def test_clean_is_0_and_findings_are_1(here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    here({"pyproject.toml": '[project]\nname = "p"\nversion = "1"\n'})
    assert run(["check"]) == Exit.CLEAN
    here(LOOSE)
    assert run(["check", "."]) == Exit.FINDINGS
    assert run(["check", "--exit-zero"]) == Exit.CLEAN
    assert "do not merge" in capsys.readouterr().out


@pytest.mark.parametrize(("level", "code"), [("error", 0), ("warning", 1), ("note", 1)])
def test_fail_on(here: Repo, level: str, code: int) -> None:
    here({"tests/requirements.txt": "torch>=2\n"})
    assert run(["check", "--fail-on", level]) == code
    here({"vramguard.toml": f'fail_on = "{level}"\n'})
    assert run(["check"]) == code


def test_an_empty_folder_has_nothing_to_judge(here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    here({})
    assert run(["check"]) == Exit.CLEAN
    assert capsys.readouterr().out == "vramguard: nothing to judge in .\n"
    assert run(["check", "--output-format", "json"]) == Exit.CLEAN
    assert json.loads(capsys.readouterr().out)["summary"] == dict.fromkeys(EMPTY_ANSWERS, 0)


MISTAKES: dict[str, tuple[list[str], Mapping[str, str | bytes], str]] = {
    "option": (["check", "--slect", "VG1"], {}, "No such option: --slect; did you mean `--select`?"),
    "command": (["chek"], {}, "No such command 'chek'. Did you mean 'check'?"),
    "missing argument": (["prove"], {}, "Missing argument"),
    "extra argument": (["rules", "VG101", "VG102"], {}, "unexpected extra argument"),
    "choice": (["check", "--output-format", "xml"], {}, "'xml' is not one of 'text', 'json', 'github', 'sarif'"),
    "path": (["check", "nope"], {}, "no such file or folder: `nope`"),
    "control characters": (["check", "no\x1b[31m\npe"], {}, "no such file or folder: `no\\x1b[31m\\npe`"),
    "outside": (["check", "..", "."], {}, "is not in the repository"),
    "rule": (["check", "--select", "VG9"], {}, "no rule `VG9`"),
    "no rule": (["check", "--select", ","], {}, "`select` names no rule"),
    "page": (["rules", "vram-budget"], {}, "no rule `vram-budget`; did you mean `vram-budget-exceeded`?"),
    "budget": (["check", "--budget", "1.5"], {}, "`1.5` is not above 0 and at most 1"),
    "infinite": (["check", "--budget", "inf"], {}, "`inf` is no number"),
    "concurrency": (["check", "--concurrency", "0"], {}, "--concurrency"),
    "gpu": (["check", "--gpu", "h100-sxm5-80g"], {}, "unknown GPU `h100-sxm5-80g`; did you mean `h100-sxm5-80gb`?"),
    "config file": (["check", "--config", "x.toml"], {}, "no configuration in `x.toml`"),
    "revision": (["check", "--diff-base", "HEAD"], {}, "is in no git repository"),
    "baseline": (["check", "--baseline", "b.json"], {}, "b.json`; --write-baseline writes it"),
    "no baseline": (["check"], {"vramguard.toml": 'baseline = "b.json"'}, "vramguard.toml:1:1: no baseline `b.json`"),
    "other baseline": (["check", "--baseline", "b.json"], {"b.json": "[]"}, "not a baseline file"),
    "output": (["check", "-o", "gone/out.json"], {}, "cannot write `gone/out.json`: No such file or directory"),
    "configuration": (["check"], {"vramguard.toml": "budgt = 1\n"}, "vramguard.toml:1:1: unknown key `budgt`"),
    "syntax": (["check"], {"vramguard.toml": "a = \n"}, "vramguard.toml:1:"),
    "encoding": (["check"], {"vramguard.toml": b"a = '\xff'\n"}, "vramguard.toml:1:1: not UTF-8 text"),
    "in pyproject": (["check"], {"pyproject.toml": "[tool.vramguard]\na = 1\n"}, "pyproject.toml:2:1: unknown key `a`"),
    "policy": (["check"], {"vramguard.toml": 'policies = ["p.toml"]\n'}, "the policy file `p.toml` is not there"),
    "broken policy": (["check"], {"vramguard.toml": 'policies = ["p.toml"]\n', "p.toml": "[[rule]]"}, "p.toml:1:"),
    "deployment": (["check"], {"vramguard.toml": '[[deployment]]\ngpu = "x"\n'}, "vramguard.toml:1:"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("json_mode", [False, True], ids=["text", "json"])
def test_a_mistake_is_one_line_on_stderr_and_2(
    here: Repo, capsys: pytest.CaptureFixture[str], name: str, *, json_mode: bool
) -> None:
    words, files, said = MISTAKES[name]
    here(files)
    more = ["--output-format", "json"] if json_mode and "--output-format" not in words else []
    code = run([*words, *more])
    out, err = capsys.readouterr()
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("vramguard: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_no_command_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert "check" in out
    assert err == ""


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["check", "-h"], ["prove", "--help"]])
def test_asked_for_help_is_0(words: list[str]) -> None:
    assert run(words) == Exit.CLEAN


def test_a_bug_is_3_with_its_traceback(
    here: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here({})

    def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise RuntimeError("oops")

    monkeypatch.setattr(engine, "gather", fail)
    assert run(["check"]) == Exit.BUG
    out, err = capsys.readouterr()
    assert out == ""
    assert "RuntimeError: oops" in err
    assert err.endswith("vramguard: error: this is a bug in vramguard; please report it with the lines above\n")


def test_an_interrupt_is_130(here: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    here({})

    def interrupt(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "gather", interrupt)
    assert run(["check"]) == Exit.INTERRUPTED


def test_a_reader_that_stops_early_never_turns_a_rejection_into_a_pass(here: Repo) -> None:
    root = here({"requirements.txt": "".join(f"package{number}>=1\n" for number in range(3000))})
    script = f'set -o pipefail; "{sys.executable}" -m vramguard check {{}} | head -n 1'
    for words in ("", "--output-format json", "--output-format github"):
        done = subprocess.run(
            ["bash", "-c", script.format(words)], cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode in (Exit.PIPE, Exit.FINDINGS)  # the second where the pipe took all before head closed it
        assert done.stderr == ""
        assert done.stdout.count("\n") == 1


def test_a_terminal_without_our_characters(here: Repo) -> None:
    root = here({"requirements.txt": "törch>=2\n"})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "vramguard", "check"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_names_with_control_characters_are_made_visible(here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    name = "evil\x1b[2J\n::error::/requirements.txt"
    here({name: "torch>=2\n", os.fsdecode(b"\xff/requirements.txt"): "torch>=2\n"})
    for words in ([], ["--output-format", "github"], ["--output-format", "json"], ["--output-format", "sarif"]):
        assert run(["check", *words]) == Exit.FINDINGS
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\n::error::/req" not in out
        if words[1:] in (["json"], ["sarif"]):
            json.loads(out)
    run(["check", "--output-format", "json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {item["path"] for item in found} == {name, "\\xff/requirements.txt"}


@pytest.mark.parametrize("chosen", ["json", "github", "sarif", "text"])
def test_output_goes_to_the_file_and_text_to_the_terminal(
    here: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # the width of a terminal, which a file has not
    root = here(LOOSE)
    assert run(["check", "--output-format", chosen]) == 1
    alone = capsys.readouterr().out
    assert run(["check", "--output-format", chosen, "-o", "out"]) == 1
    assert capsys.readouterr().out.rstrip().endswith("do not merge: 1 error in 1 file")
    assert (root / "out").read_text("utf-8").rstrip() == alone.rstrip()


@pytest.mark.parametrize(("name", "key"), [("out.json", "schema"), ("out.sarif", "$schema")])
def test_the_output_files_name_says_its_format(here: Repo, name: str, key: str) -> None:
    root = here(LOOSE)
    assert run(["check", "-o", name]) == 1
    assert key in json.loads((root / name).read_text("utf-8"))


class TestBaseline:
    """`--baseline FILE` and `--write-baseline`."""

    def test_holds_where_lines_move_and_not_where_debt_grows(
        self, here: Repo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here(LOOSE)
        assert run(["check", "--write-baseline"]) == Exit.CLEAN
        assert capsys.readouterr().out == "vramguard-baseline.json: 1 finding accepted as of today\n"
        accepted = ["check", "--baseline", "vramguard-baseline.json"]
        here({"requirements.txt": "# one\n\ntorch>=2\n"})
        assert run(accepted) == Exit.CLEAN
        here({"requirements.txt": "torch>=2\nnumpy>=1\n"})
        assert run(accepted) == Exit.FINDINGS

    def test_shrinks(self, here: Repo) -> None:
        root = here({"requirements.txt": "torch>=2\nnumpy>=1\n", "vramguard.toml": 'baseline = "b.json"\n'})
        assert run(["check", "--write-baseline"]) == 0
        before = (root / "b.json").read_bytes()
        assert run(["check", "--write-baseline"]) == 0
        assert (root / "b.json").read_bytes() == before
        here({"requirements.txt": "torch>=2\n"})
        assert run(["check", "--write-baseline"]) == 0
        assert len(json.loads((root / "b.json").read_text("utf-8"))["findings"]) == 1

    def test_is_named_from_where_the_user_stands(
        self, here: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        root = here({"vramguard.toml": "", "a/requirements.txt": "torch>=2\n"})
        monkeypatch.chdir(root / "a")
        for name in ("b.json", "../b.json", str(tmp_path / "b.json")):
            assert run(["check", "--baseline", name, "--write-baseline"]) == 0
            assert run(["check", "--baseline", name]) == 0
        assert (root / "a/b.json").exists()
        assert (root / "b.json").exists()
        assert (tmp_path / "b.json").exists()
        assert run(["check", "--baseline", "gone/b.json", "--write-baseline"]) == Exit.USAGE


class TestInit:
    """`init` sets up what is missing."""

    def test_then_check_runs(self, here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
        root = here(LOOSE)
        assert run(["init", "--no-baseline"]) == Exit.CLEAN
        assert "today: 2 findings" in capsys.readouterr().out
        assert run(["check"]) == Exit.FINDINGS
        assert run(["init", "--baseline"]) == Exit.CLEAN
        assert run(["check"]) == Exit.CLEAN
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        here({"requirements.txt": "torch>=2\nnumpy>=1\n"})
        assert run(["init", "--baseline"]) == Exit.CLEAN
        before[root / "requirements.txt"] = b"torch>=2\nnumpy>=1\n"
        assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
        assert run(["check"]) == Exit.FINDINGS, "a second init accepts nothing more"

    def test_of_a_folder_that_is_not_there(self, here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
        here({})
        assert run(["init", "gone"]) == Exit.USAGE
        assert capsys.readouterr().err.count("\n") == 1


def test_rules_are_listed_and_shown(here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    here({})
    assert run(["rules"]) == Exit.CLEAN
    assert "VG101" in capsys.readouterr().out
    for name in ("VG201", "vg201", "vram-budget-exceeded"):
        assert run(["rules", name]) == Exit.CLEAN
        assert "A 70B model on one card" in capsys.readouterr().out
    assert run(["rules", "--output-format", "json"]) == Exit.CLEAN
    assert json.loads(capsys.readouterr().out)


FACTS = {
    "requirements.txt": "torch==2.1.0\nnumpy\n-e .\n",
    "config.json": '{"model_type": "llama"}',
    "vramguard.toml": '[[deployment]]\nconfig = "config.json"\nmax_model_len = 4096\ngpu_memory_utilization = 0.9\n',
}


def test_inspect_prints_the_contracts_fields(here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    here(FACTS)
    assert run(["inspect", "--output-format", "json"]) == Exit.CLEAN
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "vramguard.facts/1"
    requirements = [fact for fact in report["facts"] if fact["kind"] == "requirement"]
    assert [(fact["name"], fact["pinned"], fact["line"]) for fact in requirements] == [
        ("torch", True, 1),
        ("numpy", False, 2),
        (".", None, 3),
    ]
    assert {"specifier", "hashed", "form", "path"} <= requirements[0].keys()
    (deployment,) = (fact for fact in report["facts"] if fact["kind"] == "deployment")
    fields = "engine model revision gpu gpus tensor_parallel_size pipeline_parallel_size max_model_len dtype"
    more = "quantization kv_cache_dtype gpu_memory_utilization max_num_seqs max_num_batched_tokens concurrency"
    last = "attn_implementation engine_version at"
    assert set(f"{fields} {more} {last}".split()) <= deployment.keys()
    assert (deployment["max_model_len"], deployment["gpu"], deployment["gpu_memory_utilization"]) == (4096, None, "0.9")
    assert deployment["at"]["max_model_len"] == {"path": "vramguard.toml", "line": 3, "column": 17}
    assert run(["inspect"]) == Exit.CLEAN
    assert "requirements.txt:2:1" in capsys.readouterr().out
    assert run(["inspect", "config.json", "--output-format", "json"]) == Exit.CLEAN
    assert [fact["kind"] for fact in json.loads(capsys.readouterr().out)["facts"]] == ["model-config"]


class TestPaths:
    """What is judged for which paths, and how its files are called."""

    def shown(self, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
        capsys.readouterr()
        run(["check", *words, "--output-format", "json"])
        return [item["path"] for item in json.loads(capsys.readouterr().out)["findings"]]

    def test_one_several_and_files(self, here: Repo, capsys: pytest.CaptureFixture[str]) -> None:
        here({f"{name}/requirements.txt": "x\n" for name in "abc"} | {"a/deps.txt": "y\n"})
        assert self.shown(capsys) == self.shown(capsys, ".") == [f"{name}/requirements.txt" for name in "abc"]
        assert self.shown(capsys, "a") == ["a/requirements.txt"]
        assert self.shown(capsys, "a", "c/requirements.txt") == ["a/requirements.txt", "c/requirements.txt"]
        assert self.shown(capsys, "a/deps.txt") == ["a/deps.txt"]
        assert self.shown(capsys, "b/../a") == ["a/requirements.txt"]

    def test_from_a_subfolder(
        self, here: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = here({"vramguard.toml": "", "a/requirements.txt": "x\n", "b/requirements.txt": "x\n"}, commit="base")
        monkeypatch.chdir(root / "a")
        assert self.shown(capsys) == self.shown(capsys, ".") == ["a/requirements.txt"]
        assert len(self.shown(capsys, "..")) == 2


def test_say_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    options.say("a\x1bb")
    assert capsys.readouterr().out == "a\\x1bb\n"
