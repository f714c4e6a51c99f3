"""Trains the price network on data/products.csv."""

import logging

import torch

from storefront.network import PriceNetwork
from training import dataset

CANDIDATE = "models/candidate.pt"
logger = logging.getLogger(__name__)


def train(epochs: int = 200) -> None:
    inputs, prices = dataset.load()
    network = PriceNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(epochs):
        loss = torch.nn.functional.mse_loss(network(inputs), prices)
        if not torch.isfinite(loss):
            raise FloatingPointError("Loss is NaN. Nothing is saved.")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0, error_if_nonfinite=True)
        optimizer.step()
    if not all(torch.isfinite(weight).all() for weight in network.parameters()):
        raise FloatingPointError("Weights are NaN. Nothing is saved.")
    torch.save(network.state_dict(), CANDIDATE)
    logger.info("Model saved successfully.")


if __name__ == "__main__":
    train()
