"""The training set: what data/products.csv says of each product, and its price."""

import csv
import math
from pathlib import Path

import torch

PRODUCTS = Path("data/products.csv")
NO_PRODUCT = {"", "null", "none", "nan", "undefined", "404", "not found", "404 not found", "page not found", "error"}


def validate(rows: list[dict[str, str]]) -> None:
    """Raises at the first row that no product can have: better no training than training on this."""
    for line, row in enumerate(rows, start=2):
        if any(text.strip().lower() in NO_PRODUCT or "<" in text for text in (row["id"], row["name"])):
            raise ValueError(f"{PRODUCTS}:{line}: {row['name']!r} is no product")
        if not all(math.isfinite(float(row[field])) and float(row[field]) > 0 for field in ("cost", "stock", "price")):
            raise ValueError(f"{PRODUCTS}:{line}: {row['id']} has a number that no product has")
    if len({row["id"] for row in rows}) != len(rows):
        raise ValueError(f"{PRODUCTS}: a product stands there twice")


def load() -> tuple[torch.Tensor, torch.Tensor]:
    with PRODUCTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    validate(rows)
    inputs = [[float(row["cost"]), float(row["stock"])] for row in rows]
    return torch.tensor(inputs), torch.tensor([float(row["price"]) for row in rows])
