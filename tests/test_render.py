"""Charts that helm renders: where what it wrote came from, and what it must not see, or take for long."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vramguard import engine, render
from vramguard.discover import WorkTree
from vramguard.facts import Deployment, HelmUnrendered, Launch
from vramguard.governance.weakening import weakenings
from vramguard.settings import Configuration, Settings
from vramguard.source import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Repo

    from vramguard.facts import Facts

    Install = Callable[[str], "Helm"]

CHART = "apiVersion: v2\nname: llm\nversion: 1.0.0\n"
VALUES = "image: vllm/vllm-openai:v0.19.0\nmodel: Qwen/Qwen3-8B\nmaxModelLen: 8192\n"
TEMPLATE = "{{- if true }}\nargs: [{{ .Values.maxModelLen }}]\n{{- end }}\n"
MANIFEST = """\
---
# Source: llm/templates/deploy.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: release-name-llm
spec:
  template:
    spec:
      containers:
      - name: server
        image: vllm/vllm-openai:v0.19.0
        command: [vllm, serve]
        args: [Qwen/Qwen3-8B, --max-model-len=8192, --gpu-memory-utilization=0.85]
        resources:
          limits:
            nvidia.com/gpu: 2
---
# Source: llm/charts/none/templates/x.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: x}
data: {a: b}
"""
# Stands for helm: it writes what it was given, and does as the test says.
SCRIPT = """\
#!{python}
import json, os, sys, time
from pathlib import Path
with open({log!r}, "a") as log:
    chart = Path(sys.argv[3])
    files = sorted(str(path.relative_to(chart)) for path in chart.rglob("*") if path.is_file())
    given = [Path(word).read_text() for word in sys.argv if word.endswith("values.yaml")]
    log.write(json.dumps([sys.argv[1:], dict(os.environ), files, given, os.getcwd()]) + chr(10))
{body}
"""


class Helm:
    """A program that is called helm, and what it was asked."""

    def __init__(self, folder: Path, body: str) -> None:
        self.log = folder / "log"
        program = folder / "bin" / "helm"
        program.parent.mkdir()
        program.write_text(SCRIPT.format(python=sys.executable, log=str(self.log), body=body))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.path = str(program.parent)

    @property
    def calls(self) -> list[Any]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


def prints(text: str) -> str:
    return f"sys.stdout.write({text!r})"


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(body: str) -> Helm:
        made = Helm(tmp_path, body)
        monkeypatch.setenv("PATH", f"{made.path}{os.pathsep}{os.environ['PATH']}")
        return made

    return install


@pytest.fixture
def chart(repo: Repo) -> Path:
    return repo({"c/Chart.yaml": CHART, "c/values.yaml": VALUES, "c/templates/deploy.yaml": TEMPLATE})


def gathered(root: Path, *, allowed: bool = True) -> Facts:
    _, facts = engine.gather(WorkTree(root), Configuration(settings=Settings(render=allowed)))
    return facts


def test_what_helm_writes_stands_where_its_values_do(chart: Path, helm: Install) -> None:
    asked = helm(prints(MANIFEST))
    facts = gathered(chart)
    (found,) = facts.of(Launch)
    places = {word.text: (word.at.path, word.at.line) for word in found.command}
    assert places == {
        "vllm": ("c/templates/deploy.yaml", 1),
        "serve": ("c/templates/deploy.yaml", 1),
        "Qwen/Qwen3-8B": ("c/values.yaml", 2),
        "--max-model-len=8192": ("c/values.yaml", 3),
        "--gpu-memory-utilization=0.85": ("c/templates/deploy.yaml", 1),
    }
    assert (found.form, found.at.path, found.hardware.gpus) == ("kubernetes", "c/templates/deploy.yaml", 2)
    (deployment,) = facts.of(Deployment)
    assert (deployment.model, deployment.max_model_len, deployment.gpus) == ("Qwen/Qwen3-8B", 8192, 2)
    assert facts.of(Unreadable) == []
    assert len(asked.calls) == 1


def test_helm_gets_nothing_of_the_user_s(chart: Path, helm: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = helm(prints(MANIFEST))
    for name in ("KUBECONFIG", "HTTPS_PROXY", "HELM_PLUGINS", "HELM_NAMESPACE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    gathered(chart)
    ((words, environment, files, _, folder),) = asked.calls
    assert words[:2] == ["template", "release-name"]
    assert "--skip-tests" in words
    assert not {"--validate", "--enable-dns", "--dependency-update", "--post-renderer"} & set(words)
    assert "secret" not in environment.values()
    assert os.environ.get("HOME") not in (environment["HOME"], environment["HELM_PLUGINS"])
    assert environment["KUBECONFIG"] == os.devnull
    assert files == ["Chart.yaml", "templates/deploy.yaml", "values.yaml"]
    assert not Path(folder).exists(), "the copy is taken away"


def test_nothing_is_run_unless_the_user_allows_it(chart: Path, helm: Install) -> None:
    asked = helm(prints(MANIFEST))
    facts = gathered(chart, allowed=False)
    assert asked.calls == []
    assert [launch.form for launch in facts.of(Launch)] == ["helm"]
    assert [fact.template for fact in facts.of(Unreadable)] == [True]


def test_each_further_file_of_values_is_rendered_too(chart: Path, helm: Install, repo: Repo) -> None:
    body = f"print({MANIFEST!r}.replace('Qwen3-8B', 'Qwen3-32B') if '--values' in sys.argv else {MANIFEST!r})"
    asked = helm(body)
    repo({"c/values-big.yaml": "model: Qwen/Qwen3-32B\n"})
    models = {(found.command[2].text, found.command[2].at.path) for found in gathered(chart).of(Launch)}
    assert models == {("Qwen/Qwen3-8B", "c/values.yaml"), ("Qwen/Qwen3-32B", "c/values-big.yaml")}
    assert [call[3] for call in asked.calls] == [[], ["model: Qwen/Qwen3-32B\n"]]


def refused(facts: Facts) -> str:
    (found,) = facts.of(HelmUnrendered)
    assert found.at.path == "c/Chart.yaml"
    assert [launch.form for launch in facts.of(Launch)] == ["helm"], "what the values say stands"
    return found.reason


def test_a_chart_that_helm_refuses(chart: Path, helm: Install) -> None:
    helm("print('Error: found in Chart.yaml, but missing in charts/ directory: redis', file=sys.stderr); sys.exit(1)")
    assert refused(gathered(chart)) == "helm says: found in Chart.yaml, but missing in charts/ directory: redis"


def test_helm_that_takes_too_long_is_ended_with_what_it_started(
    chart: Path,
    helm: Install,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(render, "TIMEOUT", 1.0)
    helm("import subprocess; subprocess.Popen(['sleep', '30']); time.sleep(30)")
    start = time.monotonic()
    assert refused(gathered(chart)) == "helm took longer than 1 seconds"
    assert time.monotonic() - start < 15


def test_an_answer_without_end_is_cut(chart: Path, helm: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "MAX_OUTPUT", 1 << 20)
    helm("[sys.stdout.write('a' * 65536) for _ in iter(int, 1)]")
    assert refused(gathered(chart)) == "helm wrote more than 1 MiB"


def test_no_helm_is_said(chart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert refused(gathered(chart)) == "helm is not on PATH"


def test_a_link_out_of_the_repository_is_not_copied(chart: Path, helm: Install) -> None:
    asked = helm(prints(MANIFEST))
    (chart / "c/templates/passwd.yaml").symlink_to("/etc/passwd")
    gathered(chart)
    assert asked.calls[0][2] == ["Chart.yaml", "templates/deploy.yaml", "values.yaml"]


def test_a_subchart_of_the_repository_is_put_where_helm_looks(chart: Path, helm: Install, repo: Repo) -> None:
    text = MANIFEST.replace("llm/templates", "parent/charts/llm/templates")
    asked = helm(f"print({text!r} if 'charts/llm/Chart.yaml' in files else {MANIFEST!r})")
    repo({"p/Chart.yaml": "name: parent\ndependencies: [{name: llm, repository: 'file://../c'}]\n"})
    repo({"p/values.yaml": "llm: {model: Qwen/Qwen3-8B}\n"})
    facts = gathered(chart)
    assert {found.at.path for found in facts.of(Launch)} == {"c/templates/deploy.yaml"}
    assert any("charts/llm/templates/deploy.yaml" in call[2] for call in asked.calls)


def test_charts_of_tests_and_libraries_are_not_rendered(chart: Path, helm: Install, repo: Repo) -> None:
    asked = helm(prints(MANIFEST))
    repo({"tests/c/Chart.yaml": CHART, "lib/Chart.yaml": CHART + "type: library\n"})
    gathered(chart)
    assert len(asked.calls) == 1


@pytest.mark.parametrize(
    "text", ["\0", "# Source: llm/templates/x.yaml\n- [", "---\n# Source: \n--- a\n", "a: {{ b }}\n"]
)
def test_what_helm_never_writes(chart: Path, helm: Install, text: str) -> None:
    helm(prints(text))
    assert gathered(chart).of(Deployment) == []


def test_to_render_no_longer_is_to_ask_less() -> None:
    def policy(*, allowed: bool | None) -> engine.Policy:
        return engine.Policy(Configuration(settings=Settings(render=allowed)), [], {})

    said = [problem.subject for problem in weakenings(policy(allowed=True), policy(allowed=None))]
    assert said == ["charts are no longer rendered"]
    assert list(weakenings(policy(allowed=None), policy(allowed=True))) == []


def test_the_command_line_allows_it(chart: Path, helm: Install, capsys: pytest.CaptureFixture[str]) -> None:
    from vramguard.cli import run

    asked = helm("sys.exit('no')")
    assert run(["check", str(chart), "--select", "VG004", "--render"]) == 0
    assert len(asked.calls) == 1
    assert "not rendered, and so not judged: helm says: no" in " ".join(capsys.readouterr().out.split())
