"""Weights that come over the network, and whether anybody compares their digest."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.weights import fetched_weights

HEAD = """
import hashlib, io, os, pickle, subprocess, urllib.request
import boto3, gdown, joblib, requests, torch
URL = "https://e.org/model.pt"
"""
TEMPORARY = "import tempfile\nwith tempfile.NamedTemporaryFile() as file:\n"


def found(text: str) -> list[bool]:
    """For each fetch whether a digest is compared."""
    return [one.digest is not None for one in fetched_weights(facts({"app.py": HEAD + text}))]


@pytest.mark.parametrize(
    "text",
    [
        "torch.hub.load_state_dict_from_url(URL)",
        "torch.hub.load_state_dict_from_url(URL, check_hash=False)",
        "urllib.request.urlretrieve(URL, 'model.pt')\ntorch.load('model.pt')",
        "path = os.path.join('weights', 'a.pt')\nurllib.request.urlretrieve(URL, path)\ntorch.load(path)",
        "path = gdown.download(URL)\njoblib.load(path)",
        "torch.load(io.BytesIO(requests.get(URL).content))",
        "with open('m.pkl', 'wb') as file:\n    file.write(requests.get(URL).content)\npickle.load(open('m.pkl'))",
        "boto3.client('s3').download_file('b', 'model.joblib', '/tmp/model.joblib')\njoblib.load('/tmp/model.joblib')",
        f"{TEMPORARY}    boto3.client('s3').download_file('b', 'a.joblib', file.name)\n    joblib.load(file.name)",
        "def get(to):\n    urllib.request.urlretrieve(URL, to)\ndef load(at):\n    get(at)\n    torch.load(at)",
        "import fsspec\nwith fsspec.open(URL) as f:\n    snapshot_data = torch.load(f)",
        "pickle.loads(boto3.client('s3').get_object(Bucket='b', Key='model.pkl')['Body'].read())",
        "subprocess.run('aws s3 cp s3://b/models/ models/ --recursive', shell=True)\ntorch.load('models/a.pt')",
    ],
)
def test_nobody_compares(text: str) -> None:
    assert found(text) == [False]


@pytest.mark.parametrize(
    "text",
    [
        "torch.hub.load_state_dict_from_url(URL, check_hash=True)",
        "torch.load('model.pt')",
        f"{TEMPORARY}    boto3.client('s3').download_file('b', 'a.csv', file.name)\njoblib.load('model.joblib')",
        "urllib.request.urlretrieve(URL, 'page.html')\ntorch.load('model.pt')",
        "torch.load('model.pt')\nurllib.request.urlretrieve(URL, 'other.pt')",
        "subprocess.run('aws s3 cp models/a.pt s3://b/models/a.pt', shell=True)\ntorch.load('models/a.pt')",
        "import gcsfs\nwith gcsfs.GCSFileSystem().open('b/train.pkl', 'rb') as f:\n    train_df = pickle.load(f)",
        "import mlflow\npath = mlflow.artifacts.download_artifacts('runs:/1/model')\ntorch.load(path)",
    ],
)
def test_nothing_is_fetched(text: str) -> None:
    assert found(text) == []


def test_a_digest_on_the_way() -> None:
    check = "def check(path):\n    assert hashlib.sha256(open(path, 'rb').read()).hexdigest() == 'a'\n\n\n"
    load = "def load(path):\n    urllib.request.urlretrieve(URL, path)\n    check(path)\n    return torch.load(path)\n"
    assert found(check + load) == [True]


FOLDER = """
from google.cloud import storage
from peft import PeftModel
def fetch(folder):
    for blob in storage.Client().bucket("a").list_blobs():
        path = os.path.join(folder, {})
        blob.download_to_filename(path)
def load(base):
    fetch("adapters")
    return PeftModel.from_pretrained(base, {})
"""


@pytest.mark.parametrize(
    ("name", "folder", "count"),
    [("blob.name", '"adapters"', 0), ("blob.name", "folder", 1), ("'a.csv'", "folder", 0)],
)
def test_a_folder_that_a_bucket_is_brought_to(name: str, folder: str, count: int) -> None:
    text = FOLDER.format(name, folder).replace('    fetch("adapters")', '    folder = "adapters"\n    fetch(folder)')
    assert len(found(text)) == count
