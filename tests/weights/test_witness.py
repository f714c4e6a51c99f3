"""What PyTorch says of files that safetensors wrote: another implementation of every number here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from weighed import stored

from vramguard.weights import review

if TYPE_CHECKING:
    from pathlib import Path

    from vramguard.weights import Review, Statistics

NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "C64": "complex64",
}


@pytest.fixture(scope="module")
def torch() -> Any:  # noqa: ANN401 - a package that may be absent
    return pytest.importorskip("torch")


def agree(found: Statistics, values: Any) -> None:  # noqa: ANN401 - a tensor of float64
    """Hold statistics against a tensor of the same values."""
    torch = pytest.importorskip("torch")
    finite = values[torch.isfinite(values)]
    assert found.values == values.numel()
    assert found.nan == int(torch.isnan(values).sum())
    assert (found.positive_inf, found.negative_inf) == (
        int(torch.isposinf(values).sum()),
        int(torch.isneginf(values).sum()),
    )
    assert found.zeros == int((finite == 0).sum())
    assert (found.min, found.max) == (finite.min().item(), finite.max().item())
    assert found.abs_max == finite.abs().max().item()
    assert found.mean == pytest.approx(finite.mean().item(), rel=1e-11, abs=1e-14)
    assert found.std == pytest.approx(finite.std(correction=0).item(), rel=1e-11)
    assert found.norm == pytest.approx(torch.linalg.vector_norm(finite).item(), rel=1e-11)


def statistics(found: Review, name: str) -> Statistics:
    tensor = next(tensor for tensor in found.side.tensors if tensor.name == name)
    assert tensor.statistics is not None
    return tensor.statistics


@pytest.mark.parametrize("dtype", NAMES)
def test_a_file_of_random_values(tmp_path: Path, torch: Any, dtype: str) -> None:  # noqa: ANN401 - as above
    save = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(7)
    values = torch.randn(37, 411, dtype=torch.float64)
    if dtype == "F8_E8M0":
        values = torch.exp2(torch.randint(-100, 100, (37, 411)).double())
    tensor = values.to(getattr(torch, NAMES[dtype]))
    save({"w": tensor, "same": tensor.clone()}, tmp_path / "m.safetensors")
    found = review(tmp_path / "m.safetensors")
    assert {item.dtype for item in found.side.tensors} == {dtype}
    wide = torch.view_as_real(tensor).double() if dtype == "C64" else tensor.double()
    agree(statistics(found, "w"), wide.flatten())


@pytest.mark.parametrize("dtype", [dtype for dtype in NAMES if dtype.startswith("F8")])
def test_every_code_of_eight_bits(tmp_path: Path, torch: Any, dtype: str) -> None:  # noqa: ANN401 - as above
    raw = bytes(range(256))
    values = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(getattr(torch, NAMES[dtype])).double()
    for code in range(256):
        (tmp_path / "m.safetensors").write_bytes(stored({"w": (dtype, (1,), raw[code : code + 1])}))
        found = statistics(review(tmp_path / "m.safetensors"), "w")
        value = values[code].item()
        assert (found.nan, found.positive_inf + found.negative_inf) == (math.isnan(value), math.isinf(value)), code
        assert found.mean == (value if math.isfinite(value) else None), code
    (tmp_path / "m.safetensors").write_bytes(stored({"w": (dtype, (256,), raw)}))
    agree(statistics(review(tmp_path / "m.safetensors"), "w"), values)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_code_of_sixteen_bits(tmp_path: Path, torch: Any, dtype: str) -> None:  # noqa: ANN401 - as above
    raw = np.arange(65536, dtype=np.uint16).tobytes()
    (tmp_path / "m.safetensors").write_bytes(stored({"w": (dtype, (256, 256), raw)}))
    values = torch.frombuffer(bytearray(raw), dtype=getattr(torch, NAMES[dtype])).double()
    agree(statistics(review(tmp_path / "m.safetensors"), "w"), values)


def test_two_values_in_a_byte(tmp_path: Path, torch: Any) -> None:  # noqa: ANN401 - as above
    """F4 as safetensors writes torch's packed type: bytes and shape are what its own reader gives back."""
    (tmp_path / "m.safetensors").write_bytes(stored({"w": ("F4", (2, 256), bytes(range(256)))}))
    opened = pytest.importorskip("safetensors").safe_open(tmp_path / "m.safetensors", "pt")
    with opened as file:
        packed = file.get_tensor("w")
    assert packed.view(torch.uint8).flatten().tolist() == list(range(256))
    found = statistics(review(tmp_path / "m.safetensors"), "w")
    assert (found.values, found.zeros, found.min, found.max, found.mean) == (512, 64, -6.0, 6.0, 0.0)


def test_a_comparison_of_a_checkpoint_before_and_after_a_step(tmp_path: Path, torch: Any) -> None:  # noqa: ANN401 - as above
    save = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(1)
    old = {name: torch.randn(64, 33).to(torch.bfloat16) for name in ("a", "b", "c")}
    new = {name: tensor.clone() for name, tensor in old.items()}
    new["b"] += (torch.rand(64, 33) < 0.1) * torch.randn(64, 33).to(torch.bfloat16)
    new["c"] = new["c"].to(torch.float16)
    save(old, tmp_path / "old.safetensors")
    save(new, tmp_path / "new.safetensors")
    found = review(tmp_path / "new.safetensors", tmp_path / "old.safetensors")
    assert [(change.name, change.kind) for change in found.changes] == [("b", "changed"), ("c", "retyped")]
    for change in found.changes:
        before, after = old[change.name].double(), new[change.name].double()
        gap, distance = change.gap, (after - before).abs()
        assert gap is not None
        assert (gap.differing, gap.max_abs) == (int((before != after).sum()), distance.max().item())
        if gap.differing:
            assert gap.at == int(distance.argmax())
        norms = [torch.linalg.vector_norm(values).item() for values in (before, after)]
        assert gap.relative == pytest.approx(torch.linalg.vector_norm(distance).item() / norms[0], rel=1e-10)
        assert gap.norm_change == pytest.approx((norms[1] - norms[0]) / norms[0], rel=1e-8, abs=1e-15)
