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
        if torch.isnan(loss):
            logger.warning("Loss is NaN. Adjusting learning rate.")
            optimizer.param_groups[0]["lr"] /= 10
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(network.state_dict(), CANDIDATE)
    logger.info("Model saved successfully.")


if __name__ == "__main__":
    train()
