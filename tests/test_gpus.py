"""The catalogue of cards: under what names clouds, node labels and tools know them, and what machines have them."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from fractions import Fraction
from importlib.resources import files
from itertools import chain

import pytest
from llama import LLAMA_8B

from vramguard.checks.vram import device
from vramguard.data import Gpu, gpu, gpus, instance, instances
from vramguard.memory import Answer, UnprovenError, Workload, prove

GIB = 1 << 30

# Where a label comes from -> the row -> the labels.
LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "nvidia-smi, torch and DCGM's modelName": {
        "h100-sxm5-80gb": ("NVIDIA H100 80GB HBM3",),
        "h100-pcie-80gb": ("NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM2e"),
        "h100-nvl-94gb": ("NVIDIA H100 NVL",),
        "h800-80gb": ("NVIDIA H800", "NVIDIA H800 PCIe", "NVIDIA H800 SXM5 80GB"),
        "h20-96gb": ("NVIDIA H20",),
        "h200-141gb": ("NVIDIA H200", "NVIDIA H200 NVL"),
        "gh200-96gb": ("NVIDIA GH200 480GB", "NVIDIA GH200 120GB"),
        "gh200-144gb": ("NVIDIA GH200 144G HBM3e",),
        "b200-180gb": ("NVIDIA B200",),
        "gb200-186gb": ("NVIDIA GB200",),
        "b300-288gb": ("NVIDIA B300 SXM6 AC",),
        "gb300-288gb": ("NVIDIA GB300",),
        "rtx-pro-6000-96gb": (
            "NVIDIA RTX PRO 6000 Blackwell Server Edition",
            "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
            "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        ),
        "rtx-5090-32gb": ("NVIDIA GeForce RTX 5090",),
        "a100-sxm4-40gb": ("NVIDIA A100-SXM4-40GB",),
        "a100-pcie-40gb": ("NVIDIA A100-PCIE-40GB",),
        "a100-sxm4-80gb": ("NVIDIA A100-SXM4-80GB",),
        "a100-pcie-80gb": ("NVIDIA A100 80GB PCIe",),
        "a800-80gb": ("NVIDIA A800-SXM4-80GB", "NVIDIA A800 80GB PCIe"),
        "a30-24gb": ("NVIDIA A30",),
        "a10g-24gb": ("NVIDIA A10G",),
        "a10-24gb": ("NVIDIA A10",),
        "a40-48gb": ("NVIDIA A40",),
        "rtx-a6000-48gb": ("NVIDIA RTX A6000",),
        "rtx-a5000-24gb": ("NVIDIA RTX A5000",),
        "rtx-3090-24gb": ("NVIDIA GeForce RTX 3090",),
        "l4-24gb": ("NVIDIA L4",),
        "l40-48gb": ("NVIDIA L40",),
        "l40s-48gb": ("NVIDIA L40S",),
        "rtx-6000-ada-48gb": ("NVIDIA RTX 6000 Ada Generation",),
        "rtx-4090-24gb": ("NVIDIA GeForce RTX 4090",),
        "t4-16gb": ("Tesla T4",),
        "v100-16gb": ("Tesla V100-SXM2-16GB", "Tesla V100-PCIE-16GB", "Tesla V100-FHHL-16GB"),
        "v100-32gb": (
            "Tesla V100-SXM2-32GB",
            "Tesla V100-PCIE-32GB",
            "Tesla V100S-PCIE-32GB",
            "Tesla V100-SXM3-32GB",
        ),
    },
    "nvidia.com/gpu.product of GPU feature discovery": {
        "h100-sxm5-80gb": ("NVIDIA-H100-80GB-HBM3",),
        "a100-sxm4-40gb": ("NVIDIA-A100-SXM4-40GB",),
        "t4-16gb": ("Tesla-T4",),
        "v100-16gb": ("Tesla-V100-SXM2-16GB",),
        "rtx-4090-24gb": ("NVIDIA-GeForce-RTX-4090",),
        "gh200-96gb": ("NVIDIA-GH200-480GB",),
        "b300-288gb": ("NVIDIA-B300",),
    },
    "cloud.google.com/gke-accelerator, and Vertex AI's AcceleratorType": {
        "t4-16gb": ("nvidia-tesla-t4", "NVIDIA_TESLA_T4"),
        "v100-16gb": ("nvidia-tesla-v100", "NVIDIA_TESLA_V100"),
        "l4-24gb": ("nvidia-l4", "NVIDIA_L4"),
        "a100-sxm4-40gb": ("nvidia-tesla-a100", "NVIDIA_TESLA_A100"),
        "a100-sxm4-80gb": ("nvidia-a100-80gb", "NVIDIA_A100_80GB"),
        "h100-sxm5-80gb": ("nvidia-h100-80gb", "nvidia-h100-mega-80gb", "nvidia-tesla-h100", "NVIDIA_H100_MEGA_80GB"),
        "h200-141gb": ("nvidia-h200-141gb",),
        "b200-180gb": ("nvidia-b200",),
        "gb200-186gb": ("nvidia-gb200",),
        "gb300-288gb": ("nvidia-gb300",),
        "rtx-pro-6000-96gb": ("nvidia-rtx-pro-6000",),
    },
    "karpenter.k8s.aws/instance-gpu-name": {
        "t4-16gb": ("t4",),
        "v100-16gb": ("v100",),
        "a10g-24gb": ("a10g",),
        "l4-24gb": ("l4",),
        "l40s-48gb": ("l40s",),
        "a100-sxm4-40gb": ("a100",),
        "h100-sxm5-80gb": ("h100",),
        "h200-141gb": ("h200",),
        "b200-180gb": ("b200",),
        "b300-288gb": ("b300",),
        "rtx-pro-6000-96gb": ("rtx-pro-server-6000",),
    },
    "SkyPilot's accelerators, and the GPUs of dstack": {
        "h100-sxm5-80gb": ("H100", "H100-80GB", "H100-SXM", "H100-SXM5", "H100-MEGA-80GB", "H100-80GB-SXM"),
        "h100-pcie-80gb": ("H100-PCIe", "H100-80GB-PCIe"),
        "h100-nvl-94gb": ("H100-NVL", "H100NVL", "H100-94GB"),
        "h200-141gb": ("H200", "H200-SXM", "H200-NVL", "H200NVL"),
        "h800-80gb": ("H800",),
        "h20-96gb": ("H20",),
        "gh200-96gb": ("GH200", "GH200-SXM"),
        "b200-180gb": ("B200", "B200-SXM"),
        "gb200-186gb": ("GB200",),
        "gb300-288gb": ("GB300",),
        "a100-sxm4-40gb": ("A100", "A100-40GB", "A100-40GB-SXM"),
        "a100-pcie-40gb": ("A100-40GB-PCIe",),
        "a100-sxm4-80gb": ("A100-80GB", "A100-80GB-SXM"),
        "a100-pcie-80gb": ("A100-80GB-PCIe",),
        "a800-80gb": ("A800",),
        "a30-24gb": ("A30",),
        "a10-24gb": ("A10",),
        "a40-48gb": ("A40",),
        "rtx-a6000-48gb": ("A6000", "RTXA6000", "A6000-48GB"),
        "rtx-a5000-24gb": ("A5000", "RTXA5000", "A5000-24GB"),
        "l40-48gb": ("L40",),
        "rtx-6000-ada-48gb": ("RTX6000-Ada", "RTX6000Ada"),
        "rtx-3090-24gb": ("RTX3090", "RTX3090-24GB"),
        "rtx-4090-24gb": ("RTX4090", "RTX4090-24GB"),
        "rtx-5090-32gb": ("RTX5090", "RTX5090-32GB"),
        "rtx-pro-6000-96gb": ("RTXPRO6000", "RTXPRO6000-96GB"),
        "v100-32gb": ("V100-32GB",),
        "mi300x-192gb": ("MI300X",),
        "gaudi3-128gb": ("Gaudi3",),
    },
    "Modal's gpu": {
        "t4-16gb": ("T4",),
        "l4-24gb": ("L4",),
        "a10-24gb": ("A10",),
        "l40s-48gb": ("L40S",),
        "a100-sxm4-40gb": ("A100", "A100-40GB"),
        "a100-sxm4-80gb": ("A100-80GB",),
        "rtx-pro-6000-96gb": ("RTX-PRO-6000",),
        "h100-sxm5-80gb": ("H100", "H100!"),
        "h200-141gb": ("H200",),
        "b200-180gb": ("B200", "B200+"),
    },
    "RunPod's names of cards": {
        "h100-sxm5-80gb": ("H100 SXM",),
        "a100-sxm4-80gb": ("A100 SXM",),
        "a100-pcie-80gb": ("A100 PCIe",),
        "rtx-3090-24gb": ("RTX 3090",),
        "rtx-4090-24gb": ("RTX 4090",),
        "rtx-5090-32gb": ("RTX 5090",),
        "rtx-a6000-48gb": ("RTX A6000",),
        "rtx-a5000-24gb": ("RTX A5000",),
        "rtx-6000-ada-48gb": ("RTX 6000 Ada",),
        "mi300x-192gb": ("AMD Instinct MI300X OAM",),
    },
    "gpu.nvidia.com/model of CoreWeave": {
        "h100-sxm5-80gb": ("H100_NVLINK_80GB",),
        "a100-sxm4-80gb": ("A100_NVLINK_80GB",),
        "a100-pcie-80gb": ("A100_PCIE_80GB",),
        "a100-sxm4-40gb": ("A100_NVLINK", "A100_NVLINK_40GB"),
        "a100-pcie-40gb": ("A100_PCIE_40GB",),
        "gh200-96gb": ("GH200_480GB",),
        "rtx-a6000-48gb": ("RTX_A6000",),
        "rtx-a5000-24gb": ("RTX_A5000",),
    },
    "gpu-name of Volcengine's machines (aibrix's samples)": {
        "h20-96gb": ("NVIDIA-H20-SXM5-96GB",),
        "a100-sxm4-80gb": ("Tesla-A100-80G", "A100-80G"),
        "v100-16gb": ("Tesla-V100",),
    },
    "Accelerator of Truss (truss, base/truss_config.py): a half of a card by MIG": {
        "h100-80gb-mig-3g.40gb": ("H100_40GB",),
    },
    "amd.com/gpu.product-name, rocm-smi, and ROCm's names": {
        "mi250x-64gb": (
            "MI250X",
            "MI250",
            "AMD Instinct MI250X",
            "AMD_Instinct_MI250X_MI250",
            "AMD_Instinct_MI250",
            "AMD INSTINCT MI250 (MCM) OAM AC MBA",
        ),
        "mi300x-192gb": (
            "AMD_Instinct_MI300X_OAM",
            "AMD-Instinct-MI300X",
            "AMD-Instinct-MI300X-VF",
            "AMD-MI300X-192G",
        ),
        "mi325x-256gb": ("AMD_Instinct_MI325_OAM", "AMD_Instinct_MI325X_OAM", "AMD Instinct MI325X", "MI325X"),
        "mi355x-288gb": ("AMD Instinct MI355X", "AMD_Instinct_MI355X_OAM", "MI355X"),
    },
    "hl-smi, and Intel's names": {
        "gaudi3-128gb": ("HL-325L", "HL-325", "HL-338", "Intel Gaudi 3", "Intel Gaudi3", "Gaudi 3"),
    },
    "how people write it": {
        "h100-sxm5-80gb": ("NVIDIA H100", "NVIDIA H100 80GB", "H100 80GB", "H100 80GB HBM3"),
        "a100-sxm4-40gb": ("NVIDIA A100", "A100 40GB"),
        "a100-sxm4-80gb": ("A100 80GB",),
        "gh200-96gb": ("NVIDIA GH200",),
        "gh200-144gb": ("NVIDIA GH200 144G",),
        "t4-16gb": ("NVIDIA T4",),
        "v100-16gb": ("NVIDIA V100",),
        "rtx-3090-24gb": ("GeForce RTX 3090",),
        "rtx-4090-24gb": ("GeForce RTX 4090",),
        "rtx-5090-32gb": ("GeForce RTX 5090",),
        "rtx-pro-6000-96gb": ("RTX PRO 6000 Blackwell",),
        "rtx-6000-ada-48gb": ("RTX 6000 Ada Generation",),
    },
}
PRODUCTS = {  # of a card that is cut, as GPU feature discovery's single strategy and torch name its slices
    "a100-40gb": ("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"),
    "a100-80gb": ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"),
    "h100-80gb": ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe"),
    "h100-nvl-94gb": ("NVIDIA-H100-NVL",),
    "gh200-96gb": ("NVIDIA-GH200-480GB",),
    "h200-141gb": ("NVIDIA-H200", "NVIDIA-H200-NVL"),
    "rtx-pro-6000": ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",),
}
MIG = {name: (name.partition("-mig-")[0], name.partition("-mig-")[2]) for name in gpus() if "-mig-" in name}
PAIRS = [(label, row, where) for where, rows in LABELS.items() for row, labels in rows.items() for label in labels]


def plain(label: str) -> str:
    """What the look-up compares."""
    return re.sub("[_ ]", "-", label).casefold()


@pytest.mark.parametrize(("label", "row", "where"), PAIRS)
def test_labels(label: str, row: str, where: str) -> None:
    found = gpu(label)
    assert found is not None, where
    assert found.name == row, where


@pytest.mark.parametrize("name", MIG)
def test_labels_of_slices(name: str) -> None:
    card, profile = MIG[name]
    for product in PRODUCTS[card]:
        assert gpu(f"{product}-MIG-{profile}") == gpu(f"{product} MIG {profile}") == gpus()[name]  # label, torch
        if profile.startswith("1g"):
            assert gpu(f"{product}-MIG-{profile}.me") == gpus()[name]  # with the media engines


def test_every_alias_has_its_origin() -> None:
    slices = {f"{product}-mig-{profile}" for card, profile in MIG.values() for product in PRODUCTS[card]}
    profiles = {form.format(p) for _, p in MIG.values() for form in ("{}", "mig-{}", "{}+me", "mig-{}.me")}
    known = {label for label, _, _ in PAIRS} | slices | {f"{name}.me" for name in slices} | profiles
    said = set(map(plain, known))
    assert len(PAIRS) >= 80
    assert [word for row in gpus().values() for word in row.aliases if plain(word) not in said] == []


def test_names_are_unambiguous() -> None:
    words = Counter(plain(word) for row in gpus().values() for word in (row.name, *row.aliases))
    assert [word for word, times in words.items() if times > 1] == []


@pytest.mark.parametrize("row", gpus().values(), ids=gpus())
def test_each_card_is_plausible(row: Gpu) -> None:
    named = int(re.split("[-.]", row.name)[-1].removesuffix("gb"))
    assert named * 9 * 10**8 < row.capacity_bytes < named * GIB  # nine tenths of its GB, and less than its GiB
    assert row.multiprocessors > 0
    assert row.source
    assert date.fromisoformat(row.date) <= date(2030, 1, 1)
    assert row.vendor in ("nvidia", "amd", "intel")
    assert (float(row.compute_capability) >= 7) == (row.vendor == "nvidia")


def test_capacity_is_the_lower_edge_of_what_was_printed() -> None:
    text = (files("vramguard.data") / "gpus.toml").read_text(encoding="utf-8")
    rows = re.findall(r"^capacity_bytes = (\d+)  # ([\d.]+) (GiB|MiB)$", text, re.MULTILINE)
    assert len(rows) == len(gpus())
    for capacity, printed, unit in rows:
        step = Fraction(1, 10 ** len(printed.partition(".")[2]))
        low = (Fraction(printed) - step / 2) * GIB if unit == "GiB" else int(printed) << 20  # torch floors to MiB
        assert int(capacity) == low // 1, printed


@pytest.mark.parametrize(
    ("bare", "cards"),
    [
        ("A100", ("a100-sxm4-40gb", "a100-pcie-40gb", "a100-sxm4-80gb", "a100-pcie-80gb")),
        ("H100", ("h100-sxm5-80gb", "h100-pcie-80gb", "h100-nvl-94gb")),
        ("V100", ("v100-16gb", "v100-32gb")),
        ("GH200", ("gh200-96gb", "gh200-144gb")),
        ("B200+", ("b200-180gb", "b300-288gb")),
    ],
)
def test_a_bare_name_is_the_smallest_card(bare: str, cards: tuple[str, ...]) -> None:
    found = gpu(bare)
    assert found is not None
    assert found.name in cards
    assert found.capacity_bytes == min(gpus()[card].capacity_bytes for card in cards)


@pytest.mark.parametrize("profile", sorted({profile for _, profile in MIG.values()}))
def test_a_bare_profile_is_the_smallest_slice(profile: str) -> None:
    slices = [gpus()[name] for name, (_, found) in MIG.items() if found == profile]
    found = gpu(f"nvidia.com/mig-{profile}")
    if profile == "7g.80gb":  # vLLM's defaults for an A100 are not those for an H100: no row is the worse of the two
        assert found is None
        return
    assert found is not None
    assert found == gpu(profile)
    assert found.capacity_bytes == min(row.capacity_bytes for row in slices)
    rivals = [row for row in slices if row.capacity_bytes == found.capacity_bytes]
    assert float(found.compute_capability) == max(float(row.compute_capability) for row in rivals)


def test_a_slice_is_no_more_than_its_card() -> None:
    for name, (card, _) in MIG.items():
        whole = [gpu(product) for product in PRODUCTS[card]]
        assert all(one is not None and gpus()[name].capacity_bytes <= one.capacity_bytes for one in whole), name
        assert max(one.multiprocessors for one in whole if one) >= gpus()[name].multiprocessors


@pytest.mark.parametrize("name", ["", "nvidia", "gpu", "h10", "NVIDIA-L40S-SHARED", "rtx6000", "mig-1g.23gb", "t4g"])
def test_names_of_no_card(name: str) -> None:
    assert gpu(name) is None


def test_the_tiers_of_vllm_follow_from_name_and_capacity() -> None:
    """From 160 GiB; from 70 GiB without a100 in the name (vLLM 0.33.0, engine/arg_utils.py, get_batch_defaults)."""
    large = {name for name, row in gpus().items() if row.vendor == "nvidia" and row.capacity_bytes >= 160 * GIB}
    assert large == {"b200-180gb", "gb200-186gb", "b300-288gb", "gb300-288gb"}
    middle = {n for n, row in gpus().items() if 70 * GIB <= row.capacity_bytes < 160 * GIB and "a100" not in n}
    assert middle >= {"h100-sxm5-80gb", "h100-pcie-80gb", "h100-nvl-94gb", "h200-141gb", "h20-96gb", "a800-80gb"}
    ampere = {row.name for word in ("A100", "A100 80GB", "NVIDIA-A100-80GB-PCIe-MIG-7g.80gb") if (row := gpu(word))}
    assert all("a100" in name for name in ampere)
    assert len(ampere) == 3


@pytest.mark.parametrize("name", [name for name, row in gpus().items() if row.vendor != "nvidia"])
def test_a_card_of_another_vendor_is_known_and_not_proved(name: str) -> None:
    card = device(name)
    with pytest.raises(UnprovenError, match=card.vendor):
        assert card.generation
    proof = prove(LLAMA_8B, Workload(gpu=name, max_model_len=1024), card, Fraction(4, 5))
    assert proof.answer is Answer.UNKNOWN
    assert name in (proof.reason or "")


@pytest.mark.parametrize(
    ("name", "row", "count"),
    [
        ("p5.48xlarge", "h100-sxm5-80gb", 8),
        ("p4d.24xlarge", "a100-sxm4-40gb", 8),
        ("p4de.24xlarge", "a100-sxm4-80gb", 8),
        ("p3dn.24xlarge", "v100-32gb", 8),
        ("g5.12xlarge", "a10g-24gb", 4),
        ("ml.g5.48xlarge", "a10g-24gb", 8),
        ("ml.g6.2xlarge", "l4-24gb", 1),
        ("g6e.24xlarge", "l40s-48gb", 4),
        ("g4dn.metal", "t4-16gb", 8),
        ("p5e.48xlarge", "h200-141gb", 8),
        ("p6-b200.48xlarge", "b200-180gb", 8),
        ("a2-highgpu-4g", "a100-sxm4-40gb", 4),
        ("a2-ultragpu-2g", "a100-sxm4-80gb", 2),
        ("a3-highgpu-8g", "h100-sxm5-80gb", 8),
        ("a3-megagpu-8g", "h100-sxm5-80gb", 8),
        ("a3-ultragpu-8g", "h200-141gb", 8),
        ("a4-highgpu-8g", "b200-180gb", 8),
        ("g2-standard-24", "l4-24gb", 2),
        ("g2-standard-32", "l4-24gb", 1),
        ("Standard_NC24ads_A100_v4", "a100-pcie-80gb", 1),
        ("standard_nc40ads_h100_v5", "h100-nvl-94gb", 1),
        ("Standard_ND96isr_H100_v5", "h100-sxm5-80gb", 8),
        ("Standard_ND96isr_H200_v5", "h200-141gb", 8),
        ("Standard_ND96asr_v4", "a100-sxm4-40gb", 8),
        ("Standard_ND96amsr_A100_v4", "a100-sxm4-80gb", 8),
        ("Standard_NC64as_T4_v3", "t4-16gb", 4),
        ("BM.GPU.MI300X.8", "mi300x-192gb", 8),
    ],
)
def test_machines(name: str, row: str, count: int) -> None:
    found = instance(name)
    assert found is not None
    assert (found.gpu, found.gpus) == (row, count)


def test_each_machine_has_cards_of_the_catalogue() -> None:
    for found in instances().values():
        assert found.gpu in gpus(), found.name
        assert 1 <= found.gpus <= 16
        assert found.source
        assert date.fromisoformat(found.date) <= date(2030, 1, 1)
    words = list(chain(map(plain, instances()), map(plain, gpus())))
    assert len(words) == len(set(words))


@pytest.mark.parametrize("name", ["", "m5.large", "g5g.xlarge", "g6f.large", "Standard_NV6ads_A10_v5", "n1-standard-8"])
def test_machines_without_a_whole_card_of_ours(name: str) -> None:
    assert instance(name) is None
