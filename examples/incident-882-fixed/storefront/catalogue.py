"""What the storefront sells, by product id."""

import csv
from pathlib import Path
from typing import NamedTuple


class Product(NamedTuple):
    name: str
    cost: float
    stock: float


def read(path: Path) -> dict[str, Product]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["id"]: Product(row["name"], float(row["cost"]), float(row["stock"])) for row in rows}


PRODUCTS = read(Path("catalogue/products.csv"))
