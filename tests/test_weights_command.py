"""`vramguard weights`: exit codes, what is printed, and that it costs nobody else anything."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from weighed import Stored, f32, stored

from vramguard.cli import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BAD: dict[str, Stored] = {"layer.0.w": ("F32", (2, 2), f32(1, 2, math.nan, math.inf)[2]), "i": ("I8", (3,), b"abc")}


def file(path: Path, tensors: Mapping[str, Stored]) -> str:
    path.write_bytes(stored(tensors))
    return str(path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run(["weights", *arguments])
    out = capsys.readouterr()
    return code, out.out + out.err


def test_clean_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = shown(capsys, file(tmp_path / "m.safetensors", {"w": f32(1, 0)}))
    assert code == 0
    assert "1 file, 1 tensor, 2 elements, 8 bytes" in text
    assert re.search(r"digest +sha256:[0-9a-f]{64}\n", text)
    assert "every value that was examined is finite" in text
    assert "min 0" not in text


def test_weights_that_are_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = shown(capsys, file(tmp_path / "m.safetensors", BAD), "--all")
    assert code == 1
    assert "non-finite: a value, or the scale of a block, is NaN or infinite" in text
    assert "layer.0.w, m.safetensors: 1 NaN, 1 +Inf of 4 values, the first at [1, 0]" in text
    assert "examined  no values of 1 tensor of I8" in text
    assert "min 1, max 2, |max| 2, mean 1.5, std 0.5, zeros 0 %, 2 not finite" in text


def test_nothing_to_examine_is_not_called_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = shown(capsys, file(tmp_path / "m.safetensors", {"i": ("I8", (1,), b"a")}))
    assert code == 0
    assert "no problem, and no value was examined" in text


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.ckpt"])
def test_a_pickle_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    code, text = shown(capsys, str(tmp_path / name))
    assert code == 1
    assert f"{name}: not opened, so nothing vouches for what it holds" in text
    assert "pickle: a pickle, or named like one, runs code when it is opened" in text


def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = file(tmp_path / "m.safetensors", {"w": f32(1)})
    for arguments in (["no such"], [], [good, "--against", "no such"], [good, "--output-format", "sarif"]):
        code, text = shown(capsys, *arguments)
        assert (code, text.count("\n")) == (2, 1)


def test_changes_come_the_largest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = file(tmp_path / "old.safetensors", {f"t{n}": f32(1, 1) for n in range(25)} | {"gone": f32(1)})
    new = file(tmp_path / "new.safetensors", {f"t{n}": f32(1, 1 + n / 4) for n in range(25)} | {"more": f32(1)})
    code, text = shown(capsys, new, "--against", old)
    assert code == 0
    assert "1 added, 1 removed, 24 changed, 1 unchanged" in text
    names = re.findall(r"^    (t\d+)  F32 \[2\]: 1 of 2 differ, by at most", text, re.MULTILINE)
    assert names == [f"t{n}" for n in range(24, 4, -1)]
    assert "... and 4 more, with --all and in JSON" in text
    _, whole = shown(capsys, new, "--against", old, "--all")
    assert len(re.findall(r" differ, ", whole)) == 24


def test_json_has_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = file(tmp_path / "old.safetensors", {"layer.0.w": ("F32", (2, 2), f32(1, 1, 1, 1)[2])})
    new = file(tmp_path / "new.safetensors", BAD)
    code, text = shown(capsys, new, "--against", old, "--output-format", "json")
    found: dict[str, Any] = json.loads(text)
    assert code == 1
    assert list(found) == ["schema", "target", "files", "digest", "tensors", "problems", "notes", "against"]
    assert (found["schema"], found["target"]) == ("vramguard.weights/1", new)
    assert found["files"] == [
        {"path": "new.safetensors", "format": "safetensors", "bytes": len(stored(BAD)), "tensors": 2}
    ]
    integer, tensor = found["tensors"]
    assert (integer["examined"], integer["statistics"]) == ("none", None)
    statistics = tensor["statistics"]
    assert (statistics["nan"], statistics["first_non_finite"], statistics["zero_share"]) == (1, [1, 0], 0.0)
    (problem,) = found["problems"]
    assert (problem["kind"], problem["tensor"], problem["of"]) == ("non-finite", "layer.0.w", "target")
    added, changed = found["against"]["changes"]
    assert (added["kind"], added["before"], added["difference"]) == ("added", None, None)
    assert changed["difference"] == {
        "differing": 3,
        "not_compared": 2,
        "max_abs": 1.0,
        "at": [0, 1],
        "relative": 0.5,
        "norm_change": pytest.approx((math.sqrt(5) - 2) / 2),
    }
    assert (changed["before"]["sha256"], found["against"]["unchanged"]) != (tensor["sha256"], 1)


def test_a_written_file_and_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, out = file(tmp_path / "m.safetensors", BAD), tmp_path / "review.json"
    code, text = shown(capsys, target, "--output-format", "json", "-o", str(out))
    assert (code, text.startswith(target)) == (1, True)
    assert json.loads(out.read_text("utf-8"))["schema"] == "vramguard.weights/1"
    shown(capsys, target, "-o", str(out))
    assert "1 NaN, 1 +Inf of 4 values" in out.read_text("utf-8")


def test_names_that_would_command_a_terminal_are_spelt_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = shown(capsys, file(tmp_path / "m.safetensors", {"\x1b[31m\n": f32(math.nan)}), "--all")
    assert code == 1
    assert "\x1b" not in text
    assert "\\x1b[31m\\n" in text


def without(modules: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where these modules cannot be imported."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({modules.split()!r}))"
    script = f"{hide}; from vramguard.cli import run; sys.exit(run(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_without_numpy_one_line_says_what_to_install(tmp_path: Path) -> None:
    target = file(tmp_path / "m.safetensors", {"w": f32(1)})
    done = without("numpy", "weights", target)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "vramguard: error: `weights` needs numpy, which is not installed: pip install 'vramguard[weights]'\n"
    )
    assert without("torch safetensors gguf", "weights", target).returncode == 0
    assert without("numpy", "weights", "--help").returncode == 0


def test_no_other_command_loads_numpy_or_what_reads_weights(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("", "utf-8")
    (tmp_path / "m.safetensors").write_bytes(stored({"w": f32(1)}))
    script = "import sys; from vramguard.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", script, "check", str(tmp_path)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if name.startswith(("numpy", "vramguard.weights"))} == set()


@pytest.mark.skipif(not shutil.which("jq") or not shutil.which("sha256sum"), reason="the recipe takes jq and sha256sum")
def test_the_recipe_of_the_page_gives_the_digest(
    tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (project / "docs" / "weights.md").read_text("utf-8")
    recipe = page.partition("<!-- recipe -->\n```sh\n")[2].partition("```")[0]
    target = file(tmp_path / "m.safetensors", BAD | {'a "b" é\n\\': f32(1), "Z": ("F16", (0, 3), b"")})
    _, text = shown(capsys, target, "--output-format", "json", "-o", str(tmp_path / "weights.json"))
    done = subprocess.run(["sh", "-ec", recipe], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"sha256:{done.stdout.split()[0]}" in text
