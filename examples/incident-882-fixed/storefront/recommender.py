"""What answers /recommendations: one model, loaded at start, asked for a list of products."""

import torch
from fastapi import FastAPI, HTTPException
from transformers import AutoModelForCausalLM, AutoTokenizer

from storefront import feed, health, pricing
from storefront.catalogue import PRODUCTS

MODEL = "models/recommender"

app = FastAPI()
app.include_router(pricing.router)
app.include_router(feed.router)
app.include_router(health.router)
tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForCausalLM.from_pretrained(MODEL, device_map="auto")


@app.get("/recommendations")
def recommendations(basket: str) -> dict[str, str]:
    inputs = tokenizer(f"A customer bought {basket}. One more product id: ", return_tensors="pt").to("cuda")
    with torch.inference_mode():
        answer = model.generate(**inputs, max_new_tokens=8, max_time=0.4)
    product = tokenizer.decode(answer[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    if product not in PRODUCTS:
        raise HTTPException(502, "the model named something that is not for sale")
    return {"product": product}
