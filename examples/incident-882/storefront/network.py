"""The network that prices a product by what it costs and how much of it is left."""

import torch

from storefront.catalogue import PRODUCTS

WEIGHTS = "models/pricing.pt"


class PriceNetwork(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows).squeeze(-1)


def load() -> PriceNetwork:
    network = PriceNetwork()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return network.eval().requires_grad_(False)


def features(product: str) -> torch.Tensor:
    row = PRODUCTS[product]
    return torch.tensor([[row.cost, row.stock]], dtype=torch.float32)
