"""The outage, and its mending: one change per defect, and each one that is taken back brings its finding back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vramguard import engine
from vramguard.discover import WorkTree
from vramguard.memory import Answer

EXAMPLES = Path(__file__).parent.parent / "examples"
INCIDENT, FIXED = EXAMPLES / "incident-882", EXAMPLES / "incident-882-fixed"

# Each defect: the file that carries it, and the findings (id, path) that it brings.
DEFECTS = {
    "requirements.txt": [("VG101", "requirements.txt")] * 5,
    "requirements-quantization.txt": [("VG102", "requirements-quantization.txt")],
    "poetry.lock": [("VG103", "pyproject.toml")],
    "models/recommender/config.json": [("VG201", "vramguard.toml")],
    "models/assistant/config.json": [("VG201", "vramguard.toml")],
}


def judge(root: Path) -> engine.Report:
    tree = WorkTree(root)
    return engine.check(tree, engine.load_policy(tree))


def findings(root: Path) -> list[tuple[str, str]]:
    return sorted((found.id, found.at.path) for found in judge(root).findings)


def test_the_incident_is_rejected_for_every_defect() -> None:
    assert findings(INCIDENT) == sorted(item for brought in DEFECTS.values() for item in brought)


def test_the_mended_repository_passes_with_both_models_proved() -> None:
    report = judge(FIXED)
    assert report.findings == []
    assert report.suppressed == []
    assert [proven.proof.answer for proven in report.proofs] == [Answer.FITS, Answer.FITS]


@pytest.mark.parametrize("name", DEFECTS)
def test_taking_one_change_back_brings_back_its_finding_and_no_other(name: str, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    shutil.copytree(FIXED, root)
    (root / name).unlink()
    if (INCIDENT / name).exists():
        shutil.copy(INCIDENT / name, root / name)
    assert findings(root) == DEFECTS[name]


def test_the_two_differ_in_nothing_but_the_defects() -> None:
    def files(root: Path) -> dict[str, bytes]:
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    before, after = files(INCIDENT), files(FIXED)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed - {"README.md", "requirements.in"} == set(DEFECTS)


def test_the_incident_says_how_much_would_spill() -> None:
    proof = judge(INCIDENT).proofs[0].proof
    assert proof.workload.device_map == "auto"
    assert proof.model_weight_bytes is not None
    over = proof.model_weight_bytes - proof.device.capacity_bytes
    # Whole layers leave the card, and so does the room that the largest needs to come back.
    assert over < proof.spill_bytes < over + 8 * 2**30
