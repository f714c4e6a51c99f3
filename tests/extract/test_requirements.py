"""What a requirements file declares: some 90 hostile lines, and files that are something else."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed import within

from vramguard.extract import extract
from vramguard.facts import Include, Requirement, RequirementOption, Unknown
from vramguard.source import Document, read

if TYPE_CHECKING:
    from vramguard.facts import Fact

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"
UNKNOWN = "unknown"
YES, NO, LOCAL = True, False, None


def facts(text: str, path: str = "requirements.txt") -> list[Fact]:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return list(extract(document))


def requirement(text: str) -> Requirement:
    found = [fact for fact in facts(text) if isinstance(fact, Requirement)]
    assert len(found) == 1
    return found[0]


LINES = [
    # versions
    ("torch==2.1.0", "torch", "==2.1.0", YES, False),
    ("torch == 2.1.0", "torch", "==2.1.0", YES, False),
    ("torch (==2.1.0)", "torch", "==2.1.0", YES, False),
    ("torch===2.1.0", "torch", "===2.1.0", YES, False),
    ("torch==2.1.0+cu121", "torch", "==2.1.0+cu121", YES, False),
    ("torch==1!2.0", "torch", "==1!2.0", YES, False),
    ("torch==v1.0", "torch", "==v1.0", YES, False),
    ("torch==2.1.0rc1", "torch", "==2.1.0rc1", YES, False),
    ("torch==2.1.0.post1", "torch", "==2.1.0.post1", YES, False),
    ("torch==2.1.0.dev20240101", "torch", "==2.1.0.dev20240101", YES, False),
    ("torch", "torch", "", NO, False),
    ("torch>=2.1", "torch", ">=2.1", NO, False),
    ("torch>=2.1,<3", "torch", ">=2.1,<3", NO, False),
    ("torch >= 2.1 , < 3", "torch", ">=2.1,<3", NO, False),
    ("torch~=2.1", "torch", "~=2.1", NO, False),
    ("torch!=2.1", "torch", "!=2.1", NO, False),
    ("torch<3", "torch", "<3", NO, False),
    ("torch==2.1.*", "torch", "==2.1.*", NO, False),
    ("torch==2.1,==2.1.0", "torch", "==2.1,==2.1.0", NO, False),
    ("torch==2.1,>=2", "torch", "==2.1,>=2", NO, False),
    # names, extras, markers
    ("Ruamel.YAML==0.18.6", "Ruamel.YAML", "==0.18.6", YES, False),
    ("vllm[audio,video]==0.6.6", "vllm", "==0.6.6", YES, False),
    ("vllm [audio] == 0.6.6", "vllm", "==0.6.6", YES, False),
    ('torch==2.1.0; python_version < "3.12"', "torch", "==2.1.0", YES, False),
    ('torch==2.1.0 ; sys_platform == "linux" and extra == "x"', "torch", "==2.1.0", YES, False),
    ('torch; python_version == "3.12"', "torch", "", NO, False),
    # comments and continuations
    ("torch==2.1.0 # tested", "torch", "==2.1.0", YES, False),
    ("torch==2.1.0\t# tested", "torch", "==2.1.0", YES, False),
    ("torch==2.1.0#tested", "torch", "", UNKNOWN, False),
    ("torch \\\n==2.1.0", "torch", "==2.1.0", YES, False),
    ("torch==2.\\\n1.0", "torch", "==2.1.0", YES, False),
    ("  torch==2.1.0  ", "torch", "==2.1.0", YES, False),
    # hashes
    (f"torch==2.1.0 --hash=sha256:{SHA}", "torch", "==2.1.0", YES, True),
    (f"torch==2.1.0 --hash sha256:{SHA}", "torch", "==2.1.0", YES, True),
    (f"torch==2.1.0 \\\n  --hash=sha256:{SHA} \\\n  --hash=sha512:{SHA}{SHA}", "torch", "==2.1.0", YES, True),
    ("torch==2.1.0 --hash=md5:9e107d9d372bb6826bd81d3542a419d6", "torch", "==2.1.0", YES, False),
    (f"torch>=2.1.0 --hash=sha256:{SHA}", "torch", ">=2.1.0", NO, True),
    ("torch==2.1.0 --config-settings k=v", "torch", "==2.1.0", YES, False),
    ('torch==2.1.0 --global-option="--cuda"', "torch", "==2.1.0", YES, False),
    ("torch==2.1.0 --no-such-option", "torch", "==2.1.0", UNKNOWN, False),
    # version control
    (f"git+https://github.com/o/r@{COMMIT}", "r", f"git+https://github.com/o/r@{COMMIT}", YES, True),
    (
        f"git+https://github.com/o/r.git@{COMMIT}#egg=zoo",
        "zoo",
        f"git+https://github.com/o/r.git@{COMMIT}#egg=zoo",
        YES,
        True,
    ),
    (f"zoo @ git+https://github.com/o/r@{COMMIT}", "zoo", f"git+https://github.com/o/r@{COMMIT}", YES, True),
    (
        f"-e git+https://github.com/o/r@{COMMIT}#egg=zoo",
        "zoo",
        f"git+https://github.com/o/r@{COMMIT}#egg=zoo",
        YES,
        True,
    ),
    (f"git+ssh://git@github.com/o/r.git@{COMMIT}", "r", f"git+ssh://git@github.com/o/r.git@{COMMIT}", YES, True),
    ("git+ssh://git@github.com/o/r.git", "r", "git+ssh://git@github.com/o/r.git", NO, False),
    ("git+https://github.com/o/r", "r", "git+https://github.com/o/r", NO, False),
    ("git+https://github.com/o/r@main", "r", "git+https://github.com/o/r@main", NO, False),
    ("git+https://github.com/o/r@v1.0", "r", "git+https://github.com/o/r@v1.0", NO, False),
    ("git+https://github.com/o/r@984bc11", "r", "git+https://github.com/o/r@984bc11", NO, False),
    ("git+https://u:p@host/o/r@feature/x", "x", "git+https://u:p@host/o/r@feature/x", NO, False),
    (f"hg+https://host/r@{COMMIT}#egg=zoo", "zoo", f"hg+https://host/r@{COMMIT}#egg=zoo", YES, True),
    (
        f"git+https://${{TOKEN}}@github.com/o/r@{COMMIT}",
        "r",
        f"git+https://${{TOKEN}}@github.com/o/r@{COMMIT}",
        YES,
        True,
    ),
    ("git+https://github.com/o/r@${REF}", "r", "git+https://github.com/o/r@${REF}", UNKNOWN, False),
    ("git+git@github.com:o/r.git@main", "r", "git+git@github.com:o/r.git@main", NO, False),
    ("git+https://[x@y", None, None, NO, False),
    # URLs and paths
    ("https://h/zoo-1.0-py3-none-any.whl", "zoo", "https://h/zoo-1.0-py3-none-any.whl", YES, False),
    (f"https://h/zoo-1.0.tar.gz#sha256={SHA}", "zoo", f"https://h/zoo-1.0.tar.gz#sha256={SHA}", YES, True),
    (f"zoo @ https://h/z.whl#egg=zoo&sha256={SHA}", "zoo", f"https://h/z.whl#egg=zoo&sha256={SHA}", YES, True),
    (f"zoo @ https://h/z.whl --hash=sha256:{SHA}", "zoo", "https://h/z.whl", YES, True),
    ("zoo @ https://h/z.whl#md5=9e107d9d372bb6826bd81d3542a419d6", "zoo", None, NO, False),
    ('zoo[x] @ https://h/z.whl ; python_version < "4"', "zoo", "https://h/z.whl", NO, False),
    (f"https://github.com/o/r/archive/{'0' * 40}.zip", "r", None, YES, True),
    ("https://github.com/o/r/archive/refs/tags/v1.0.tar.gz", "r", None, NO, False),
    ("https://h/zoo.zip", "zoo", None, NO, False),
    ("https://github.com/o/r/archive/master.zip", "r", None, NO, False),
    ("https://h/torch-2.1.0%2Bcu121-cp311-cp311-linux_x86_64.whl", "torch", None, YES, False),
    (".", ".", ".", LOCAL, False),
    ("./zoo[dev]", "./zoo[dev]", "./zoo[dev]", LOCAL, False),
    ("../zoo ; python_version < '4'", "../zoo", "../zoo", LOCAL, False),
    ("wheels/zoo-1.0-py3-none-any.whl", "wheels/zoo-1.0-py3-none-any.whl", None, LOCAL, False),
    ("zoo-1.0-py3-none-any.whl", "zoo-1.0-py3-none-any.whl", None, LOCAL, False),
    ("file:///srv/zoo.whl", "zoo", "file:///srv/zoo.whl", LOCAL, False),
    ("zoo @ file:///srv/zoo.whl", "zoo", "file:///srv/zoo.whl", LOCAL, False),
    ("-e .", ".", ".", LOCAL, False),
    ("-e .[dev]", ".[dev]", ".[dev]", LOCAL, False),
    ("-e src", "src", None, LOCAL, False),
    # what nobody can read
    ("torch==${TORCH}", "torch", "==${TORCH}", UNKNOWN, False),
    ("torch${SPEC}", None, None, UNKNOWN, False),
    ("${PACKAGE}==1", None, None, UNKNOWN, False),
    ("torch==${torch}", "torch", "", UNKNOWN, False),
    ("torch==$TORCH", "torch", "", UNKNOWN, False),
    ("torch=2.1.0", "torch", "", UNKNOWN, False),
    ("numpy=1.26=py311_0", "numpy", "", UNKNOWN, False),
    ("pytz==2004d", "pytz", "", UNKNOWN, False),
    ("torch==", "torch", "", UNKNOWN, False),
    ("torch 2.1.0", "torch", "", UNKNOWN, False),
    ("torch[==2", "torch", "", UNKNOWN, False),
    ("torch==2.1.0 numpy==1", "torch", "", UNKNOWN, False),
    ("- torch", "- torch", "", UNKNOWN, False),
    ("@#!", None, None, UNKNOWN, False),
]


@pytest.mark.parametrize(("text", "name", "specifier", "pinned", "hashed"), LINES)
def test_hostile_lines(text: str, name: str | None, specifier: str | None, pinned: object, hashed: bool) -> None:  # noqa: FBT001 - a column of the table
    found = requirement(text)
    assert (UNKNOWN if isinstance(found.pinned, Unknown) else found.pinned, found.hashed) == (pinned, hashed)
    assert name is None or found.name == name
    assert specifier is None or found.specifier == specifier
    assert bool(found.reason) == (pinned not in (YES, LOCAL)), "a reason is given exactly where one is due"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("torch", "it names no version"),
        ("torch>=2.0", "a range: >=2.0"),
        ("torch==2.1.*", "a wildcard: ==2.1.*"),
        ("torch==2.1,==2.1.0", "more than one version: ==2.1,==2.1.0"),
        ("git+https://h/r@main", "`main` is a branch or a tag, which can be moved, not a full commit hash"),
        ("git+https://h/r@984bc11", "`984bc11` is a shortened commit hash, not the full 40 digits"),
        ("git+https://h/r", "it names no commit, so it is the default branch of today"),
        ("https://h/r.whl", "what a URL serves can change, and no hash stands beside it"),
        ("torch==${TORCH}", "its version comes from a variable of the environment"),
        ("torch==2#x", "pip cannot read it: a comment needs a space before its `#`"),
        ("torch=2", "pip cannot read it: `=` is conda's, pip's is `==`"),
        ("torch==${torch}", "pip expands only ${UPPER_CASE} variables, and cannot read it otherwise"),
        ("torch == two", "pip cannot read it as a requirement"),
        ("torch --nope", "pip refuses the line: no such option: --nope"),
        ("- torch", "pip ignores it"),
    ],
)
def test_reasons(text: str, reason: str) -> None:
    assert requirement(text).reason == reason


def test_extras_and_markers() -> None:
    found = requirement('vllm[video, audio]==0.6.6 ; python_version < "3.12"')
    assert (found.extras, found.marker) == (("audio", "video"), 'python_version < "3.12"')
    direct = requirement('vllm[audio] @ https://h/v.whl ; python_version < "3.12"')
    assert (direct.extras, direct.marker) == (("audio",), 'python_version < "3.12"')


@pytest.mark.parametrize(
    ("text", "target", "constraint"),
    [
        ("-r base.txt", "serving/base.txt", False),
        ("-r ../base.txt", "base.txt", False),
        ("-r ./a/../base.txt", "serving/base.txt", False),
        ("-c constraints.txt", "serving/constraints.txt", True),
        ("-c a.txt -r b.txt", "serving/b.txt", False),  # pip takes only the -r
        ("-r ../../base.txt", None, False),
        ("-r /etc/base.txt", None, False),
        ("-r https://example.com/base.txt", None, False),
        ("-c ${DIR}/base.txt", None, True),
    ],
)
def test_includes(text: str, target: str | None, *, constraint: bool) -> None:
    (found,) = facts(text, "serving/requirements.txt")
    assert isinstance(found, Include)
    assert (None if isinstance(found.target, Unknown) else found.target, found.constraint) == (target, constraint)


def test_options_and_their_flaws() -> None:
    found = facts(f"--index-url https://h/simple\n--hash=sha256:{SHA}\n--nope\na==1\n")
    assert [(fact.option, fact.value, bool(fact.flaw)) for fact in found if isinstance(fact, RequirementOption)] == [
        ("--index-url", "https://h/simple", False),
        ("--hash", f"sha256:{SHA}", True),
        ("--nope", "", True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Requirements\n\nThe service shall answer within 500 ms.\nIt must not, ever, crash.\n",
        "# packages in environment at /opt/conda:\nnumpy=1.26=py311_0\nscipy=1.11=py311_0\n",
        "- torch\n- numpy\n",
    ],
)
def test_a_file_of_something_else_is_said_once(text: str) -> None:
    (found,) = facts(text)
    assert isinstance(found, Requirement)
    assert isinstance(found.pinned, Unknown)
    assert "of the file's" in found.reason


pieces = st.sampled_from(
    ["torch", "==", "1.0", "@", " @ ", "git+", "https://", "[", "]", "${X}", ";", " ; ", "://", "/"]
)
more = st.sampled_from(
    ["#egg=", "#sha256=", "file:", "./", "-e ", "--hash=", "\\\n", "\n", " #", ",", "*", "%40", "?", ":"]
)


@given(st.lists(st.one_of(pieces, more, st.text(max_size=3)), max_size=12).map("".join))
def test_no_text_is_too_strange(text: str) -> None:
    document = read("requirements.txt", text.encode("utf-8", "ignore"))
    for fact in extract(document) if isinstance(document, Document) else ():
        assert not isinstance(fact, Requirement) or bool(fact.reason) == (fact.pinned not in (YES, LOCAL))


def test_one_bad_line_among_good_ones_is_itself() -> None:
    found = facts("torch==2.1.0\nnumpy=1.26\nscipy==1.11.4\n")
    assert [fact.at.line for fact in found] == [1, 2, 3]


class Written(NamedTuple):
    """A requirement as it is generated, and what it has to be read as."""

    text: str
    name: str
    extras: tuple[str, ...]
    specifier: str
    marker: str
    hashed: bool
    pinned: bool


blank = st.sampled_from(["", " ", "  ", "\t", " \\\n ", "\\\n"])
gap = st.sampled_from([" ", "   ", " \\\n", " \\\n    "])  # before an option pip wants a space: a tab is not enough
word = st.text(string.ascii_letters + string.digits, min_size=1, max_size=6)
names = st.builds("".join, st.tuples(word, st.sampled_from(["", "-", "_", "."]), word))
versions = st.builds(
    lambda release, end: ".".join(map(str, release)) + end,
    st.lists(st.integers(0, 99), min_size=1, max_size=3),
    st.sampled_from(["", "rc1", ".post2", ".dev3", "+cu121", "+local.4"]),
)
exact = st.tuples(st.sampled_from(["==", "==="]), versions).map(lambda clause: ("".join(clause), True))
ranges = st.lists(
    st.tuples(st.sampled_from([">=", "<=", ">", "<", "!="]), st.integers(0, 99).map(str)).map("".join),
    min_size=1,
    max_size=3,
).map(lambda clauses: (",".join(clauses), False))
wildcards = st.integers(0, 99).map(lambda number: (f"=={number}.*", False))
markers = st.sampled_from(
    [
        "",
        'python_version < "3.12"',
        'sys_platform == "linux" and python_version >= "3.9"',
        'extra == "x" or platform_machine == "x86_64"',
    ]
)
digests = st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=2)
options = st.sampled_from(["", "--config-settings=a=b", "-C a=b", "--config-settings 'k=v w'"])
ends = st.sampled_from(["", " ", "  # note", "\t# note --hash=sha256:00", " \\"])


@st.composite
def written_requirements(draw: st.DrawFn) -> Written:
    name, extras = draw(names), draw(st.lists(word, max_size=2, unique_by=str.lower))
    specifier, is_exact = draw(st.one_of(exact, ranges, wildcards, st.just(("", False))))
    if specifier.startswith("===") or "," not in specifier:
        spaced = draw(blank) + specifier
    else:
        spaced = draw(blank) + specifier.replace(",", draw(blank) + "," + draw(blank))
    if draw(st.booleans()) and specifier and not specifier.startswith("==="):
        spaced = f" ({specifier})"
    marker, hashes, option = draw(markers), draw(digests), draw(options)
    text = name + draw(st.sampled_from(["", " "])) + (f"[{','.join(extras)}]" if extras else "") + spaced
    text += draw(blank) + ";" + draw(blank) + marker if marker and not specifier.startswith("===") else ""
    marker = "" if specifier.startswith("===") else marker
    for value in hashes:
        text += draw(gap) + draw(st.sampled_from(["--hash=sha256:", "--hash sha256:"])) + value
    text += draw(gap) + option if option else ""
    text += draw(ends)
    return Written(text, name, tuple(sorted(extras)), specifier, marker, bool(hashes), is_exact)


between = st.sampled_from(["", "\n", "# note\n", "  \n", "# torch==1 \\\n", "--pre\n", "-i https://h/simple\n"])


@given(st.lists(st.tuples(between, written_requirements()), max_size=5))
def test_what_is_written_is_what_is_read(written: list[tuple[str, Written]]) -> None:
    text = "".join(f"{before}{line.text}\n\n" for before, line in written)
    found = [fact for fact in facts(text) if isinstance(fact, Requirement)]
    assert [(r.name, r.extras, r.specifier, r.marker, r.hashed, r.pinned) for r in found] == [
        (line.name, line.extras, line.specifier, line.marker, line.hashed, line.pinned) for _, line in written
    ]
    for requirement in found:
        row = text.split("\n")[requirement.at.line - 1]
        assert row[requirement.at.column - 1 :].startswith(requirement.name[:1])


@pytest.mark.parametrize(
    "text",
    [
        "torch==2.1.0\n",
        "numpy\x0ctorch==2.1.0\n",
        "\ufeff" + "torch==2.1.0\n",
        "# -*- coding: utf-8 -*-\ntorch==2.1.0\n",
    ],
)
def test_form_feeds_marks_and_codings(text: str) -> None:
    assert [fact.name for fact in facts(text) if isinstance(fact, Requirement)][-1] == "torch"


def test_an_orphan_hash_leaves_its_requirement_bare() -> None:
    first, second = facts(f"torch==2.1.0 \\\n# why\n  --hash=sha256:{SHA}\n")
    assert isinstance(first, Requirement)
    assert (first.pinned, first.hashed) == (True, False)
    assert isinstance(second, RequirementOption)
    assert second.flaw


@pytest.mark.parametrize(
    "text",
    [
        "a; " + "(" * 5000,
        "a" * 200_000,
        "a" * 200_000 + "[",
        "a[" + "," * 200_000,
        "https://" + "a-" * 100_000,
        "${" * 100_000,
    ],
    ids=["parentheses", "letters", "bracket", "commas", "dashes", "variables"],
)
def test_hostile_lines_are_unreadable_at_once(text: str) -> None:
    with within(2):
        assert isinstance(requirement(text).pinned, Unknown)
