"""Files that are broken, cut short, changed while they are read, or made to exhaust us."""

from __future__ import annotations

import json
import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import within
from weighed import f32, gguf_of, stored
from weights import framed

from vramguard.weights import review, scanning

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

GOOD = stored({"a": f32(1, 2), "b": ("F8_E4M3", (3,), b"\1\2\3")})
QUANTIZED = gguf_of({"q": (8, (1, 32), b"\0<" + bytes(32)), "f": (0, (2,), bytes(8))})


A = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


def header(**entries: object) -> bytes:
    return json.dumps(entries).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "a header of 18,446,744,073,709,551,615 bytes"),
        (framed(header(a={"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]})), "cut short"),
        (framed(header(a={"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]})), "more elements"),
        (framed(header(a=A, b={**A, "data_offsets": [2, 6]}), bytes(6)), "overlap at byte 4"),
        (framed(b'{"a":' + b"[" * 100_000), "nested too deeply"),
        (b"GGUF\3\0\0\0" + struct.pack("<QQ", 2**63, 0), "refused: over 100,000 tensors"),
        (b"GGUF\3\0\0\0" + struct.pack("<QQ", 1, 0) + struct.pack("<Q", 2**63), "cut short"),
        (gguf_of({"a": (0, (2**32, 2**31), b"")}), "cut short"),
        (gguf_of({"a": (999, (1,), b"1234")}), "unknown type 999"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "blob"])
def test_a_header_that_cannot_be_true_is_a_finding(tmp_path: Path, data: bytes, reason: str, name: str) -> None:
    (tmp_path / name).write_bytes(data)
    (problem,) = review(tmp_path / name).problems
    assert problem.kind == "unreadable"
    fits = name == "blob" or (name == "model.gguf") == data.startswith(b"GGUF")
    assert reason in problem.message or not fits


@settings(max_examples=150, deadline=None)
@given(data=st.data(), whole=st.sampled_from([GOOD, QUANTIZED]))
def test_no_byte_that_is_changed_or_lost_makes_us_fail(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, whole: bytes
) -> None:
    changed = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        changed[at] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("hostile") / "blob"
    path.write_bytes(changed[:length])
    found = review(path)
    assert found.problems or found.side.tensors or length < 8 or found.side.files


@pytest.mark.parametrize("whole", [GOOD, QUANTIZED])
def test_a_file_that_is_cut_short_is_never_clean(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "blob"
    padding = len(whole) - len(whole.rstrip(b"\0")) if whole is QUANTIZED else 0
    for length in range(len(whole) - padding):
        path.write_bytes(whole[:length])
        found = review(path)
        assert [item.kind for item in found.problems] == ["unreadable"], length
        assert found.side.digest is None


@pytest.fixture
def shrinking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """`shrinking(path, size)` cuts that file once its tensors are being read."""

    def arm(path: Path, size: int) -> None:
        real = scanning._fill

        def fill(stream: FileIO, view: memoryview) -> None:
            if path.stat().st_size > size:
                with path.open("r+b") as file:
                    file.truncate(size)
            real(stream, view)

        monkeypatch.setattr(scanning, "_fill", fill)

    return arm


def test_a_file_that_shrinks_while_it_is_read_is_a_finding(
    tmp_path: Path, shrinking: Callable[[Path, int], None]
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(stored({"a": f32(1, 2), "b": f32(3, 4), "c": f32(5)}))
    shrinking(path, path.stat().st_size - 8)
    found = review(path)
    assert [(item.kind, item.message) for item in found.problems] == [("unreadable", "cut short while it was read")]
    assert [tensor.name for tensor in found.side.tensors] == ["a"]
    assert found.side.digest is None


@pytest.mark.parametrize("which", ["new", "old"])
def test_one_side_that_shrinks_leaves_the_other_whole(
    tmp_path: Path, shrinking: Callable[[Path, int], None], which: str
) -> None:
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    new.write_bytes(stored({"a": f32(1, 2), "b": f32(3, 4)}))
    old.write_bytes(stored({"a": f32(1, 2), "b": f32(3, 5), "c": f32(1)}))
    whole = review(old if which == "new" else new).side
    path = new if which == "new" else old
    shrinking(path, path.stat().st_size - 9)
    found = review(new, old)
    assert found.against is not None
    cut, kept = (found.side, found.against) if which == "new" else (found.against, found.side)
    assert cut.digest is None
    assert (kept.digest, kept.tensors) == (whole.digest, whole.tensors)
    assert [(item.kind, item.of_against) for item in found.problems] == [("unreadable", which == "old")]


def test_very_many_tensors_are_read_in_time(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    entries = {f"{n}": {"dtype": "BF16", "shape": [1], "data_offsets": [2 * n, 2 * n + 2]} for n in range(20_000)}
    path.write_bytes(framed(json.dumps(entries).encode(), bytes(40_000)))
    with within(30):
        found = review(path)
    assert len(found.side.tensors) == 20_000


def test_very_many_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(stored({"a": ("F32", (1,) * 100_000, b"\0\0\xc0\x7f")}))
    (problem,) = review(path).problems
    assert problem.kind == "non-finite"
    assert len(problem.message) < 200


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for size in (1 << 23, 1 << 26):
        path = tmp_path / "m.safetensors"
        path.write_bytes(stored({"a": ("F32", (size // 4,), bytes(size))}))
        review(path)
        tracemalloc.start()
        review(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20) < 32 << 20
