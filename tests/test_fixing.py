"""What `--fix` writes: the version that the lock holds, and nothing else of the file."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramguard.checks import Pin, Severity
from vramguard.fixing import mended, rewritten
from vramguard.policy import Edit, Finding
from vramguard.source import Location

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def pinned(line: str, word: str, *, name: str = "torch", hashes: tuple[str, ...] = (), version: str = "2.5.1") -> str:
    """The line after its word was pinned, to 2.5.1."""
    start = line.index(word) + 1
    at = Location("requirements.txt", 1, start, 1, start + len(word))
    finding = Finding("VG101", "x", 1, Severity.ERROR, "", at, "", pins=(Pin(at, name, version, hashes),))
    (found,) = mended([finding], lambda _: line.encode())
    return line if found.fix is None else rewritten(line.encode(), found.fix.edits).decode()


@pytest.mark.parametrize(
    ("line", "word", "after"),
    [
        ("torch", "torch", "torch==2.5.1"),
        ("torch>=2,<3", "torch>=2,<3", "torch==2.5.1"),
        ("torch ~= 2.1  # CUDA 12", "torch ~= 2.1", "torch==2.5.1  # CUDA 12"),
        ("torch [cuda] (>=2)", "torch [cuda] (>=2)", "torch [cuda]==2.5.1"),
        (
            'torch>=2 ; python_version < "3.13"',
            'torch>=2 ; python_version < "3.13"',
            'torch==2.5.1 ; python_version < "3.13"',
        ),
        ('RUN pip install "torch>=2" numpy', "torch>=2", 'RUN pip install "torch==2.5.1" numpy'),
        ('RUN pip install "torch>=2" numpy', '"torch>=2"', 'RUN pip install "torch==2.5.1" numpy'),
        ("RUN pip install torch && true", "torch", "RUN pip install torch==2.5.1 && true"),
        ("Torch>2", "Torch>2", "Torch==2.5.1"),
    ],
)
def test_the_version_takes_the_place_of_the_clauses(line: str, word: str, after: str) -> None:
    assert pinned(line, word) == after


def test_hashes_stand_behind_the_requirement_and_before_its_comment() -> None:
    assert pinned("torch>=2  # x", "torch>=2", hashes=(SHA,)) == f"torch==2.5.1 \\\n    --hash={SHA}  # x"


@pytest.mark.parametrize(
    ("line", "word", "name"),
    [
        ("pip install torch>2", "torch", "torch"),
        ("numpy", "numpy", "torch"),
        ("-e .", "-e .", "torch"),
        ("", "", "torch"),
    ],
)
def test_what_is_not_that_requirement_stays(line: str, word: str, name: str) -> None:
    assert pinned(line, word, name=name) == line


def test_one_edit_that_cannot_be_made_leaves_all_undone() -> None:
    at = Location("requirements.txt", 1, 1, 1, 6)
    pins = (Pin(at, "torch", "2.5.1"), Pin(at._replace(line=9, end_line=9), "numpy", "2.0"))
    finding = Finding("VG102", "x", 1, Severity.ERROR, "", at, "", pins=pins)
    (found,) = mended([finding], lambda _: b"torch")
    assert found == dataclasses.replace(finding, fix=None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encoding_mark_and_line_ends_stay(encoding: str, newline: str) -> None:
    text = newline.join(["# é", "torch", "numpy", ""])
    edit = Edit(Location("r.txt", 2, 1, 2, 6), f"torch==2.5.1 \\\n    --hash={SHA}")
    after = newline.join(["# é", "torch==2.5.1 \\", f"    --hash={SHA}", "numpy", ""])
    assert rewritten(text.encode(encoding), [edit, edit]) == after.encode(encoding)


def test_edits_of_one_line_do_not_disturb_each_other() -> None:
    edits = [Edit(Location("d", 1, 5, 1, 10), "torch==2.5.1"), Edit(Location("d", 1, 1, 1, 4), "x==1")]
    assert rewritten(b"abc torch\n", edits) == b"x==1 torch==2.5.1\n"


@given(st.text(alphabet=st.sampled_from("ab \r\n\u2028\x0c"), max_size=40))
def test_no_edit_changes_nothing(text: str) -> None:
    assert rewritten(text.encode(), []) == text.encode()


@pytest.mark.parametrize(
    "version", ["1; rm -rf /", "1\n-r /etc/passwd", "$(id)", "`id`", "1' || id '", '1"', "1 2", "1.*", "", "-r", "1\\"]
)
def test_what_a_lock_calls_a_version_is_written_only_if_it_is_one(version: str) -> None:
    assert pinned("RUN pip install torch", "torch", version=version) == "RUN pip install torch"
    assert pinned("torch", "torch", hashes=(f"sha256:{version}",)) == "torch"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("pip install torch==1", "torch"),  # a place that is another word's
        ("pip install pytorch", "torch"),
        ("pip install torch$SUFFIX", "torch"),
        ("PACKAGE=torch; import $PACKAGE", "torch"),
        ('NAME = "torch"', "torch"),
    ],
)
def test_a_part_of_a_word_and_a_variable_stay(line: str, word: str) -> None:
    assert pinned(line, word) == line
