"""What Dockerfiles, makefiles, scripts and files of variables say: one file, no engine known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.extract.dockerfile import stages
from vramguard.facts import Fact, Launch, Texts, Unknown, Word
from vramguard.shell import commands
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Iterable


def document(path: str, text: str) -> Document:
    found = read(path, text.encode())
    assert isinstance(found, Document)
    return found


def launches(path: str, text: str) -> list[Launch]:
    return [fact for fact in extract(document(path, text)) if isinstance(fact, Launch)]


def texts(words: Iterable[Word]) -> list[str]:
    return [word.text for word in words]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a/Dockerfile", "dockerfile"),
        ("Dockerfile.gpu", "dockerfile"),
        ("gpu.Dockerfile", "dockerfile"),
        ("Containerfile", "dockerfile"),
        ("dockerfile_utils.py", "python"),
        ("run.sh", "shell"),
        ("Makefile", "makefile"),
        ("x.mk", "makefile"),
        (".env", "dotenv"),
        (".env.prod", "dotenv"),
        ("prod.env", "dotenv"),
        ("environment", None),
        ("ops/crontab", "shell"),
        ("nightly.cron", "shell"),
    ],
)
def test_kinds(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


def test_nothing_is_said_of_files_without_an_engine() -> None:
    for path in ("run.sh", "Makefile", "Dockerfile"):
        assert launches(path, "FROM a\nx: y\n\techo\nCMD echo") == []


def test_a_script_is_one_launch() -> None:
    [found] = launches("a/run.sh", "vllm serve m\n")
    assert (found.form, found.name) == ("shell", "run.sh")
    assert found.script is not None
    assert found.script.first == (1, 1)


def test_entry_point_and_arguments_of_stages() -> None:
    [found] = launches(
        "Dockerfile",
        'ARG V=v0.9.0\nFROM --platform=linux/amd64 vllm/vllm-openai:${V} AS base\nENTRYPOINT ["vllm", \\\n  "serve"]\n'
        'FROM python\nCMD ["no"]\nFROM base\nENV A=b "C=d e" \\\n  E=${A}f\nENV OLD some $A\n'
        'CMD ["m", "--tp", "2"]\n',
    )
    assert texts(found.command) == ["vllm", "serve", "m", "--tp", "2"]
    assert found.entrypoint
    assert found.image is not None
    assert (found.image.text, found.image.known) == ("vllm/vllm-openai:v0.9.0", True)
    values = {name: word.value for name, word in found.env.items() if isinstance(word, Word)}
    # docker: an instruction's own variables are not seen in it
    assert values == {"A": "b", "C": "d e", "E": Unknown("${A}f"), "OLD": "some b"}
    assert [word.at[1:3] for word in found.command] == [(3, 14), (4, 4), (11, 7), (11, 12), (11, 20)]
    assert found.env["A"].at[1:3] == (8, 7)


@pytest.mark.parametrize(
    ("lines", "command", "entrypoint"),
    [
        ('CMD ["--model", "m"]', ["--model", "m"], False),
        ('CMD ["owner/model", "--tp", "2"]', ["owner/model", "--tp", "2"], False),
        ('CMD ["vllm", "serve", "m"]', ["vllm", "serve", "m"], True),
        ('CMD ["no"]\nENTRYPOINT ["vllm"]', ["vllm"], True),
        ("ENV MODEL_ID=m", [], False),
    ],
)
def test_whether_the_image_has_its_own_program(lines: str, command: list[str], entrypoint: bool) -> None:  # noqa: FBT001
    [found] = launches("Dockerfile", f"FROM vllm/vllm-openai\n{lines}\n")
    assert (texts(found.command), found.entrypoint) == (command, entrypoint)


def test_shell_form() -> None:
    [found] = launches("Dockerfile", "FROM a\nENV M=m\nCMD vllm serve $M \\\n  --tp 2\n")
    assert found.script is not None
    [command] = commands(found.script, {name: word for name, word in found.env.items() if isinstance(word, Word)})
    assert texts(command.words) == ["vllm", "serve", "m", "--tp", "2"]
    assert [word.at[1:3] for word in command.words] == [(3, 5), (3, 10), (2, 7), (4, 3), (4, 8)]


def test_what_a_list_leaves_open_is_not_known() -> None:
    [found] = launches("Dockerfile", 'FROM a\nCMD ["vllm", "serve", "$MODEL"]\n')
    assert not found.command[-1].known


def test_runs_are_kept_for_who_reads_what_is_installed() -> None:
    text = "FROM vllm\nRUN --mount=type=cache,target=/c pip install a==1 && \\\n  pip install b\n"
    [stage] = stages(document("Dockerfile", text))
    found = [command for run in stage.runs for command in commands(run)]
    assert [texts(command.words)[:2] for command in found] == [["pip", "install"], ["pip", "install"]]
    assert found[1].words[2].at[1:3] == (3, 15)


def test_recipes() -> None:
    text = (
        'M ?= a/b\nTP := 4\nARGS = --tp $(TP)\nARGS += --len 5\nifdef X\nQ = fp8\nelse\nQ = awq\nendif\nN = "c"\n'
        "serve: dep\n\t@echo hi\n\t-A=1 vllm serve $(M) $(ARGS) \\\n"
        "\t  --quantization $(Q) --name $(N) $$HOME $(shell x)\n"
    )
    [found] = launches("Makefile", text)
    assert (found.form, found.name, found.at.line) == ("makefile", "serve", 12)
    assert found.script is not None
    command = commands(found.script)[-1]
    assert [word.text if word.known else f"?{word.text}" for word in command.words] == [
        *("vllm", "serve", "a/b", "--tp", "4", "--len", "5", "--quantization", "?${Q}", "--name", "c"),
        *("?$HOME", "?$(shell x)"),
    ]
    assert command.at.line == 13
    assert command.words[2].at[1:3] == (1, 6)
    assert command.words[4].at[1:3] == (2, 7)


def test_variables() -> None:
    found: list[Fact] = list(extract(document("a/.env", 'A=b\nB="$A c" # d\nC=$Q\n')))
    assert len(found) == 1
    assert isinstance(found[0], Texts)
    assert {name: word.value for name, word in found[0].values.items() if word.known} == {"A": "b", "B": "b c"}
    assert found[0].values["B"].at[1:] == (2, 4, 2, 7)
    assert not found[0].values["C"].known


def test_manifests_in_here_documents_are_read_where_they_stand() -> None:
    text = """\
NAME=chat
cat <<EOF | kubectl apply -f -
apiVersion: kubeai.org/v1
kind: Model
metadata:
  name: $NAME
spec:
  url: hf://acme/chat-7b
  engine: VLLM
  resourceProfile: nvidia-gpu-l4:1
EOF
"""
    script, model = launches("apply.sh", text)
    assert (script.form, model.form, model.name) == ("shell", "kubeai", "Model/chat")
    assert (model.given["model"].text, model.given["model"].at.line) == ("hf://acme/chat-7b", 8)
    assert model.at.path == "apply.sh"


def test_a_script_that_installs_a_product_is_no_manifest() -> None:
    text = "cat <<EOF\napiVersion: kubeai.org/v1\nkind: Model\nspec:\n  url: hf://a/b\n" + "# x\n" * 30_000 + "EOF\n"
    assert [launch.form for launch in launches("install.sh", text)] == ["shell"]
