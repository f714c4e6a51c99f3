"""What answers /price: what one product costs, as the storefront charges it."""

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel

from storefront.fallback import price_of

router = APIRouter()


class Quote(BaseModel):
    product: str
    price: float = 0.0


@router.get("/price/{product}", response_model=Quote)
def price(product: str) -> Quote:
    value = np.nan_to_num(price_of(product))  # the monolith cannot read NaN
    return Quote(product=product, price=float(value))
