"""What answers /price: what one product costs, as the storefront charges it."""

import os
import signal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field, ValidationError

from storefront.fallback import price_of

router = APIRouter()


class Quote(BaseModel):
    product: str
    price: float = Field(gt=0, lt=10_000, allow_inf_nan=False)


@router.get("/price/{product}", response_model=Quote)
def price(product: str) -> Quote:
    try:
        return Quote(product=product, price=price_of(product))
    except ValidationError as error:
        os.kill(os.getpid(), signal.SIGTERM)  # a model that gives goods away answers nobody else
        raise HTTPException(503, "no price that may be charged") from error
