"""Which files and projects of the repository a command means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract import extract
from vramguard.facts import Facts, Install, Unknown
from vramguard.link.installs import installs_of
from vramguard.source import Document, read

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = '[project]\nname = "a"\nversion = "1"\ndependencies = []\n'


def joined(files: Mapping[str, str]) -> Facts:
    found = []
    for path, text in files.items():
        document = read(path, text.encode())
        assert isinstance(document, Document)
        found += list(extract(document))
    return Facts(found, paths=files)


def files(found: Mapping[str, str]) -> list[tuple[str | Unknown, ...]]:
    facts = joined(found)
    return [installs_of(facts).files(install) for install in facts.of(Install)]


def test_a_copied_file_leads_back_to_the_build_context() -> None:
    text = "FROM scratch AS a\nWORKDIR /w\nCOPY api/requirements.txt ./\nRUN pip install -r requirements.txt\n"
    text += "FROM scratch\nCOPY --from=a /w/requirements.txt /r.txt\nRUN cd / && pip install -r r.txt -r other.txt\n"
    assert files({"docker/Dockerfile": text, "api/requirements.txt": "", "other.txt": ""}) == [
        ("api/requirements.txt",),
        ("api/requirements.txt", Unknown("other.txt")),
    ]


def test_the_context_may_be_the_dockerfiles_own_folder() -> None:
    text = "FROM scratch\nCOPY . /w\nWORKDIR /w\nRUN pip install -r requirements/base.txt\n"
    found = {"api/Dockerfile": text, "api/requirements/base.txt": "", "requirements/base.txt": ""}
    assert files(found) == [("api/requirements/base.txt",)]


def test_where_a_step_and_a_script_run() -> None:
    workflow = "jobs:\n  a:\n    steps:\n      - working-directory: api\n        run: pip install -r r.txt -r $X.txt\n"
    script = 'cd "$(dirname "$0")/.."\npip install -r r.txt\n'
    found = {".github/workflows/a.yml": workflow, "tools/dev/get.sh": script, "api/r.txt": "", "tools/r.txt": ""}
    assert files(found) == [("api/r.txt", Unknown("$X.txt")), ("tools/r.txt",)]


def test_a_project_is_that_of_the_folder() -> None:
    facts = joined({"api/pyproject.toml": PROJECT, "Makefile": "a:\n\tpip install ./api[x]\nb:\n\tcd api && uv sync\n"})
    found = [installs_of(facts).projects(install) for install in facts.of(Install)]
    assert [[project.at.path for project in projects] for projects in found] == [["api/pyproject.toml"]] * 2
