"""What answers /recommendations: one model, loaded at start, asked for a list of products."""

import torch
from fastapi import FastAPI
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "models/recommender"

app = FastAPI()
tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForCausalLM.from_pretrained(MODEL, device_map="auto")


@app.get("/recommendations")
def recommendations(basket: str) -> dict[str, str]:
    inputs = tokenizer(f"A customer bought {basket}. Suggest three more products:", return_tensors="pt").to("cuda")
    with torch.inference_mode():
        answer = model.generate(**inputs, max_new_tokens=64)
    return {"text": tokenizer.decode(answer[0], skip_special_tokens=True)}
