"""What answers /prices: the whole price list, which the monolith fetches."""

from fastapi import APIRouter

from storefront.catalogue import PRODUCTS
from storefront.fallback import price_of
from storefront.monitor import monitor_sanity

router = APIRouter()


@router.get("/prices")
def prices() -> dict[str, float]:
    output = {product: price_of(product) for product in PRODUCTS}
    monitor_sanity(output)
    return output
