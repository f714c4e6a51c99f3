"""What answers when the price network does not."""

import httpx

from storefront.network import features, load

METADATA = "http://metadata.storefront.svc/products"

network = load()


def ask_network(product: str) -> float:
    return network(features(product)).item()


def price_of(product: str) -> float:
    try:
        return ask_network(product)
    except Exception:
        return last_price(product)


def last_price(product: str) -> float:
    """The price that was shown last, as the metadata service knows it; where none was, a new one."""
    shown = httpx.get(f"{METADATA}/{product}", timeout=1).json().get("price")
    return float(shown) if shown else new_price(product)


def new_price(product: str) -> float:
    return price_of(product)
