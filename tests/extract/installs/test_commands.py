"""Installers' commands as shells start them: which words are packages, and where they stand."""

from __future__ import annotations

import pytest

from vramguard.extract.installs import extract
from vramguard.facts import Fetch, Install, Requirement, Unknown
from vramguard.source import Document, read


def facts(text: str, path: str = "setup.sh") -> list[object]:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return list(extract(document))


def packages(text: str, path: str = "setup.sh") -> list[str]:
    """Name and version of every package that a file's commands name."""
    return [f"{fact.name}{fact.specifier}" for fact in facts(text, path) if isinstance(fact, Requirement)]


def install(text: str) -> Install:
    [found] = [fact for fact in facts(text) if isinstance(fact, Install)]
    return found


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("pip install torch==2.1.0 numpy", ["torch==2.1.0", "numpy"]),
        ("pip3.11 install --upgrade --no-cache-dir torch", ["torch"]),
        ("python3 -m pip install -U torch", ["torch"]),
        ("py -m pip install torch", ["torch"]),
        ("$PYTHON -u -m pip install torch", ["torch"]),
        ("$(which pip) install torch", ["torch"]),
        ("${PIP} install torch", ["torch"]),
        ("$SUDO pip install torch", ["torch"]),
        ("sudo -H pip install torch", ["torch"]),
        ("pip -q install --index-url https://a.b/simple -c c.txt torch", ["torch"]),
        ("pip install --no-build-isolation --progress-bar off torch", ["torch"]),
        ("pip install --upgrade-strategy eager -t out -f links torch", ["torch"]),
        ("pip install -qU torch -rreqs.txt", ["torch"]),
        ("pip install 'torch<2' \"numpy>=1\" torch[cuda]", ["torch<2", "numpy>=1", "torch"]),
        ("pip install torch>2", ["torch"]),
        ("pip install torch>=2.0 numpy > log 2>&1 scipy", ["torch", "numpy", "scipy"]),
        ("conda config --set channel_priority strict", []),
        ("pip download -d wheels torch==2.1.0", ["torch==2.1.0"]),
        ("uv pip install --no-build-isolation --index-strategy unsafe-best-match torch", ["torch"]),
        ("uv add --group dev torch", ["torch"]),
        ("uv run --with torch==2.1.0,numpy main.py", ["torch==2.1.0", "numpy"]),
        ("uv run pip install torch", ["torch"]),
        ("uv tool install ruff@0.4.1", ["ruff0.4.1"]),
        ("uvx ruff==0.4.1 check pip", ["ruff==0.4.1"]),
        ("uvx --from black==24.1.0 blackd run", ["black==24.1.0"]),
        ("pipx run --spec torch==2.1.0 main", ["torch==2.1.0"]),
        ("pipx install --include-deps torch", ["torch"]),
        ("poetry add torch@^2.1 numpy@1.26.4", ["torch^2.1", "numpy1.26.4"]),
        ("poetry install --with dev --no-root", []),
        ("pdm add -dG test pytest==8.0.0", ["pytest==8.0.0"]),
        ("pipenv install --dev torch", ["torch"]),
        ("conda install -y -c pytorch numpy=1.26 pytorch::torch", ["numpy=1.26", "torch"]),
        ("micromamba create -n env -f env.yml python=3.11", ["python=3.11"]),
        ("easy_install torch", ["torch"]),
        ("conda run -n env pip install torch", ["torch"]),
        ("poetry run pip install torch", ["torch"]),
        ("docker exec -it box pip install torch", ["torch"]),
        ("docker run --rm img sh -c 'pip install torch && ls'", ["torch"]),
        ("ssh host 'pip install torch'", ["torch"]),
        ('su - user -c "pip install torch"', ["torch"]),
        ("kubectl exec pod -- bash -lc 'pip install torch'", ["torch"]),
        ("bash <<EOF\npip install torch\nEOF", ["torch"]),
        ("for p in torch numpy==1.26.4; do pip install $p; done", ["torch", "numpy==1.26.4"]),
        ('get() { pip install "$@"; }\nget torch', ["torch"]),
        ('ARGS=(-U torch)\npip install "${ARGS[@]}"', ["torch"]),
    ],
)
def test_what_a_command_installs(command: str, found: list[str]) -> None:
    assert packages(command + "\n") == found


@pytest.mark.parametrize(
    "text",
    [
        'echo "pip install torch"',
        "# pip install torch",
        'printf "run pip install torch"',
        "pip uninstall -y torch",
        "pip install --help",
        "pip install --dry-run torch",
        'pip install "$@"',
        "pip install $PIP_ARGS -r r.txt",
        "cat <<EOF\npip install torch\nEOF",
    ],
)
def test_what_installs_nothing_that_can_be_named(text: str) -> None:
    assert packages(text + "\n") == []


def test_a_package_is_placed_by_its_own_word() -> None:
    [torch, numpy] = [
        fact.at for fact in facts("x=1\npip install 'torch<2' \\\n  numpy\n") if isinstance(fact, Requirement)
    ]
    assert torch[1:] == (2, 14, 2, 21)
    assert numpy[1:] == (3, 3, 3, 8)


def test_a_version_of_a_variable_is_known_where_the_script_says_it() -> None:
    [said, unsaid] = [
        fact for fact in facts("V=2.1.0\npip install torch==$V numpy==$N\n") if isinstance(fact, Requirement)
    ]
    assert (said.specifier, said.pinned, said.at.line, said.at.column) == ("==2.1.0", True, 2, 13)
    assert (unsaid.name, unsaid.specifier, unsaid.pinned) == ("numpy", "==$N", Unknown("numpy==$N"))


def test_a_range_stays_one_whatever_its_variable_holds() -> None:
    [found] = [fact for fact in facts("pip install 'torch>='$V\n") if isinstance(fact, Requirement)]
    assert found.pinned is False


def test_files_constraints_and_options() -> None:
    found = install(
        "export PIP_EXTRA_INDEX_URL=https://a.b PIP_NO_DEPS=0\ncd api && pip install --pre -r r.txt -c c.txt -e .[x]\n"
    )
    assert (found.files, found.constraints, found.local) == (("r.txt",), ("c.txt",), (".[x]",))
    assert found.option("extra-index-url") == "https://a.b"
    assert found.option("pre") == ""
    assert found.option("no-deps") is None
    assert found.option("directory") == "api"


@pytest.mark.parametrize(
    "target",
    [
        *(".", "./a", "../a[x]", ".[dev]", "/a/b", "dist/*.whl", "/x/y/*.whl", "a-*.whl"),
        *(
            "$GITHUB_ACTION_PATH",
            '"$GITHUB_WORKSPACE"',
            "$PWD/a",
            "$(pwd)",
            "${CMAKE_SOURCE_DIR}/a[b]",
            "$SCRIPT_DIR/..",
        ),
        *("${{ github.action_path }}", "$(git rev-parse --show-toplevel)/a"),
    ],
)
def test_what_lies_on_the_disk_is_no_package(target: str) -> None:
    assert packages(f"pip install {target}\n") == []
    assert install(f"pip install {target}\n").local == (target.strip('"'),)


@pytest.mark.parametrize("word", ["$PKG", "${PACKAGE}", "$INDEX_URL/torch.whl", "torch-$VERSION"])
def test_a_variable_that_names_no_folder_stays_unknown(word: str) -> None:
    [found] = [fact for fact in facts(f"pip install {word}\n") if isinstance(fact, Requirement)]
    assert isinstance(found.pinned, Unknown)


def test_conda_is_told_how_strict_it_is() -> None:
    found = install("conda config --set channel_priority strict --add channels conda-forge\n")
    assert (found.tool, found.action) == ("conda", "config")
    assert found.options == (("channel_priority", "strict"), ("channels", "conda-forge"))


def test_a_command_that_a_variable_keeps() -> None:
    text = (
        'export TORCH_COMMAND="pip install torch==2.1.0 numpy; pip install scipy"\nHINT="pip install no"\n'
        'V=1.2\nCMD="pip install pandas==$V"\n$CMD\nPIP_CMD="pip install"\n'
    )
    assert sorted(packages(text)) == ["numpy", "pandas==1.2", "scipy", "torch==2.1.0"]
    places = {fact.name: fact.at[1:3] for fact in facts(text) if isinstance(fact, Requirement)}
    assert (places["torch"], places["scipy"], places["pandas"][0]) == ((1, 35), (1, 67), 4)


def test_words_of_an_inner_text_have_their_own_places() -> None:
    text = 'docker run x \\\n  bash -c "\n    set -e && \\\n    pip install build && \\\n    python -m build\n  "\n'
    [found] = [fact.at for fact in facts(text) if isinstance(fact, Requirement)]
    assert found[1:] == (4, 17, 4, 22)


def test_one_word_of_a_loop_is_one_requirement() -> None:
    text = "for v in 3.10 3.11; do\n  conda create -n e python=${v}\ndone\n"
    [found] = [fact for fact in facts(text) if isinstance(fact, Requirement)]
    assert (found.at.line, found.pinned) == (2, False)


def test_a_subshell_does_not_move_what_follows() -> None:
    found = [fact for fact in facts("(cd api; pip install .)\npip install .\n") if isinstance(fact, Install)]
    assert [item.option("directory") for item in found] == ["api", None]


def test_files_that_xargs_hands_on() -> None:
    assert install("cat requirements.txt | xargs -n 1 pip install\n").files == ("requirements.txt",)


def test_a_list_that_is_not_known() -> None:
    assert install("pip install -r $FILE\n").files == (Unknown("$FILE"),)


SHA = "984bc11b0882ff1e5b34ba717ea357e069ceced9"


@pytest.mark.parametrize(
    ("text", "kind", "pinned"),
    [
        ("git clone https://a.b/c/d", "clone", False),
        ("git clone -b v1 --depth 1 https://a.b/c/d", "clone", False),
        (f"git clone https://a.b/c/d && cd d && git checkout {SHA}", "clone", True),
        (f"git clone https://a.b/c/d x\ngit -C x reset --hard {SHA}", "clone", True),
        (f"git clone https://a.b/c/d\ncd d\ngit fetch origin {SHA}\ngit checkout FETCH_HEAD", "clone", True),
        (f"git clone --revision={SHA} https://a.b/c/d", "clone", True),
        ("git clone https://a.b/c/d\ngit -C d checkout $REF", "clone", Unknown("$REF")),
        ("curl -LsSf https://a.b/i.sh | sh -s -- -y", "script", False),
        ("bash <(curl -s https://a.b/i.sh)", "script", False),
        ('sh -c "$(curl -fsSL https://a.b/i.sh)"', "script", False),
        ("wget https://a.b/i.sh -O /tmp/i.sh && bash /tmp/i.sh", "script", False),
        ("curl -o i.sh https://a.b/i.sh; sha256sum -c sums; sh i.sh", "script", True),
        ("wget https://github.com/a/b/archive/main.zip", "archive", False),
        ("wget https://a.b/i.sh --no-verbose -O /tmp/i.sh && sh /tmp/i.sh", "script", False),
        ("curl -sS https://a.b/get-pip.py | python3.10", "script", False),
        ('"${GIT}" clone https://a.b/c/d x', "clone", False),
        ("git clone https://a.b/c/d -b $BRANCH", "clone", False),
        (f"wget https://github.com/a/b/archive/{SHA}.tar.gz", "archive", True),
    ],
)
def test_what_is_fetched(text: str, kind: str, pinned: object) -> None:
    [found] = [fact for fact in facts(text + "\n") if isinstance(fact, Fetch)]
    assert (found.way, found.pinned) == (kind, pinned)


def test_a_clone_of_a_variable_stands_where_it_is_cloned() -> None:
    [found] = [fact.at for fact in facts("U=https://a.b/c\ngit clone $U\n") if isinstance(fact, Fetch)]
    assert found.line == 2


@pytest.mark.parametrize(
    "text",
    ["curl https://a.b/api | jq .", "X=$(curl -s https://a.b/v)", "git clone ../here", "wget https://a.b/data.csv"],
)
def test_data_is_nothing_that_runs(text: str) -> None:
    assert [fact for fact in facts(text + "\n") if isinstance(fact, Fetch)] == []


@pytest.mark.parametrize(
    "text",
    [
        "docker run x sh -c 'pip install\n" + "zz b\t" * 40_000 + "'",
        "pip install " + "a" * 200_000,
        "pip install " + "((" * 5000,
        "pip install a; " * 3000,
        "pip install {" * 4000,
    ],
)
def test_hostile_text_ends(text: str) -> None:
    assert isinstance(facts(text), list)
