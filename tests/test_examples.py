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
    "models/recommender/config.json": [("VG201", "deploy/recommender.yaml"), ("VG208", "storefront/recommender.py")],
    "deploy/recommender.yaml": [("VG207", "deploy/recommender.yaml"), ("VG706", "deploy/recommender.yaml")],
    "deploy/assistant.yaml": [
        ("VG201", "deploy/assistant.yaml"),
        ("VG204", "deploy/assistant.yaml"),
        ("VG310", "deploy/assistant.yaml"),
    ],
    "deploy/autoscaler.yaml": [("VG601", "deploy/autoscaler.yaml")],
    "deploy/haproxy.cfg": [("VG607", "deploy/haproxy.cfg")],
    "deploy/gateway.yaml": [
        ("VG405", "deploy/gateway.yaml"),
        ("VG405", "deploy/gateway.yaml"),
        ("VG406", "deploy/gateway.yaml"),
        ("VG407", "deploy/gateway.yaml"),
    ],
    "monitoring/alerts.yaml": [("VG604", "monitoring/alerts.yaml")],
    ".github/workflows/retrain.yml": [
        ("VG501", ".github/workflows/retrain.yml"),
        ("VG503", ".github/workflows/retrain.yml"),
        ("VG505", ".github/workflows/retrain.yml"),
    ],
    "Dockerfile": [("VG707", "Dockerfile")],
    "storefront/recommender.py": [("VG301", "storefront/recommender.py")],
    "storefront/pricing.py": [
        ("VG302", "storefront/pricing.py"),
        ("VG303", "storefront/pricing.py"),
        ("VG305", "storefront/pricing.py"),
    ],
    "storefront/monitor.py": [("VG306", "storefront/monitor.py")],
    "storefront/health.py": [("VG309", "storefront/health.py"), ("VG310", "deploy/recommender.yaml")],
    "storefront/fallback.py": [("VG401", "storefront/feed.py"), ("VG406", "storefront/fallback.py")],
    "training/scrape.py": [("VG521", "training/scrape.py")],
    "data/products.csv": [("VG527", "data/products.csv")],
    "training/dataset.py": [("VG522", "training/dataset.py")],
    "training/train.py": [("VG307", "training/train.py")],
    "training/retrain.py": [("VG502", "training/retrain.py"), ("VG503", "training/retrain.py")],
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
    assert findings(root) == sorted(DEFECTS[name])


def test_the_two_differ_in_nothing_but_the_defects() -> None:
    def files(root: Path) -> dict[str, bytes]:
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    before, after = files(INCIDENT), files(FIXED)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed - {"README.md", "requirements.in"} == set(DEFECTS)


def test_the_incident_says_how_much_would_spill() -> None:
    report = judge(INCIDENT)
    proof = next(proven.proof for proven in report.proofs if proven.proof.workload.device_map == "auto")
    assert proof.device.name == "a100-sxm4-40gb"
    assert proof.model_weight_bytes == 141_107_412_992  # 70,553,706,496 parameters of two bytes
    over = proof.model_weight_bytes - proof.device.capacity_bytes
    # Whole layers leave the card, and so does the room that the largest needs to come back.
    assert over < proof.spill_bytes < over + 8 * 2**30
    words = {found.id: found.message for found in report.findings}
    assert f"{proof.spill_bytes / 2**30:.2f} GiB spill to the CPU silently" in words["VG208"]


def test_the_incident_names_the_context_that_ate_the_cache() -> None:
    (proof,) = (proven.proof for proven in judge(INCIDENT).proofs if proven.proof.workload.engine == "vllm")
    # Keys and values of 40 layers, 40 heads, 128 wide, two bytes each, for every token; one block more for the null.
    cache = 2 * 40 * 40 * 128 * 2 * 131_072
    assert proof.totals is not None
    assert cache <= proof.totals.kv_cache_bytes < cache + 32 * 2**20
    assert 32_768 < (proof.max_fitting_model_len or 0) < 131_072


def test_findings_stand_on_the_lines_that_would_mend_them() -> None:
    found = {(item.id, item.at.path): item.at.line for item in judge(INCIDENT).findings}

    def text(path: str, id_: str) -> str:
        return (INCIDENT / path).read_text("utf-8").splitlines()[found[id_, path] - 1]

    assert "nvidia.com/gpu: 1" in text("deploy/recommender.yaml", "VG201")
    assert 'device_map="auto"' in text("storefront/recommender.py", "VG208")
    assert "--max-model-len=131072" in text("deploy/assistant.yaml", "VG201")
    assert 'value: "true"' in text("deploy/recommender.yaml", "VG207")


@pytest.mark.parametrize(
    ("rule", "chain"),
    [
        ("VG306", ["storefront/fallback.py", "storefront/feed.py"]),  # from the network to the storefront
        ("VG601", ["deploy/autoscaler.yaml", "deploy/recommender.yaml"]),
        ("VG406", ["storefront/fallback.py"]),
        ("VG406", ["deploy/gateway.yaml"]),
        ("VG607", ["deploy/haproxy.cfg", "deploy/recommender.yaml"]),
        ("VG501", [".github/workflows/retrain.yml", "training/train.py"]),
        ("VG707", ["Dockerfile"]),
        ("VG307", ["training/train.py"]),
        ("VG305", ["storefront/fallback.py", "storefront/pricing.py"]),
        ("VG502", ["training/retrain.py"]),
        ("VG521", ["training/scrape.py"]),
    ],
)
def test_findings_show_the_way_that_led_to_them(rule: str, chain: list[str]) -> None:
    found = [item for item in judge(INCIDENT).findings if item.id == rule]
    assert any(set(chain) <= {item.at.path, *(link.at.path for link in item.evidence)} for item in found)
    assert all(len(item.evidence) > 1 for item in found)
