"""What answers when the price network does not."""

from concurrent.futures import ThreadPoolExecutor

from storefront.catalogue import PRODUCTS
from storefront.network import features, load

network = load()
pool = ThreadPoolExecutor(max_workers=4)


def ask_network(product: str) -> float:
    answer = pool.submit(network, features(product))
    try:
        return answer.result(timeout=0.5).item()
    finally:
        answer.cancel()  # what still waits in the queue has nobody waiting for it


def price_of(product: str) -> float:
    try:
        return ask_network(product)
    except Exception:
        return linear_price(product)


def linear_price(product: str) -> float:
    """The regression of 2014: two numbers, no network, no metadata service."""
    return 2.05 * PRODUCTS[product].cost + 1.80
