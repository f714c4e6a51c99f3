"""VG113 to VG116 and VG121: what each weighs, and the chain behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.checks import Severity
from vramguard.checks.combinations import (
    CondaChannelPriority,
    ConflictingPins,
    CudaMismatch,
    KnownBadCombination,
    UnfixedBuild,
)
from vramguard.classes import classifier
from vramguard.extract import extract
from vramguard.facts import Deployment, Facts
from vramguard.source import Document, Location, kind_of, read

if TYPE_CHECKING:
    from vramguard.checks import Check, Problem
    from vramguard.facts import Fact

TRIPLE = {"serve/requirements.txt": "torch==2.1.0+cu121\nbitsandbytes==0.41.1\n"}


def problems(rule: Check, files: dict[str, str], *more: Fact) -> list[Problem]:
    found: list[Fact] = list(more)
    for path, text in files.items():
        document = read(path, text.encode()) if kind_of(path) else None
        if isinstance(document, Document):
            found += extract(document)
    return list(rule.find(Facts(found, classifier({}), paths=files)))


def on(gpu: str | None, path: str = "serve/llm.yaml") -> Deployment:
    return Deployment(Location(path, 7), declared=False, gpu=gpu)


def environment(*channels: str, path: str = "environment.yml") -> dict[str, str]:
    listed = "".join(f"  - {channel}\n" for channel in channels)
    return {path: f"name: a\nchannels:\n{listed}dependencies:\n  - python=3.11\n"}


class TestKnownBad:
    def test_the_chain_leads_from_line_to_line_to_the_card(self) -> None:
        (found,) = problems(KnownBadCombination(), TRIPLE, on("NVIDIA-H100-80GB-HBM3"))
        assert (found.at.path, found.at.line, found.severity) == ("serve/requirements.txt", 2, Severity.ERROR)
        chain = [(link.at.path, link.at.line) for link in found.evidence]
        assert chain == [("serve/requirements.txt", 1), ("serve/llm.yaml", 7)]
        assert found.subject == "bitsandbytes-0.41.1-torch-2.1.0-hopper"

    def test_a_card_that_is_not_meant(self) -> None:
        assert problems(KnownBadCombination(), TRIPLE, on("NVIDIA-A100-SXM4-80GB")) == []
        assert problems(KnownBadCombination(gpu="a100-sxm4-80gb"), TRIPLE) == []

    def test_a_card_that_nobody_states_is_the_policys(self) -> None:
        for more in ((), (on(None),), (on("NVIDIA-A100-SXM4-80GB", "other/llm.yaml"),)):
            (found,) = problems(KnownBadCombination(), TRIPLE, *more)
            assert found.severity is Severity.WARNING
        (found,) = problems(KnownBadCombination(assumed=Severity.ERROR), TRIPLE)
        assert found.severity is Severity.ERROR

    def test_a_gpu_that_nobody_knows(self) -> None:
        with pytest.raises(ValueError, match="unknown GPU `h1000`"):
            KnownBadCombination(gpu="h1000")

    def test_tests_and_examples_weigh_less(self) -> None:
        files = {"tests/requirements.txt": "torch==2.2.0\nnumpy==2.0.1\n"}
        assert [one.severity for one in problems(KnownBadCombination(), files)] == [Severity.WARNING]
        assert problems(KnownBadCombination(warnings=()), files) == []

    def test_a_list_that_two_images_install_is_told_once(self) -> None:
        files = {"requirements.txt": "torch==2.2.0\nnumpy==2.0.1\n"}
        for name in ("a.Dockerfile", "b.Dockerfile"):
            files[name] = "FROM python:3.11\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n"
        assert len(problems(KnownBadCombination(), files)) == 1

    @pytest.mark.parametrize(
        ("text", "severities"),
        [
            ("torch==2.1.0\ntorchvision==0.15.2\n", [None]),
            ("transformers==4.42.0\nnumpy==2.0.1\n", [Severity.WARNING]),
            ("torch==2.1.0\ntorchvision==0.16.0\n", []),
            ("torch==2.7.0+cpu\ntriton==3.2.0\n", []),
            ("torch==2.7.0\ntriton==3.2.0\n", [None]),
        ],
    )
    def test_companions(self, text: str, severities: list[Severity | None]) -> None:
        found = problems(KnownBadCombination(), {"requirements.txt": text})
        assert [one.severity for one in found] == severities

    def test_what_pip_replaces(self) -> None:
        text = "FROM python:3.11\nRUN pip install torch==2.1.0\nRUN pip install {}torchvision==0.15.2\n"
        (found,) = problems(KnownBadCombination(), {"Dockerfile": text.format("")})
        assert found.severity is Severity.WARNING
        assert "replaces" in found.values["what"]
        (found,) = problems(KnownBadCombination(), {"Dockerfile": text.format("--no-deps ")})
        assert found.severity is None


class TestCuda:
    DEVEL = "FROM nvidia/cuda:11.8.0-devel-ubuntu22.04\nRUN pip install torch==2.5.1\n"

    def test_what_is_compiled_for_certain_is_an_error(self) -> None:
        apex = self.DEVEL + "RUN pip install git+https://github.com/NVIDIA/apex@master\n"
        (found,) = problems(CudaMismatch(), {"Dockerfile": apex})
        assert found.severity is None
        assert [link.at.line for link in found.evidence] == [1, 3]

    def test_an_image_alone_is_a_warning(self) -> None:
        for text in (self.DEVEL, self.DEVEL + "RUN pip install flash-attn==2.7.4.post1\n"):
            (found,) = problems(CudaMismatch(), {"Dockerfile": text})
            assert found.severity is Severity.WARNING

    @pytest.mark.parametrize(("driver", "count"), [(0, 0), (470, 1), (525, 0), (535, 0)])
    def test_the_driver_of_the_organisation(self, driver: int, count: int) -> None:
        assert len(problems(CudaMismatch(driver=driver), {"requirements.txt": "torch==2.5.1\n"})) == count

    def test_a_newer_major_needs_a_newer_driver(self) -> None:
        (found,) = problems(CudaMismatch(driver=570), {"requirements.txt": "torch==2.12.0\n"})
        assert found.values["consequence"] == "CUDA 13.x needs driver 580 or later: torch sees no card"

    def test_a_card_without_code(self) -> None:
        files = {"serve/requirements.txt": "torch==2.0.1\n"}
        (found,) = problems(CudaMismatch(), files, on("NVIDIA-H100-80GB-HBM3"), on("h100", "serve/b.yaml"))
        assert found.severity is None
        assert found.evidence[0].at.path == "serve/b.yaml"

    def test_the_dockerfile_says_where_a_list_comes_from(self) -> None:
        install = "FROM python:3.11\nCOPY requirements.txt .\nRUN pip install -r requirements.txt --index-url {}\n"
        files = {"requirements.txt": "torch==2.0.1\n"}
        for url, count in (("https://download.pytorch.org/whl/cu118", 0), ("https://pypi.org/simple", 1)):
            found = problems(CudaMismatch(), files | {"Dockerfile": install.format(url)}, on("h100", "llm.yaml"))
            assert len(found) == count


class TestOthers:
    def test_builds_of_one_list_are_told_together(self) -> None:
        text = "--extra-index-url https://download.pytorch.org/whl/cu121\ntorch==2.1.0\ntorchvision==0.16.0\n"
        (found,) = problems(UnfixedBuild(), {"requirements.txt": text})
        assert (found.at.line, found.amount) == (2, 2)
        assert found.values["lines"] == "`torch==2.1.0`, `torchvision==0.16.0`"

    @pytest.mark.parametrize(
        ("url", "label"),
        [
            ("https://download.pytorch.org/whl/cu128", "cu128"),
            ("https://download.pytorch.org/whl/lts/1.8/cpu/", "cpu"),
            ("https://download.pytorch.org/whl/cu111/torch_stable.html", "cu111"),
            ("https://download.pytorch.org/whl/rocm6.2", "rocm6.2"),
            ("https://download.pytorch.org/whl/torch_stable.html", "LABEL"),
        ],
    )
    def test_the_label_is_that_of_the_folder(self, url: str, label: str) -> None:
        (found,) = problems(UnfixedBuild(), {"requirements.txt": f"-f {url}\ntorch==2.1.0\n"})
        assert found.values["label"] == label

    def test_a_job_is_called_a_job(self) -> None:
        step = "      - run: pip install {}\n"
        job = "on: push\njobs:\n  test:\n    runs-on: ubuntu-24.04\n    steps:\n"
        text = job + step.format("-r requirements.txt") + step.format("a==1")
        (found,) = problems(ConflictingPins(), {".github/workflows/ci.yml": text, "requirements.txt": "a==2\n"})
        assert found.values["where"] == "job test of `.github/workflows/ci.yml`"

    def test_a_conflict_stands_at_the_second_line(self) -> None:
        (found,) = problems(ConflictingPins(), {"requirements.txt": "numpy==1.26.4\nnumpy==1.24.4\n"})
        assert (found.at.line, found.evidence[0].at.line) == (2, 1)

    def test_the_turns_of_a_loop_are_alternatives(self) -> None:
        text = "FROM conda\nRUN for v in 3.10.1 3.11.1; do conda create -n py${v//./} python==$v; done\n"
        assert problems(ConflictingPins(), {"Dockerfile": text}) == []


class TestChannels:
    def texts(self, files: dict[str, str]) -> list[str]:
        return [str(found.values["problem"]) for found in problems(CondaChannelPriority(), files)]

    def test_defaults_beside_conda_forge(self) -> None:
        mixed = environment("conda-forge", "defaults")
        assert "`defaults` and conda-forge" in self.texts(mixed)[0]
        assert len(self.texts(mixed | {".condarc": "channel_priority: strict\n"})) == 1

    def test_priority(self) -> None:
        several = environment("pytorch", "nvidia", "conda-forge")
        assert self.texts(several) == ["nothing says that the priority is strict"]
        assert self.texts(several | {".condarc": "channel_priority: strict\n"}) == []
        assert self.texts(environment("conda-forge")) == []
        assert self.texts(environment("conda-forge", "nodefaults")) == []

    def test_a_priority_that_is_not_strict(self) -> None:
        text = "channels:\n  - conda-forge\n  - bioconda\nchannel_priority: flexible\n"
        assert self.texts({".condarc": text}) == ["`channel_priority` is flexible"]

    def test_a_lock_settles_it(self) -> None:
        lock = "version: 1\nmetadata: {channels: [], platforms: [linux-64], sources: [environment.yml]}\npackage: []\n"
        assert self.texts(environment("conda-forge", "defaults") | {"conda-lock.yml": lock}) == []

    def test_tests_are_judged_and_what_is_vendored_is_not(self) -> None:
        (found,) = problems(CondaChannelPriority(), environment("a", "b", path="tests/environment.yml"))
        assert found.severity is Severity.WARNING
        assert problems(CondaChannelPriority(), environment("a", "b", path="vendor/environment.yml")) == []
