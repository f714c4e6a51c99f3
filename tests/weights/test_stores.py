"""Which files are read, which are not, and what is said about them."""

from __future__ import annotations

import math
import os
import pickle
from typing import TYPE_CHECKING

import pytest
from weighed import Stored, f32, stored
from weights import index

from vramguard.schema import ConfigError
from vramguard.weights import Review, review

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Made = Callable[[Mapping[str, bytes | str]], Path]

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Made:
    def make(files: Mapping[str, bytes | str]) -> Path:
        for name, content in files.items():
            path = tmp_path / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / "model"

    return make


def part(*names: str, value: float = 1) -> bytes:
    tensors: dict[str, Stored] = {name: f32(value) for name in names}
    return stored(tensors)


def said(found: Review) -> list[tuple[str, str | None, str]]:
    return [(item.kind, item.file, item.message) for item in found.problems]


def noted(found: Review) -> list[tuple[str, str | None, str]]:
    return [(item.kind, item.file, item.message) for item in found.notes]


def test_all_files_of_a_folder_are_its_weights(folder: Made) -> None:
    files: dict[str, bytes | str] = {
        "a.safetensors": part("a"),
        "b.SAFETENSORS": part("b"),
        ".c.safetensors": part("a"),
    }
    found = review(folder(files | {"config.json": "{}"}))
    assert [(file.path, file.format, file.tensors) for file in found.side.files] == [
        ("a.safetensors", "safetensors", 1),
        ("b.SAFETENSORS", "safetensors", 1),
    ]
    assert (found.problems, found.notes) == ((), ())


def test_several_models_in_a_folder_are_not_one(folder: Made) -> None:
    root = folder({"model.safetensors": part("w"), "model.fp16.safetensors": part("w")})
    with pytest.raises(ConfigError, match=r"both hold 'w': these are several models; name one"):
        review(root)
    assert review(root / "model.safetensors").problems == ()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": "{}"}, "holds no weights$"),
        ({"config.json": "{}", "unet/model.safetensors": part("w")}, "holds no weights; there are some in unet$"),
    ],
)
def test_a_folder_without_weights_is_bad_usage(folder: Made, files: Mapping[str, bytes | str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        review(folder(files))


def test_what_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    for name in ("none.safetensors", "x" * 5000):
        with pytest.raises(ConfigError, match=name[:20]):
            review(tmp_path / name)


def test_weights_in_folders_below_are_noted(folder: Made) -> None:
    found = review(folder({"model.safetensors": part("w"), "original/c.00.pth": b"", "onnx/readme.md": ""}))
    assert noted(found) == [("folders", None, "there are weights in original too, which were not read")]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["model.bin", "m.pt", "m.pth", "M.CKPT", "m.pkl", "m.pickle", "m.joblib"])
def test_a_pickle_is_never_opened(folder: Made, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    root = folder({name: pickle.dumps(Bomb()), "model.safetensors": part("w")})
    monkeypatch.chdir(root)
    opened: list[str] = []
    real = os.open

    def watched(path: str, flags: int, *rest: int) -> int:
        opened.append(os.path.basename(path))  # noqa: PTH119 - whatever is given
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", watched)
    found = review(root)
    assert opened == ["model.safetensors", "model.safetensors"]
    assert said(found) == [("pickle", name, "not opened, so nothing vouches for what it holds")]
    assert found.side.digest == review(root / "model.safetensors").side.digest
    alone = review(root / name)
    assert said(alone) == said(found)
    assert (alone.side.files, alone.side.digest) == ((), None)
    assert not (root / "exploded").exists()


def test_a_pickle_under_another_name_is_no_file_of_weights(folder: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder({"model.safetensors": pickle.dumps(Bomb())})
    monkeypatch.chdir(root)
    assert [kind for kind, _, _ in said(review(root))] == ["unreadable"]
    assert not (root / "exploded").exists()


def test_a_trainers_state_is_a_note(folder: Made) -> None:
    names = ["optimizer.pt", "rng_state.pth", "rng_state_3.pth", "scaler.pt", "scheduler.pt", "training_args.bin"]
    found = review(folder(dict.fromkeys(names, b"") | {"model.safetensors": part("w")}))
    assert found.problems == ()
    assert [(item.kind, item.file) for item in found.notes] == [("state", name) for name in names]


def test_other_formats_are_not_vouched_for(folder: Made) -> None:
    found = review(folder({"tf_model.h5": b"", "model.safetensors": part("w")}))
    assert said(found) == [("format", "tf_model.h5", "a file of h5: not read, so nothing vouches for what it holds")]
    assert found.side.digest


def test_a_pointer_is_not_the_file(folder: Made) -> None:
    found = review(folder({"model.safetensors": POINTER}))
    assert said(found) == [("pointer", "model.safetensors", "only a pointer to it is here; fetch the file")]
    assert found.side.digest is None


def test_an_index_names_what_is_read(folder: Made) -> None:
    shards = {"x-1.safetensors": part("a", "b"), "sub/x-2.safetensors": part("c"), "other.safetensors": part("a")}
    weight_map = {"a": "x-1.safetensors", "b": "x-1.safetensors", "c": "sub/x-2.safetensors"}
    root = folder(shards | {INDEX: index(weight_map)})
    found = review(root / INDEX)
    assert [tensor.name for tensor in found.side.tensors] == ["a", "b", "c"]
    assert (found.problems, found.notes) == ((), ())
    with pytest.raises(ConfigError, match="several models"):
        review(root)
    (root / "other.safetensors").unlink()
    whole = review(root)
    assert whole.side.digest == found.side.digest
    assert [item.kind for item in whole.notes] == ["folders"]


def test_a_missing_shard_is_an_error(folder: Made) -> None:
    files = {"model-00001-of-00003.safetensors": part("a")}
    named = {"a": "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors"}
    root = folder(files | {INDEX: index(named)})
    found = review(root)
    assert said(found) == [
        ("missing", "model-00002-of-00003.safetensors", "not there; 2 of 3 parts are missing"),
    ]
    assert found.side.digest is None
    assert said(review(root / INDEX)) == [
        ("missing", "model-00002-of-00003.safetensors", f"not there, and {INDEX} names it for 1 tensor"),
    ]


def test_parts_are_missed_without_an_index_and_alone_they_are_noted(folder: Made) -> None:
    root = folder({"m-00002-of-00002.gguf": b"GGUF", "m-00000-of-00002.gguf": b"GGUF"})
    missing = [item for item in said(review(root)) if item[0] == "missing"]
    assert missing == [("missing", "m-00001-of-00002.gguf", "not there; 1 of 2 parts are missing")]
    root = folder({"x-00001-of-00002.safetensors": part("a")})
    assert noted(review(root / "x-00001-of-00002.safetensors")) == [
        ("part", "x-00001-of-00002.safetensors", "one of 2 parts; the others were not read")
    ]


def test_an_index_and_its_files_may_contradict_each_other(folder: Made) -> None:
    named = {"a": "1.safetensors", "b": "1.safetensors", "c": "1.safetensors", "d": "2.safetensors"}
    root = folder({"1.safetensors": part("a", "x"), "2.safetensors": part("d", "a"), INDEX: index(named)})
    found = review(root)
    assert said(found) == [
        ("missing", "1.safetensors", f"does not hold 2 tensors such as 'b', which {INDEX} places there"),
        ("index", "2.safetensors", "holds 'a', and so does 1.safetensors"),
    ]
    assert noted(found)[0] == ("index", "1.safetensors", f"holds tensor 'x', which {INDEX} does not name")
    assert found.side.digest is None


@pytest.mark.parametrize("name", ["../out.safetensors", "/etc/passwd", "a/../../out.safetensors", ".."])
def test_an_index_leads_nowhere_else(folder: Made, tmp_path: Path, name: str) -> None:
    (tmp_path / "out.safetensors").write_bytes(part("a", value=math.nan))
    root = folder({"in.safetensors": part("b"), INDEX: index({"a": name, "b": "in.safetensors"})})
    found = review(root / INDEX)
    assert [(kind, file) for kind, file, _ in said(found)] == [("index", INDEX)]
    assert [tensor.name for tensor in found.side.tensors] == ["b"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"weight_map": 1}', '{"weight_map": {"a": 1}}', "\0", POINTER])
def test_a_broken_index_is_told(folder: Made, content: str | bytes) -> None:
    found = review(folder({"model.safetensors": part("a"), INDEX: content}))
    kind = "pointer" if content == POINTER else "unreadable"
    assert [(item.kind, item.file) for item in found.problems] == [(kind, INDEX)]
    assert found.side.digest is None


def test_an_index_does_not_make_us_open_a_pickle(folder: Made) -> None:
    found = review(folder({"a.bin": pickle.dumps(Bomb()), INDEX: index({"a": "a.bin"})}) / INDEX)
    assert [(kind, file) for kind, file, _ in said(found)] == [("pickle", "a.bin")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_links_are_followed_and_pipes_are_not_waited_for(folder: Made, tmp_path: Path) -> None:
    root = folder({"notes.md": ""})
    (tmp_path / "blob").write_bytes(part("w"))
    (root / "model.safetensors").symlink_to(tmp_path / "blob")
    assert [tensor.name for tensor in review(root).side.tensors] == ["w"]
    (root / "more.safetensors").symlink_to(tmp_path / "nothing")
    os.mkfifo(root / "pipe.gguf")
    (root / "zero.safetensors").symlink_to("/dev/zero")
    (root / "folder.safetensors").mkdir()
    assert said(review(root)) == [
        ("unreadable", "more.safetensors", "No such file or directory"),
        ("unreadable", "pipe.gguf", "no regular file"),
        ("unreadable", "zero.safetensors", "no regular file"),
    ]


def test_the_others_problems_are_theirs(folder: Made, tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(b"")
    found = review(folder({"model.safetensors": part("w")}), tmp_path / "old.pt")
    assert [(item.kind, item.of_against) for item in found.problems] == [("pickle", True)]
    assert [change.kind for change in found.changes] == ["added"]
