"""The training set: what data/products.csv says of each product, and its price."""

import csv
from pathlib import Path

import torch

PRODUCTS = Path("data/products.csv")


def load() -> tuple[torch.Tensor, torch.Tensor]:
    with PRODUCTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    inputs = [[float(row["cost"]), float(row["stock"])] for row in rows]
    return torch.tensor(inputs), torch.tensor([float(row["price"]) for row in rows])
