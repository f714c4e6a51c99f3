"""A pull request against its base: what it adds, and what it may not decide for itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

import pytest
from llama import LLAMA_8B
from weights import TINY, safetensors, shapes_of

from vramguard.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Git, Repo

SMALL = json.dumps(LLAMA_8B)
LARGE = json.dumps({**LLAMA_8B, "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64})
LARGER = json.dumps({**LLAMA_8B, "hidden_size": 8192, "num_hidden_layers": 90, "num_attention_heads": 64})
HASH = f" --hash=sha256:{'0' * 64}"
PINNED = f"torch==2.1.0{HASH}\n"
LOOSE = "torch>=2\n"


class Check(Protocol):
    def __call__(self, root: Path, *options: str) -> tuple[int, list[str], list[str]]: ...


def test_weights_are_judged_in_the_base_as_in_the_head(repo: Repo, against: Check) -> None:
    held = safetensors(shapes_of(TINY))
    root = repo({"m/config.json": json.dumps(TINY | {"vocab_size": 99}), "m/model.safetensors": held}, commit="base")
    assert against(root, "--select=VG211")[:2] == (0, [])
    repo({f"m/{name}": None for name in ("config.json", "model.safetensors")})
    repo({"n/config.json": json.dumps(TINY | {"vocab_size": 99}), "n/model.safetensors": held})
    assert against(root, "--select=VG211")[:2] == (0, []), "they have only moved"
    repo({"n/config.json": json.dumps(TINY | {"num_hidden_layers": 2})})
    assert against(root, "--select=VG211")[:2] == (1, ["VG211"])
    repo({"n/config.json": json.dumps(TINY)})
    assert against(root, "--select=VG211")[:2] == (0, [])


def test_what_stood_before_does_not_block_and_what_is_new_does(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": LOOSE, "config.json": LARGE}, commit="base")
    assert against(root)[:2] == (0, [])
    repo({"requirements.txt": "# moved\n\n\n" + LOOSE})
    assert against(root)[:2] == (0, [])
    repo({"requirements.txt": LOOSE + "numpy>=1\n"})
    assert against(root) == (1, ["VG101"], ["`numpy>=1` is not exact: a range: >=1"])
    repo({"requirements.txt": LOOSE, "config.json": LARGER})
    assert against(root)[:2] == (1, ["VG201"]), "debt that grows is new"
    repo({"config.json": SMALL})
    assert against(root)[:2] == (0, [])


def test_a_second_line_like_the_first_is_new(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": LOOSE}, commit="base")
    repo({"requirements.txt": LOOSE + LOOSE})
    assert against(root)[1] == ["VG101"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("requirements.txt", "requirements-gpu.txt", 0),
        ("requirements.txt", "services/a/requirements.txt", 0),
        ("tests/requirements.txt", "requirements.txt", 1),
    ],
)
def test_a_pure_rename_brings_no_debt_unless_the_place_is_judged_harder(
    repo: Repo, against: Check, old: str, new: str, code: int
) -> None:
    root = repo({old: LOOSE}, commit="base")
    repo({old: None, new: LOOSE})
    assert against(root)[0] == code


def test_a_copy_is_no_rename(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": LOOSE}, commit="base")
    repo({"requirements-2.txt": LOOSE})
    assert against(root)[1] == ["VG101"]


def test_a_renamed_config_keeps_its_deployment(repo: Repo, against: Check) -> None:
    table = '[[deployment]]\nconfig = "{}/config.json"\ngpu = "a100-sxm4-40gb"\n'
    root = repo({"a/config.json": LARGE, "vramguard.toml": table.format("a")}, commit="base")
    repo({"a/config.json": None, "b/config.json": LARGE, "vramguard.toml": table.format("b")})
    assert against(root)[:2] == (0, [])


def test_a_suppression_takes_effect_once_merged(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": PINNED}, commit="base")
    excused = "numpy>=1  # vramguard: ignore[VG101] because I say so\n"
    repo({"requirements.txt": PINNED + excused})
    assert against(root)[1] == ["VG101"]
    repo({}, commit="merged all the same")
    assert against(root)[:2] == (0, [])
    repo({"requirements.txt": PINNED + excused + "scipy>=1\n"})
    assert against(root)[1] == ["VG101"]


BASE = """
budget = 0.7
fail_on = "warning"
exclude = ["data/", "!data/keep.txt"]
policies = ["own.toml"]
[classes]
serving = ["tests/serving/"]
[models]
"/mnt/chat" = "acme/chat-70b"
[gates]
environments = ["model-production"]
[[evidence]]
rules = ["VG402"]
surface = "Deployment/chat"
where = "mesh//chat.yaml@6f1c2d9"
reviewer = "@sre"
until = 2999-01-01
[[waiver]]
rules = ["VG102"]
paths = ["research/"]
reason = "never installed"
until = 2999-01-01
[[waiver]]
rules = ["VG118"]
paths = ["serve/"]
advisories = ["PYSEC-1", "PYSEC-2"]
reason = "not reached"
until = 2999-06-01
[[deployment]]
config = "m/config.json"
gpu = "a100-sxm4-40gb"
max_model_len = 1024
"""
OWN = """
[[rule]]
id = "VG190"
name = "own"
check = "unpinned-requirement"
severity = "note"
message = "own words on {requirement}"
why = "ours"
fix = "none"
"""
WEAKER = [
    ("budget = 0.7", "budget = 0.75", "`budget` changes from 0.7 to 0.75"),
    ("budget = 0.7", "", "`budget` changes from 0.7 to 0.8"),
    ("budget = 0.7", 'budget = 0.7\ngpu = "h200-141gb"', "`gpu` changes"),
    ("budget = 0.7", 'budget = 0.7\nignore = ["VG102"]', "VG102 is no longer judged"),
    ("budget = 0.7", 'budget = 0.7\nselect = ["VG2", "VG0"]', "VG101 is no longer judged"),
    ('fail_on = "warning"', "", "`fail_on` rises from warning to error"),
    ('exclude = ["data/", "!data/keep.txt"]', 'exclude = ["data/", "!data/keep.txt", "*.txt"]', "exclude"),
    ('exclude = ["data/", "!data/keep.txt"]', 'exclude = ["data/"]', "no longer `!data/keep.txt`"),
    ('exclude = ["data/", "!data/keep.txt"]', 'exclude = ["!data/keep.txt", "data/"]', "its order changes"),
    ('policies = ["own.toml"]', "", "VG190 is no longer judged"),
    ("[classes]", '[severity]\nVG101 = "note"\n[classes]', "VG101 falls from error to note"),
    ("[classes]", '[rules.VG101]\nclasses = ["training"]\n[classes]', "VG101's `classes` changes"),
    ("[classes]", '[rules.VG101]\nwarnings = ["serving"]\n[classes]', "VG101's `warnings` changes"),
    ("[classes]", '[rules.VG112]\nallowed = ["evil.example"]\n[classes]', "VG112's `allowed` changes"),
    ("[classes]", '[rules.VG117]\nquiet_with = ["zizmor", "hadolint"]\n[classes]', "VG117's `quiet_with` changes"),
    ("[classes]", '[rules.VG101]\nlock_forms = ["conda"]\n[classes]', "VG101's `lock_forms` changes"),
    ("[classes]", '[classes]\ntest = ["serve/"]', "the path classes change"),
    ('serving = ["tests/serving/"]', "", "the path classes change"),
    ('paths = ["research/"]', 'paths = ["research/", "serve/"]', "VG102 is waived for"),
    ('rules = ["VG102"]', 'rules = ["VG1"]', "VG1 is waived for"),
    ('never installed"\nuntil = 2999-01-01', 'never installed"', "VG102 is waived for"),
    ('"Deployment/chat"', '"Deployment/*"', "VG402 is said to be met elsewhere for Deployment/*"),
    ('["model-production"]', '["model-production", "preview"]', "the environment `preview` is said to be a gate"),
    ('[gates]\nenvironments = ["model-production"]\n', "", "every environment counts as a gate"),
    ('advisories = ["PYSEC-1", "PYSEC-2"]', "", "VG118 is waived for"),
    ('advisories = ["PYSEC-1", "PYSEC-2"]', 'advisories = ["PYSEC-1", "PYSEC-3"]', "VG118 is waived for"),
    ('"acme/chat-70b"', '"acme/chat-7b"', "`/mnt/chat` is said to hold acme/chat-7b instead of acme/chat-70b"),
    ('gpu = "a100-sxm4-40gb"', 'gpu = "a100-sxm4-80gb"', "moves to a bigger card"),
    ('gpu = "a100-sxm4-40gb"', 'gpu = "a100-sxm4-40gb"\ngpus = 2', "moves to a bigger card"),
    ('gpu = "a100-sxm4-40gb"', "", "moves to a bigger card"),
    ('config = "m/config.json"', 'config = "n/config.json"', "is no longer declared"),
]
TIGHTER = [
    ("budget = 0.7", "budget = 0.6"),
    ("budget = 0.7", 'budget = 0.7\ngpu = "a100-sxm4-40gb"'),
    ("budget = 0.7", "budget = 0.7\nconcurrency = 4"),
    ('fail_on = "warning"', 'fail_on = "note"'),
    ('exclude = ["data/", "!data/keep.txt"]', ""),
    ("[classes]", '[severity]\nVG002 = "error"\n[classes]'),
    ("[classes]", '[rules.VG101]\nclasses = ["serving", "training", "vendored"]\n[classes]'),
    ("[classes]", '[rules.VG202]\nundeclared = "error"\n[classes]'),
    ("[classes]", '[rules.VG117]\nquiet_with = []\nforms = ["workflow", "action", "pre-commit"]\n[classes]'),
    ("[classes]", '[rules.VG103]\naccepted = ["poetry"]\n[classes]'),
    ("[classes]", '[rules.VG202]\nunjudged = ["test"]\n[classes]'),
    ('serving = ["tests/serving/"]', 'serving = ["tests/serving/", "docs/run/"]'),
    ('never installed"\nuntil = 2999-01-01', 'never installed"\nuntil = 2998-01-01'),
    ('advisories = ["PYSEC-1", "PYSEC-2"]', 'advisories = ["PYSEC-1"]'),
    ('rules = ["VG102"]', 'rules = ["VG102"]\n'),
    ('gpu = "a100-sxm4-40gb"', 'gpu = "a100-sxm4-40gb"\nconcurrency = 1'),
]


@pytest.mark.parametrize(("old", "new", "words"), WEAKER, ids=[words for *_, words in WEAKER])
def test_every_weakening_is_said(repo: Repo, against: Check, old: str, new: str, words: str) -> None:
    assert old in BASE
    files = {"vramguard.toml": BASE, "own.toml": OWN, "m/config.json": SMALL, "n/config.json": SMALL}
    root = repo(files, commit="base")
    repo({"vramguard.toml": BASE.replace(old, new)})
    code, ids, messages = against(root)
    weakened = [message for name, message in zip(ids, messages, strict=True) if name == "VG003"]
    assert code == 1
    assert words in " ".join(weakened)
    assert len(weakened) == 1 or "select" in new, "each is said once"


@pytest.mark.parametrize(("old", "new"), TIGHTER, ids=[new for _, new in TIGHTER])
def test_what_asks_for_more_is_no_weakening(repo: Repo, against: Check, old: str, new: str) -> None:
    assert old in BASE
    root = repo({"vramguard.toml": BASE, "own.toml": OWN, "m/config.json": SMALL}, commit="base")
    repo({"vramguard.toml": BASE.replace(old, new)})
    assert "VG003" not in against(root)[1]


def test_an_organisation_cannot_lose_its_rule_by_an_edit_of_the_policy_file(repo: Repo, against: Check) -> None:
    root = repo({"vramguard.toml": BASE, "own.toml": OWN.replace('"note"', '"error"')}, commit="base")
    repo({"own.toml": OWN})
    assert against(root)[1] == ["VG003"]
    repo({"own.toml": ""})
    assert against(root)[1] == ["VG003"]
    other = OWN.replace('"note"', '"error"').replace("unpinned-requirement", "template")
    repo({"own.toml": other.replace("{requirement}", "it")})
    assert against(root)[1] == ["VG003"]


def test_a_weakened_policy_does_not_judge_the_change_that_brings_it(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": PINNED}, commit="base")
    repo({"requirements.txt": PINNED + "numpy>=1\n", "vramguard.toml": 'exclude = ["requirements.txt"]\n'})
    assert against(root)[1] == ["VG101", "VG003"]


def test_the_smaller_card_of_base_and_head_judges(repo: Repo, against: Check) -> None:
    table = '[[deployment]]\nconfig = "config.json"\ngpu = "{}"\nmax_model_len = 65536\n'
    root = repo({"config.json": SMALL, "vramguard.toml": table.format("a100-sxm4-80gb")}, commit="base")
    repo({"vramguard.toml": table.format("a10g-24gb")})
    assert against(root)[1] == ["VG201"], "a move to a card that is too small is the incident itself"
    repo({}, commit="merged")
    repo({"vramguard.toml": table.format("a100-sxm4-80gb") + table.format("a10g-24gb")})
    assert against(root)[:2] == (0, []), "the deployment that stood stays the one that stood, in whichever order"


@pytest.mark.parametrize("first", [{}, {"pyproject.toml": "[tool.black]\n"}], ids=["none", "without ours"])
def test_the_first_configuration_may_not_weaken_the_defaults(repo: Repo, against: Check, first: dict[str, str]) -> None:
    root = repo({"config.json": SMALL, **first}, commit="base")
    repo({"vramguard.toml": '[[deployment]]\nconfig = "config.json"\n'})
    assert against(root)[:2] == (0, [])
    repo({"vramguard.toml": "budget = 0.9\n"})
    assert against(root)[1] == ["VG003"]


def test_deleting_the_configuration_weakens(repo: Repo, against: Check) -> None:
    root = repo({"requirements.txt": PINNED}, commit="before the gate")
    repo({"vramguard.toml": "budget = 0.5\n"}, commit="the gate")
    repo({"vramguard.toml": None})
    assert against(root)[1] == ["VG003"]


def test_a_configuration_beside_the_one_that_judges_does_not_judge(repo: Repo, against: Check) -> None:
    root = repo({"pyproject.toml": "[tool.vramguard]\nbudget = 0.5\n"}, commit="base")
    repo({"vramguard.toml": ""})
    assert against(root)[1] == ["VG003"]


def test_a_nearer_configuration_does_not_judge(repo: Repo, against: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repo({"vramguard.toml": "budget = 0.1\n", "svc/requirements.txt": PINNED}, commit="base")
    repo({"svc/vramguard.toml": "", "svc/config.json": SMALL})
    code, ids, messages = against(root / "svc")
    assert (code, ids) == (1, ["VG201", "VG003"])
    assert "takes the place" in messages[1]
    monkeypatch.chdir(root / "svc")
    assert run(["check", "--diff-base", "HEAD"]) == 1


def test_extends_is_compared_by_what_it_comes_to(repo: Repo, against: Check) -> None:
    files = {"vramguard.toml": 'extends = "org.toml"\n', "org.toml": "budget = 0.5\n", "lax.toml": "budget = 0.9\n"}
    root = repo(files, commit="base")
    repo({"vramguard.toml": 'extends = "lax.toml"\n'})
    assert against(root)[1] == ["VG003"]
    repo({"vramguard.toml": "budget = 0.5\n"})
    assert against(root)[1] == []
    repo({"vramguard.toml": files["vramguard.toml"], "org.toml": "budget = 0.6\n"})
    assert against(root)[1] == ["VG003"]


def test_a_baseline_may_shrink_and_not_grow(repo: Repo, against: Check, capsys: pytest.CaptureFixture[str]) -> None:
    root = repo({"vramguard.toml": 'baseline = "b.json"\n', "requirements.txt": LOOSE})
    assert run(["check", str(root), "--write-baseline"]) == 0
    repo({}, commit="base")
    capsys.readouterr()
    accepted = (root / "b.json").read_text("utf-8")
    assert against(root)[:2] == (0, [])
    repo({"b.json": json.dumps({**json.loads(accepted), "findings": []})})
    assert against(root)[:2] == (0, [])
    entry = {"fingerprint": "0" * 32, "id": "VG101", "path": "x", "amount": 1}
    repo({"b.json": json.dumps({"schema": "vramguard.baseline/1", "findings": [entry]})})
    assert against(root)[2] == ["this change weakens the policy that judges it: the baseline accepts 1 finding more"]


def test_a_broken_base_does_not_keep_out_what_mends_it(repo: Repo, against: Check) -> None:
    for broken in ("budget = 7\n", "[[deployment]\n", '[[deployment]]\nconfig = "config.json"\ngpu = "h1000"\n'):
        root = repo({"vramguard.toml": broken, "config.json": SMALL, "requirements.txt": LOOSE}, commit="base")
        assert against(root)[0] == 2
        repo({"vramguard.toml": ""})
        assert against(root)[:2] == (0, [])
        repo({"requirements-2.txt": LOOSE})
        assert against(root)[1] == ["VG101"]
        repo({"requirements-2.txt": None})


def test_a_broken_head_is_one_line(repo: Repo, against: Check) -> None:
    root = repo({"vramguard.toml": ""}, commit="base")
    repo({"vramguard.toml": "budgt = 1\n"})
    code, _, (error,) = against(root)
    assert code == 2
    assert error.count("\n") == 1
    assert "vramguard.toml:1:1: unknown key `budgt`; did you mean `budget`?" in error


def test_a_revision_that_is_not_here_is_one_line(repo: Repo, against: Check, git: Git, tmp_path: Path) -> None:
    root = repo({"a.txt": "1"}, commit="one")
    repo({"a.txt": "2"}, commit="two")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{root}", "shallow")
    for folder, revision in (
        (tmp_path / "shallow", "HEAD~1"),
        (root, "nope"),
        (root, "--output=x"),
        (tmp_path, "HEAD"),
    ):
        code, _, (error,) = against(folder, "--diff-base", revision)
        assert (code, error.count("\n")) == (2, 1)


def test_the_detached_merge_checkout_of_a_pull_request(repo: Repo, against: Check, git: Git) -> None:
    root = repo({"requirements.txt": LOOSE}, commit="base")
    git(root, "switch", "-qc", "change")
    repo({"requirements-new.txt": "numpy>=1\n"}, commit="change")
    git(root, "switch", "-q", "main")
    repo({"requirements-other.txt": "scipy>=1\n"}, commit="main went on")
    git(root, "switch", "-q", "--detach")
    git(root, "merge", "-q", "--no-edit", "change")
    assert against(root, "--diff-base", "main")[2] == ["`numpy>=1` is not exact: a range: >=1"]
