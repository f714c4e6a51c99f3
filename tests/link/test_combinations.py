"""Joins: what is installed together, releases that are bad together, lines that cannot both hold, CUDA of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Deployment, Facts, Image
from vramguard.link.advisories import bad, needed, together, unfit
from vramguard.link.combinations import conflicts, unfixed
from vramguard.link.cuda import beside, builds, on_cards
from vramguard.link.meeting import Line, Meeting, meetings
from vramguard.source import Document, Location, kind_of, read

if TYPE_CHECKING:
    from vramguard.facts import Fact

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
HOPPER = "NVIDIA-H100-80GB-HBM3"


def facts(files: dict[str, str], *more: Fact) -> Facts:
    found: list[Fact] = list(more)
    for path, text in files.items():
        document = read(path, text.encode()) if kind_of(path) else None
        if isinstance(document, Document):
            found += extract(document)
    return Facts(found, paths=files)


def met(files: dict[str, str], place: str) -> Meeting:
    (found,) = [meeting for meeting in meetings(facts(files)) if meeting.place == place]
    return found


def versions(files: dict[str, str], place: str) -> dict[str, str]:
    return {line.name: line.version for line in met(files, place).lines}


def docker(*lines: str, image: str = "python:3.11") -> dict[str, str]:
    return {"Dockerfile": "\n".join((f"FROM {image}", *lines, ""))}


def line(name: str, version: str, marker: str = "", row: int = 1) -> Line:
    return Line(name, version, f"=={version}", marker, hashed=False, at=Location("requirements.txt", row))


class TestMeetings:
    def test_a_list_takes_in_others(self) -> None:
        files = {"requirements.txt": "-r requirements/a.txt\nTorch==2.1.0+cu121\n"}
        files["requirements/a.txt"] = "-r b.txt\nnumpy==1.26\n"
        files["requirements/b.txt"] = "-r a.txt\nSciPy>=1\n./zoo\n"
        assert versions(files, "requirements.txt") == {"torch": "2.1.0+cu121", "numpy": "1.26", "scipy": ""}

    def test_a_constraint_installs_nothing(self) -> None:
        files = {"requirements.txt": "-c constraints.txt\ntorch\n", "constraints.txt": "torch==2.1.0\nnumpy==1.26.4\n"}
        assert [meeting.place for meeting in meetings(facts(files))] == ["requirements.txt"]
        assert met(files, "requirements.txt").of("numpy") == []
        assert met(files, "requirements.txt").versions("torch") == []

    def test_a_stage_holds_what_its_commands_install(self) -> None:
        files = docker("RUN pip install torch==2.1.0", "COPY requirements.txt .", "RUN pip install -r requirements.txt")
        files["requirements.txt"] = "numpy==1.26.4\n"
        assert versions(files, "Dockerfile#1") == {"torch": "2.1.0", "numpy": "1.26.4"}

    def test_what_has_a_room_of_its_own_is_apart(self) -> None:
        files = docker(
            "RUN pip install torch==2.1.0",
            "RUN pip install --target /opt/b torch==2.2.0",
            "RUN pipx install ruff==0.1.0",
        )
        found = [meeting for meeting in meetings(facts(files)) if meeting.place == "Dockerfile#1"]
        assert sorted(one.version for meeting in found for one in meeting.lines) == ["2.1.0", "2.2.0"]
        assert len(found) == 2

    def test_commands_of_a_script_may_be_alternatives(self) -> None:
        files = {"install.sh": "pip install torch==2.1.0+cu118\npip install torch==2.1.0+cu121\n"}
        assert [len(meeting.lines) for meeting in meetings(facts(files))] == [1, 1]

    def test_conda_has_names_of_its_own(self) -> None:
        text = "channels: [a]\ndependencies:\n  - pytorch=2.1.0\n  - numpy=1.26\n  - pip:\n    - torch-fid==0.3\n"
        found = met({"environment.yml": text}, "environment.yml")
        assert [(one.name, one.version, one.prefix, one.manager) for one in found.lines] == [
            ("torch", "2.1.0", False, "conda"),
            ("numpy", "1.26", True, "conda"),
            ("torch-fid", "0.3", False, "pip"),
        ]

    @pytest.mark.parametrize(
        ("url", "version"),
        [
            ("https://download.pytorch.org/whl/cu118/torch-2.0.1%2Bcu118-cp310-cp310-linux_x86_64.whl", "2.0.1+cu118"),
            ("https://example.com/torch-wheel", ""),
            ("https://example.com/torch.whl", ""),
        ],
    )
    def test_a_wheel_says_its_version(self, url: str, version: str) -> None:
        assert versions({"requirements.txt": f"torch @ {url}\n"}, "requirements.txt") == {"torch": version}


class TestAdvisories:
    def ids(self, files: dict[str, str]) -> list[str]:
        return [found.advisory.id for found in bad(facts(files))]

    def test_versions_are_sets(self) -> None:
        for version, found in (("0.44.1", True), ("0.45.0", True), ("0.45.1", False), ("0.38.1", False)):
            files = {"requirements.txt": f"torch==2.6.0+cu124\nbitsandbytes=={version}\n"}
            assert ("bitsandbytes-triton-ops" in self.ids(files)) is found

    def test_what_one_line_leaves_open_is_not_known(self) -> None:
        assert self.ids({"requirements.txt": "torch>=2.1\nnumpy==2.0.1\n"}) == []

    def test_a_lock_is_an_environment(self) -> None:
        lock = "".join(
            f'[[package]]\nname = "{name}"\nversion = "{version}"\ngroups = ["main"]\nfiles = []\n\n'
            for name, version in (("openai", "1.40.0"), ("httpx", "0.28.1"))
        )
        files = {"poetry.lock": lock + '[metadata]\nlock-version = "2.1"\ncontent-hash = "0"\n'}
        assert self.ids(files) == ["openai-httpx-0.28"]

    def test_markers_that_never_hold_together(self) -> None:
        text = 'torch==2.2.2; python_version < "3.10"\nnumpy==2.0.1; python_version >= "3.10"\n'
        assert self.ids({"requirements.txt": text}) == []

    def test_a_form_may_be_asked_for(self) -> None:
        assert self.ids({"requirements.txt": "bitsandbytes==0.42.0\n"}) == []
        assert self.ids(docker("RUN pip install bitsandbytes==0.42.0")) == ["bitsandbytes-cuda-setup"]

    @pytest.mark.parametrize(
        ("one", "other", "holds"),
        [
            ("", 'sys_platform == "darwin"', False),
            ('python_version < "3.11"', 'python_version >= "3.10"', True),
            ('extra == "gpu"', "", False),
            ("not a marker", "", False),
        ],
    )
    def test_markers_are_of_one_python_on_linux(self, one: str, other: str, *, holds: bool) -> None:
        assert together((line("torch", "2.1.0", one), line("numpy", "1.26.4", other))) is holds


class TestCompanions:
    @pytest.mark.parametrize(
        ("package", "version", "needs"),
        [
            ("torchvision", "0.16.0", "==2.1.0"),
            ("torchvision", "0.16.0+cu118", "==2.1.0"),
            ("torchvision", "0.29.2", ">=2.14.0"),
            ("torchvision", "0.9.0", None),
            ("xformers", "0.0.28.post3", "==2.5.1"),
            ("xformers", "what", None),
            ("vllm", "0.6.6.post1", "==2.5.1"),
        ],
    )
    def test_what_a_release_needs(self, package: str, version: str, needs: str | None) -> None:
        found = needed(package, "torch", version)
        assert (found[0] if found else None) == needs

    def pairs(self, files: dict[str, str]) -> list[tuple[str, str, str]]:
        return [(one.line.name, one.beside.version, one.needs) for one in unfit(facts(files))]

    def test_built_for_another(self) -> None:
        files = {"requirements.txt": "torch==2.1.0+cu121\ntorchvision==0.15.2+cu118\ntorchaudio==2.1.0\n"}
        assert self.pairs(files) == [("torchvision", "2.1.0+cu121", "==2.0.1")]

    def test_in_another_file_of_the_stage(self) -> None:
        files = docker("RUN pip install torch==2.2.0", "COPY requirements.txt .", "RUN pip install -r requirements.txt")
        files["requirements.txt"] = "xformers==0.0.23\n"
        assert self.pairs(files) == [("xformers", "2.2.0", "==2.1.1")]

    def test_conda_resolves_its_own(self) -> None:
        text = "channels: [pytorch]\ndependencies:\n  - pytorch=2.1.0\n  - torchvision=0.15.2\n"
        assert self.pairs({"environment.yml": text}) == []


class TestConflicts:
    def pairs(self, files: dict[str, str]) -> list[tuple[str, str]]:
        return [(found.first.specifier, found.second.specifier) for found in conflicts(facts(files))]

    def test_two_versions_in_one_list(self) -> None:
        assert self.pairs({"requirements.txt": "numpy==1.26.4\nNumPy==1.24.4\n"}) == [("==1.26.4", "==1.24.4")]

    def test_two_builds(self) -> None:
        assert self.pairs({"requirements.txt": "torch==2.1.0+cu118\ntorch==2.1.0+cu121\n"}) != []
        assert self.pairs({"requirements.txt": "torch==2.1.0\ntorch==2.1.0+cu121\n"}) == []
        assert self.pairs({"requirements.txt": "torch==2.1\ntorch==2.1.0\n"}) == []

    def test_stages_and_jobs_are_apart(self) -> None:
        files = {"Dockerfile": "FROM a AS b\nRUN pip install numpy==1.26.4\nFROM c\nRUN pip install numpy==1.24.4\n"}
        assert self.pairs(files) == []

    def test_a_pair_is_told_once(self) -> None:
        files = {
            "requirements.txt": "-r requirements-base.txt\nnumpy==1.26.4\n",
            "requirements-base.txt": "numpy==1.24.4\n",
        }
        files |= {"requirements-dev.txt": "-r requirements.txt\n"}
        assert len(self.pairs(files)) == 1

    def test_a_prefix_of_conda(self) -> None:
        text = "channels: [a]\ndependencies:\n  - numpy=1.2\n  - pip:\n    - numpy=={}\n"
        assert self.pairs({"environment.yml": text.format("1.26.4")}) == [("=1.2", "==1.26.4")]
        assert self.pairs({"environment.yml": text.format("1.2.1")}) == []

    def test_branches_are_alternatives(self) -> None:
        branches = "RUN if $OLD; then pip install numpy==1.24.4; else pip install numpy==1.26.4; fi"
        assert self.pairs(docker(branches)) == []
        assert len(self.pairs(docker("RUN pip install numpy==1.24.4", "RUN pip install numpy==1.26.4"))) == 1

    def test_steps_of_a_job_may_have_conditions(self) -> None:
        step = "      - if: matrix.old\n        run: pip install {}\n"
        job = "on: push\njobs:\n  test:\n    runs-on: ubuntu-24.04\n    steps:\n"
        path = ".github/workflows/ci.yml"
        assert self.pairs({path: job + step.format("numpy==1.24.4") + step.format("numpy==1.26.4")}) == []
        files = {path: job + step.format("-r requirements.txt") + step.format("numpy==1.26.4")}
        assert len(self.pairs(files | {"requirements.txt": "numpy==1.24.4\n"})) == 1

    def test_a_constraint_that_excludes(self) -> None:
        files = {"requirements.txt": "-c constraints.txt\ntorch==2.1.0\n", "constraints.txt": "torch>=2.2\nnumpy<2\n"}
        (found,) = conflicts(facts(files))
        assert (found.excludes, found.first.specifier, found.second.specifier) == (True, ">=2.2", "==2.1.0")


class TestBuilds:
    def urls(self, files: dict[str, str]) -> list[str]:
        return [line.name for found in unfixed(facts(files)) for line in found.lines]

    INDEX = "--extra-index-url https://download.pytorch.org/whl/cu121\n"

    def test_an_index_beside_another(self) -> None:
        assert self.urls({"requirements.txt": f"{self.INDEX}torch==2.1.0\nnumpy==1.26.4\n"}) == ["torch"]

    @pytest.mark.parametrize(
        "text",
        [
            "torch==2.1.0\n",
            f"{INDEX}torch==2.1.0+cu121\n",
            f"{INDEX}torch>=2.1.0\n",
            f"{INDEX}torch===2.1.0\n",
            f"{INDEX}torch==2.1.0 --hash={SHA}\n",
            "--index-url https://download.pytorch.org/whl/cu121\ntorch==2.1.0\n",
            "--extra-index-url https://pypi.example.com/simple\ntorch==2.1.0\n",
        ],
    )
    def test_what_says_which_it_is(self, text: str) -> None:
        assert self.urls({"requirements.txt": text}) == []

    @pytest.mark.parametrize(
        ("command", "open_"),
        [
            ("pip install", True),
            ("uv pip install", False),
            ("uv pip install --index-strategy first-index", False),
            ("uv pip install --index-strategy unsafe-best-match", True),
            ("uv pip install -f https://download.pytorch.org/whl/torch_stable.html", True),
        ],
    )
    def test_uv_takes_the_first_index_that_has_it(self, command: str, open_: bool) -> None:  # noqa: FBT001
        line = f"RUN {command} torch==2.1.0 {self.INDEX.strip()}"
        assert self.urls(docker(line)) == (["torch"] if open_ else [])

    def test_of_a_list_that_is_taken_in(self) -> None:
        files = {"requirements.txt": "-r requirements-base.txt\ntorch==2.1.0\n", "requirements-base.txt": self.INDEX}
        assert self.urls(files) == ["torch"]


class TestCuda:
    def cudas(self, files: dict[str, str]) -> set[str]:
        return {build.cuda for build in builds(facts(files))}

    @pytest.mark.parametrize(
        ("text", "cuda"),
        [
            ("torch==2.5.1\n", {"12.4"}),
            ("torch==2.0.1+cu118\n", {"11.8"}),
            ("torch==2.0.1+cpu\n", set()),
            ("torch\n", set()),
            ("--index-url https://download.pytorch.org/whl/cu126\ntorch\n", {"12.6"}),
            ("--extra-index-url https://download.pytorch.org/whl/cpu\ntorch==2.5.1\n", set()),
            ("--index-url https://pypi.example.com/simple\ntorch==2.5.1\n", set()),
            ("torch==0.4.1\n", set()),
            ("torch==2.5.1.dev20240901\n", set()),
        ],
    )
    def test_what_torch_was_built_with(self, text: str, cuda: set[str]) -> None:
        assert self.cudas({"requirements.txt": text}) == cuda

    def test_branches_of_two_majors_say_nothing(self) -> None:
        torch = "pip install torch==2.0.1 --index-url https://download.pytorch.org/whl/"
        assert self.cudas(docker(f"RUN if $OLD; then {torch}cu117; else {torch}cu118; fi")) == {"11.8"}
        assert self.cudas(docker(f"RUN if $OLD; then {torch}cu118; else {torch}cu121; fi")) == set()

    def test_conda_says_it(self) -> None:
        text = "channels: [pytorch, nvidia]\ndependencies:\n  - pytorch=2.1.0\n  - pytorch-cuda=12.1\n"
        assert self.cudas({"environment.yml": text}) == {"12.1"}

    def images(self, *lines: str, image: str) -> list[tuple[str, str, bool, bool]]:
        found = beside(facts(docker(*lines, image=image)))
        return [(one.build.cuda, one.base.cuda, one.compiled is not None, one.certain) for one in found]

    def test_an_image_of_another_major(self) -> None:
        assert self.images("RUN pip install torch==2.5.1", image="nvidia/cuda:11.8.0-runtime-ubuntu22.04") == [
            ("12.4", "11.8", False, False)
        ]
        assert self.images("RUN pip install torch==2.5.1", image="nvidia/cuda:12.1.0-runtime-ubuntu22.04") == []
        assert self.images("RUN pip install torch==2.5.1", image="nvidia/cuda") == []

    def test_what_is_compiled_there(self) -> None:
        lines = ("RUN pip install torch==2.5.1", "RUN pip install flash-attn==2.7.4.post1")
        devel, runtime = "nvidia/cuda:11.8.0-devel-ubuntu22.04", "nvidia/cuda:11.8.0-runtime-ubuntu22.04"
        assert self.images(*lines, image=devel) == [("12.4", "11.8", True, False)]
        assert self.images(*lines, image=runtime) == [("12.4", "11.8", False, False)]
        forced = (lines[0], "RUN pip install --no-binary flash-attn flash-attn==2.7.4.post1")
        assert self.images(*forced, image=devel) == [("12.4", "11.8", True, True)]
        source = (lines[0], "RUN pip install git+https://github.com/NVIDIA/apex@master")
        assert self.images(*source, image=devel)[0][2:] == (True, True)

    def test_a_stage_that_begins_with_another(self) -> None:
        first, torch = "nvidia/cuda:11.8.0-devel-ubuntu22.04 AS base", "RUN pip install torch==2.5.1"
        files = docker("RUN apt-get update", "FROM base", torch, image=first)
        assert len(list(beside(facts(files)))) == 1
        other = docker(torch, "FROM python:3.11", "RUN pip install six==1.16.0", image=first)
        assert list(beside(facts(other))) == []

    def test_an_image_that_something_fills_in(self) -> None:
        image = Image(Location("Dockerfile", 1), "dockerfile", "nvidia/cuda", None, None, pinned=False, use="base")
        assert self.images("RUN pip install torch==2.5.1", image="nvidia/cuda:$TAG") == []
        assert list(beside(facts({}, image))) == []

    def cards(self, files: dict[str, str], *found: tuple[str, str]) -> list[str]:
        deployments = [Deployment(Location(path, 1), declared=False, gpu=gpu) for path, gpu in found]
        return [one.deployment.at.path for one in on_cards(facts(files, *deployments))]

    def test_code_for_the_card(self) -> None:
        old = {"serve/requirements.txt": "torch==2.0.1\n"}
        assert self.cards(old, ("serve/a.yaml", HOPPER), ("serve/b.yaml", "NVIDIA-A100-SXM4-80GB")) == ["serve/a.yaml"]
        assert self.cards({"serve/requirements.txt": "torch==2.0.1+cu118\n"}, ("serve/a.yaml", HOPPER)) == []
        assert self.cards({"r/requirements.txt": "torch==2.9.0\n"}, ("r/a.yaml", "Tesla-V100-SXM2-16GB")) == [
            "r/a.yaml"
        ]
        assert self.cards({"r/requirements.txt": "torch==2.6.0\n"}, ("r/a.yaml", "NVIDIA-B200")) == ["r/a.yaml"]

    def test_the_nearest_environment_is_meant(self) -> None:
        files = {"requirements.txt": "torch==2.0.1\n", "serve/requirements.txt": "torch==2.5.1\n"}
        assert self.cards(files, ("serve/deploy/a.yaml", HOPPER)) == []
        assert self.cards(files, ("other/a.yaml", HOPPER)) == ["other/a.yaml"]


class TestHostile:
    @pytest.mark.parametrize("version", ["9" * 5000, "1." * 3000 + "0", "1!" * 200 + "1", "2.1.0+" + "a." * 2000 + "b"])
    def test_a_version_that_is_none(self, version: str) -> None:
        text = f"torch=={version}\ntorch==2.1.0\nnumpy==2.0.1\ntorchvision=={version}\n"
        known = facts({"requirements.txt": text, "Dockerfile": f"FROM a\nRUN pip install torch=={version}\n"})
        assert {found.advisory.id for found in bad(known)} <= {"numpy-2-torch-2.2"}
        assert [list(unfit(known)), list(unfixed(known)), list(beside(known))] == [[], [], []]
        assert all(found.second.name == "torch" for found in conflicts(known))

    def test_lists_that_take_each_other_in(self) -> None:
        files = {f"requirements-{n}.txt": f"-r requirements-{(n + 1) % 30}.txt\na{n}==1\n" for n in range(30)}
        assert len(met(files, "requirements-0.txt").lines) <= 30

    def test_many_lines_of_one_package(self) -> None:
        text = "".join(f"torch==2.1.{n}\n" for n in range(3000)) + "numpy==2.0.1\n"
        assert len(list(conflicts(facts({"requirements.txt": text})))) < 20
