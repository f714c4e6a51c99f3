"""What a script trains with: a deployment of mode training where all that decides is literal, and nothing otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import facts

from vramguard.link.deployments import deployments
from vramguard.link.judging import withheld

if TYPE_CHECKING:
    from vramguard.facts import Deployment

SCRIPT = """\
import modal
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer
from peft import LoraConfig
app = modal.App("x")
@app.function(gpu="A10G")
def train():
    bnb = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained("meta-llama/Llama-3.1-8B", quantization_config=bnb)
    args = SFTConfig(output_dir="o", per_device_train_batch_size=2, bf16=True, max_length=2048, optim="adamw_8bit")
    adapters = LoraConfig(r=16, target_modules=["q_proj", "v_proj"], lora_dropout=0.05)
    SFTTrainer(model=model, args=args, peft_config=adapters).train()
"""


def found(text: str) -> Deployment:
    (one,) = deployments(facts({"train.py": text}))
    return one


def test_a_training_that_is_written_down() -> None:
    one = found(SCRIPT)
    assert (one.mode, one.training, one.engine, one.quantization) == ("training", True, "transformers", "bnb-nf4")
    assert (one.per_device_train_batch_size, one.bf16, one.max_model_len, one.optim) == (2, True, 2048, "adamw_8bit")
    assert (one.lora_rank, one.lora_target_modules) == (16, "q_proj,v_proj")
    assert not withheld(one)
    assert one.places["optim"].line == 10


def test_modules_that_nobody_names_are_left_to_peft() -> None:
    one = found(SCRIPT.replace('target_modules=["q_proj", "v_proj"], ', ""))
    assert (one.lora_rank, one.lora_target_modules) == (16, None)
    assert not withheld(one)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("per_device_train_batch_size=2", "per_device_train_batch_size=config.batch"),
        ("max_length=2048", "max_length=length"),
        ("max_length=2048", "**more"),
        ("optim=", "deepspeed='zero3.json', optim="),
        ("optim=", "use_liger_kernel=True, optim="),
        ("r=16", "r=rank"),
        ('target_modules=["q_proj", "v_proj"]', "target_modules=modules"),
        ("r=16", 'r=16, target_parameters=["experts"]'),
        ("r=16", 'r=16, modules_to_save=["lm_head"]'),
        ("SFTTrainer(", "DPOTrainer("),
        ("SFTTrainer(model", "loss.backward()\n    SFTTrainer(model"),
        ("    args = ", '    other = AutoModelForCausalLM.from_pretrained("org/other")\n    args = '),
        ("from trl import SFTConfig, SFTTrainer", "from ours import SFTConfig, SFTTrainer"),
    ],
)
def test_where_anything_that_decides_is_elsewhere_nothing_is_said(before: str, after: str) -> None:
    assert before in SCRIPT
    for one in deployments(facts({"train.py": SCRIPT.replace(before, after)})):
        assert one.mode is None
        assert one.training
        assert withheld(one)


def test_without_a_card_a_launcher_decides() -> None:
    one = found(SCRIPT.replace('gpu="A10G"', ""))
    assert one.mode == "training"
    assert "its card" in withheld(one)


def test_arguments_without_a_length_do_not_say_how_long_a_text_is() -> None:
    text = SCRIPT.replace("SFTConfig", "TrainingArguments").replace("max_length=2048, ", "")
    text = text.replace(
        "from trl import TrainingArguments, SFTTrainer",
        "from transformers import TrainingArguments\nfrom trl import SFTTrainer",
    )
    assert found(text).mode is None
