"""Statistics, digests and comparisons of whole files, against numpy and against a recipe of shell."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weighed import Stored, f32, floats, stored
from weights import index

from vramguard.weights import Change, Review, Tensor, review
from vramguard.weights.results import Statistics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

BLOCK = 1 << 20  # elements that are read at once


def reviewed(folder: Path, tensors: Mapping[str, Stored], was: Mapping[str, Stored] | None = None) -> Review:
    new, old = folder / "new.safetensors", folder / "old.safetensors"
    new.write_bytes(stored(tensors))
    if was is None:
        return review(new)
    old.write_bytes(stored(was))
    return review(new, old)


def one(found: Review) -> Statistics:
    (tensor,) = found.side.tensors
    assert tensor.statistics is not None
    return tensor.statistics


def array(kind: str, values: npt.NDArray[Any]) -> Stored:
    names = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "I32": np.int32}
    return kind, values.shape, values.astype(names[kind]).tobytes()


@pytest.mark.parametrize(("kind", "dtype"), [("F16", np.float16), ("F32", np.float32), ("F64", np.float64)])
@pytest.mark.parametrize("size", [1, 1000, BLOCK, 2 * BLOCK + 12345])
def test_statistics_are_those_of_numpy(tmp_path: Path, kind: str, dtype: type, size: int) -> None:
    values: npt.NDArray[Any] = (np.random.default_rng(size).standard_normal(size) * 3 + 1).astype(dtype)
    values[::7] = 0
    wide = values.astype(np.float64)
    found = one(reviewed(tmp_path, {"w": array(kind, values)}))
    assert (found.values, found.non_finite, found.first) == (size, 0, None)
    assert (found.min, found.max, found.abs_max) == (wide.min(), wide.max(), np.abs(wide).max())
    assert found.zeros == np.count_nonzero(wide == 0)
    assert found.mean == pytest.approx(wide.mean(), rel=1e-11, abs=1e-13)
    assert found.std == pytest.approx(wide.std(), rel=1e-11)
    assert found.norm == pytest.approx(np.linalg.norm(wide), rel=1e-11)
    assert found.zero_share == np.count_nonzero(wide == 0) / size


@pytest.mark.parametrize("kind", ["F16", "F32", "F64"])
def test_a_value_that_is_not_finite_is_found_in_any_block(tmp_path: Path, kind: str) -> None:
    values = np.ones((3, BLOCK), np.float32)
    values[2, 5] = np.nan
    values[2, 6] = -np.inf
    values[2, 4] = 3
    found = reviewed(tmp_path, {"w": array(kind, values)})
    statistics = one(found)
    assert (statistics.nan, statistics.negative_inf, statistics.first) == (1, 1, 2 * BLOCK + 5)
    assert statistics.mean == pytest.approx((3 * BLOCK - 3 + 3) / (3 * BLOCK - 2), rel=1e-12)
    (problem,) = found.problems
    assert (problem.kind, problem.tensor) == ("non-finite", "w")
    assert problem.message == "1 NaN, 1 -Inf of 3,145,728 values, the first at [2, 5]"


def test_a_tensor_of_one_value_has_no_spread(tmp_path: Path) -> None:
    found = one(reviewed(tmp_path, {"w": array("F32", np.full(100_001, 0.1))}))
    assert (found.mean, found.std) == (float(np.float32(0.1)), 0.0)


def test_where_nothing_is_finite_there_are_no_statistics(tmp_path: Path) -> None:
    for raw in (f32(math.nan, math.inf), ("F16", (2,), floats(math.nan, math.inf, code="e"))):
        found = one(reviewed(tmp_path, {"w": raw}))
        assert found == Statistics(2, nan=1, positive_inf=1, first=0, zeros=0)


def test_tensors_without_elements_and_without_dimensions(tmp_path: Path) -> None:
    tensors = {
        "none": ("F16", (0, 5), b""),
        "far": ("F32", (2**63, 0), b""),
        "scalar": ("F64", (), floats(-0.0, code="d")),
    }
    found = reviewed(tmp_path, tensors)
    far, none, scalar = found.side.tensors
    assert (none.name, none.elements, none.statistics) == ("none", 0, Statistics(0, zeros=0))
    assert (far.sha256, far.statistics and far.statistics.zero_share) == (hashlib.sha256().hexdigest(), None)
    assert scalar.statistics == Statistics(1, zeros=1, min=0.0, max=0.0, mean=0.0, std=0.0, abs_max=0.0, norm=0.0)
    assert math.copysign(1, scalar.statistics.min or 0) == 1
    assert found.problems == ()


def test_denormal_numbers_are_numbers(tmp_path: Path) -> None:
    found = one(reviewed(tmp_path, {"w": f32(2.0**-149, 0.0, -(2.0**-126))}))
    assert (found.min, found.max, found.zeros) == (-(2.0**-126), 2.0**-149, 1)


def test_what_float64_cannot_hold_is_not_told(tmp_path: Path) -> None:
    found = reviewed(tmp_path, {"w": ("F64", (2,), floats(1.7e308, 1.7e308, code="d"))})
    statistics = one(found)
    assert (statistics.max, statistics.mean, statistics.std, statistics.norm) == (1.7e308, None, None, None)
    assert found.problems == ()


def test_of_integers_only_the_bytes_are_digested(tmp_path: Path) -> None:
    raw = bytes(range(12))
    tensors: dict[str, Stored] = {"i": ("I32", (3,), raw), "six": ("F6_E2M3", (4, 4), raw)}
    found = reviewed(tmp_path, tensors)
    assert [(tensor.examined, tensor.statistics) for tensor in found.side.tensors] == [("none", None)] * 2
    assert {tensor.sha256 for tensor in found.side.tensors} == {hashlib.sha256(raw).hexdigest()}


TENSORS: dict[str, Stored] = {
    "a.weight": f32(1, 2, 3),
    "b \n\0é": ("F16", (1, 2), b"1234"),
    "n": ("I64", (1,), bytes(8)),
    "Z": ("BF16", (0,), b""),
}


def test_the_digest_does_not_depend_on_files_or_their_order(tmp_path: Path) -> None:
    whole = reviewed(tmp_path, TENSORS).side
    turned = reviewed(tmp_path, dict(reversed(TENSORS.items()))).side
    folder = tmp_path / "parts"
    folder.mkdir()
    names = list(TENSORS)
    for number, part in enumerate((names[:1], names[1:])):
        (folder / f"{number}.safetensors").write_bytes(stored({name: TENSORS[name] for name in part}))
    parts = review(folder).side
    (folder / "model.safetensors.index.json").write_text(
        index({name: f"{int(name != names[0])}.safetensors" for name in names}), "utf-8"
    )
    named = review(folder / "model.safetensors.index.json")
    assert whole.digest == turned.digest == parts.digest == named.side.digest is not None
    assert (named.problems, named.notes) == ((), ())
    assert [tensor.name for tensor in parts.tensors] == sorted(TENSORS)
    assert reviewed(tmp_path, TENSORS | {"n": ("I64", (1,), b"1" * 8)}).side.digest != whole.digest
    assert reviewed(tmp_path, TENSORS | {"n": ("U64", (1,), bytes(8))}).side.digest != whole.digest
    assert reviewed(tmp_path, TENSORS | {"n": ("I64", (), bytes(8))}).side.digest != whole.digest


def test_the_digest_is_that_of_its_listing(tmp_path: Path) -> None:
    """As docs/weights.md has it, by hand."""
    found = reviewed(tmp_path, TENSORS).side
    lines = [
        json.dumps([name, *TENSORS[name][:2], hashlib.sha256(TENSORS[name][2]).hexdigest()]).replace(", ", ",")
        for name in sorted(TENSORS)
    ]
    assert found.digest == "sha256:" + hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def changes(found: Review) -> dict[str, Change]:
    return {change.name: change for change in found.changes}


def test_what_has_changed_is_told_by_kind(tmp_path: Path) -> None:
    old = {
        "same": f32(1),
        "gone": f32(2),
        "shape": f32(1, 2),
        "type": f32(1, 2),
        "value": f32(3, 4),
        "int": ("I8", (1,), b"a"),
    }
    new = {
        "same": f32(1),
        "more": f32(2),
        "shape": ("F32", (2, 1), floats(1, 2)),
        "type": ("F16", (2,), floats(1, 2.5, code="e")),
        "value": f32(3, 4.5),
        "int": ("I8", (1,), b"b"),
    }
    found = reviewed(tmp_path, new, old)
    told = changes(found)
    assert {name: change.kind for name, change in told.items()} == {
        "gone": "removed",
        "more": "added",
        "shape": "reshaped",
        "type": "retyped",
        "value": "changed",
        "int": "changed",
    }
    assert found.unchanged == 1
    assert found.problems == ()
    value, kind = told["value"].gap, told["type"].gap
    assert value is not None
    assert (value.differing, value.max_abs, value.at, value.relative) == (1, 0.5, 1, 0.1)
    assert value.norm_change == pytest.approx((math.hypot(3, 4.5) - 5) / 5, rel=1e-12)
    assert kind is not None
    assert (kind.differing, kind.max_abs, kind.at) == (1, 0.5, 1)
    assert (told["shape"].gap, told["int"].gap, told["gone"].after, told["more"].before) == (None, None, None, None)
    assert found.against is not None
    assert found.against.digest == review(tmp_path / "old.safetensors").side.digest
    assert told["value"].before == tensor_of(tmp_path / "old.safetensors", "value")


def tensor_of(path: Path, name: str) -> Tensor:
    return next(tensor for tensor in review(path).side.tensors if tensor.name == name)


@pytest.mark.parametrize("kind", ["F16", "F32"])
def test_a_change_in_a_late_block_is_measured_like_numpy_does(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    dtype = {"F16": np.float16, "F32": np.float32}[kind]
    old = rng.standard_normal((3, BLOCK)).astype(dtype)
    new = old.copy()
    new[1, 7:1000:3] += dtype(0.25)
    new[2, -1] = 9
    found = reviewed(tmp_path, {"w": array(kind, new), "x": f32(1)}, {"w": array(kind, old), "x": f32(1)})
    (change,) = found.changes
    gap, distance = change.gap, np.abs(new.astype(np.float64) - old.astype(np.float64))
    norms = [float(np.linalg.norm(values.astype(np.float64))) for values in (old, new)]
    assert gap is not None
    assert (gap.differing, gap.not_compared) == (int((old != new).sum()), 0)
    assert (gap.max_abs, gap.at) == (distance.max(), int(distance.argmax()))
    assert gap.relative == pytest.approx(np.linalg.norm(distance) / norms[0], rel=1e-9)
    assert gap.norm_change == pytest.approx((norms[1] - norms[0]) / norms[0], rel=1e-6)
    assert found.against is not None
    assert found.against.digest == review(tmp_path / "old.safetensors").side.digest
    assert found.side.digest == review(tmp_path / "new.safetensors").side.digest
    assert change.before == tensor_of(tmp_path / "old.safetensors", "w")
    assert change.after == tensor_of(tmp_path / "new.safetensors", "w")


def test_what_is_not_finite_is_counted_and_not_measured(tmp_path: Path) -> None:
    old = f32(math.nan, math.nan, 1, math.inf, 0.0, -math.inf)
    new = f32(math.nan, 2, math.inf, math.inf, -0.0, math.inf)
    (change,) = reviewed(tmp_path, {"w": new}, {"w": old}).changes
    assert change.gap is not None
    assert (change.gap.differing, change.gap.not_compared, change.gap.max_abs, change.gap.at) == (3, 3, 0.0, None)


def test_other_bytes_may_be_the_same_values(tmp_path: Path) -> None:
    (change,) = reviewed(tmp_path, {"w": f32(-0.0, 1)}, {"w": f32(0.0, 1)}).changes
    assert change.gap is not None
    assert (change.kind, change.gap.differing, change.gap.relative) == ("changed", 0, 0.0)


def test_where_nothing_was_there_is_no_relative_change(tmp_path: Path) -> None:
    (change,) = reviewed(tmp_path, {"w": f32(1)}, {"w": f32(0)}).changes
    assert change.gap is not None
    assert (change.gap.max_abs, change.gap.relative, change.gap.norm_change) == (1.0, None, None)


def test_only_the_new_side_is_judged_for_what_is_not_finite(tmp_path: Path) -> None:
    assert reviewed(tmp_path, {"w": f32(1)}, {"w": f32(math.nan)}).problems == ()
    assert [item.kind for item in reviewed(tmp_path, {"w": f32(math.nan)}, {"w": f32(1)}).problems] == ["non-finite"]


@settings(max_examples=40, deadline=None)
@given(
    old=st.lists(st.floats(width=32), min_size=1, max_size=30),
    edits=st.dictionaries(st.integers(0, 29), st.floats(width=32), max_size=5),
)
def test_a_comparison_agrees_with_one_of_lists(
    tmp_path_factory: pytest.TempPathFactory, old: list[float], edits: dict[int, float]
) -> None:
    new = [edits.get(at, value) for at, value in enumerate(old)]
    found = reviewed(tmp_path_factory.mktemp("pair"), {"w": f32(*new)}, {"w": f32(*old)})
    other = [(a, b) for a, b in zip(old, new, strict=True) if a != b and not (math.isnan(a) and math.isnan(b))]
    measured = [abs(b - a) for a, b in other if math.isfinite(a) and math.isfinite(b)]
    if not found.changes:
        assert other == []
        return
    gap = found.changes[0].gap
    assert gap is not None
    assert (gap.differing, gap.not_compared) == (len(other), len(other) - len(measured))
    assert gap.max_abs == max(measured, default=0.0)
