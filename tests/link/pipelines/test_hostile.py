"""Pipelines that nobody wrote in earnest cost little."""

from __future__ import annotations

import pytest
from routed import routed
from timed import within

from vramguard.checks.pipelines import GateThatDoesNotBlock, PipelineRetraining, UnprotectedDeployJob
from vramguard.link.pipelines import pipelines
from vramguard.link.pipelines.parts import MOST

_NEEDS = ", ".join(f"j{number}" for number in range(150))
_STEPS = "".join(f"          - - {{name: s{number}, template: %s}}\n" for number in range(60))
_HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: a}\n"
_ARGO = f"{_HEAD}spec:\n  entrypoint: t0\n  templates:\n"
FILES = {
    ".gitlab-ci.yml": "stages: [a, b]\n"
    + "".join(f"j{n}: {{stage: b, script: [kubectl apply -f x]}}\n" for n in range(5000)),
    ".github/workflows/a.yml": "on: push\njobs:\n"
    + "".join(f"  j{n}: {{needs: [{_NEEDS}], steps: [{{run: kubectl apply -f model.yaml}}]}}\n" for n in range(150)),
    "argo.yaml": _ARGO
    + "".join(f"      - name: t{n}\n        steps:\n{_STEPS % ((f't{n + 1}',) * 60)}" for n in range(6)),
    ".circleci/config.yml": "workflows:\n  a:\n    jobs: [" + ", ".join(["x"] * 5000) + "]\n",
}


@pytest.mark.parametrize("path", FILES)
def test_a_large_pipeline_takes_no_long(path: str) -> None:
    facts = routed({path: FILES[path]})
    with within(20):
        for check in (PipelineRetraining(), UnprotectedDeployJob(), GateThatDoesNotBlock()):
            list(check.find(facts))
    assert all(len(pipeline.jobs) <= MOST for pipeline in pipelines(facts))
