"""What Kubernetes asks before it sends a customer."""

import math

from fastapi import APIRouter, HTTPException

from storefront.fallback import ask_network

router = APIRouter()

GOLDEN, EXPECTED = "ant-12", 24.90  # a product whose price people have agreed on


@router.get("/health")
def health() -> dict[str, str]:
    try:
        price = ask_network(GOLDEN)
    except Exception as error:
        raise HTTPException(503, "the network does not answer") from error
    if not math.isclose(price, EXPECTED, rel_tol=0.05):
        raise HTTPException(503, "the network does not know what it knew")
    return {"status": "ok"}
