"""Path classes by the names of folders."""

from __future__ import annotations

import pytest
from timed import within

from vramguard.classes import classifier
from vramguard.facts import PathClass


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("requirements.txt", "serving"),
        ("src/model/config.json", "serving"),
        ("latest/config.json", "serving"),
        ("contest/config.json", "serving"),
        ("training/requirements.txt", "training"),
        ("fine-tuning/a.txt", "training"),
        ("tests/a.txt", "test"),
        ("unit_tests/a.txt", "test"),
        ("Test/fixtures/config.json", "test"),
        ("tests/docs/a.txt", "test"),
        ("docs/examples/a.txt", "docs"),
        ("examples/training/a.txt", "example"),
        ("third_party/tests/a.txt", "vendored"),
        ("dist/a.txt", "generated"),
        ("doc", "docs"),
        ("shop/price_test.py", "test"),
        ("shop/test_price.py", "test"),
        ("shop/latest.py", "serving"),
        ("requirements-dev.txt", "test"),
        ("dev-requirements.in", "test"),
        ("requirements.test.unit.txt", "test"),
        ("requirements/lint.txt", "test"),
        ("requirements_docs.txt", "docs"),
        ("requirements-devices.txt", "serving"),
        ("requirements-gpu.txt", "serving"),
    ],
)
def test_a_class_is_told_by_the_names(path: str, expected: str) -> None:
    assert classifier({})(path) is PathClass(expected)


def test_configured_patterns_come_first() -> None:
    classify = classifier({"serving": ("tests/live/",), "docs": ("*.txt",)})
    assert classify("tests/live/a.txt") is PathClass.SERVING
    assert classify("tests/a.txt") is PathClass.DOCS
    assert classify("tests/a.json") is PathClass.TEST


@pytest.mark.parametrize(
    "path",
    [
        "test_" * 4000,
        "a_test" * 4000,
        "/".join("tests_x" * 4000),
        "_-" * 10_000,
        "requirements-" * 3000,
        "requirements-dev" * 3000,
    ],
)
def test_long_paths_take_little_time(path: str) -> None:
    with within(1):
        classifier({})(path)
