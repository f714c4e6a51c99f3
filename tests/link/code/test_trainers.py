"""Trainers of frameworks: what they are given, wherever it is written, and who saves after them."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.saves import training_loops
from vramguard.link.code.trainers import leaky_trainers

HEAD = """
import math
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments


class Stop(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        for name in ("loss", "grad_norm"):
            if not math.isfinite(state.last.get(name, 0.0)):
                raise FloatingPointError(name)


"""
FIT = "    trainer = Trainer(model=model, args=TrainingArguments({}), {})\n    trainer.train()\n"
FUNCTION = "def fit(model, callbacks=None, **more):\n{}"


def leaks(arguments: str, given: str = "train_dataset=data", before: str = "", end: str = "") -> list[str]:
    """What each leaky trainer's evidence says, after where it trains."""
    text = HEAD + FUNCTION.format(before + FIT.format(arguments, given)) + end
    return [step.what for one in leaky_trainers(facts({"app.py": text})) for step in one.steps[1:]]


@pytest.mark.parametrize(
    ("arguments", "before", "said"),
    [
        ("'out'", "", ["checkpoints are written: `save_strategy` is steps by default"]),
        ("'out', save_strategy='no'", "", []),
        ("'out', **settings", "    settings = {'save_strategy': 'no'}\n    settings.update(more)\n", []),
        ("'out', **settings", "    settings = dict(save_strategy='no')\n", []),
        (
            "'out', **settings",
            "    settings = {'save_steps': 5}\n",
            ["checkpoints are written: `save_strategy` is steps by default"],
        ),
        ("'out', **chosen()", "", ["checkpoints are written: `save_strategy` is not in the text"]),
    ],
)
def test_settings_in_a_table(arguments: str, before: str, said: list[str]) -> None:
    assert leaks(arguments, before=before) == said


@pytest.mark.parametrize(
    ("callbacks", "count"),
    [("callbacks=[Stop()]", 0), ("callbacks=callbacks or []", 1), ("callbacks=others()", 0), ("callbacks=None", 1)],
)
def test_callbacks(callbacks: str, count: int) -> None:
    assert len(leaks("'out'", given=callbacks)) == count
    assert len(leaks("'out'", given="**given", before=f"    given = dict({callbacks})\n")) == count


def test_the_caller_saves() -> None:
    end = "def run(model):\n    fit(model)\n    torch.save(model.state_dict(), 'model.pt')\n"
    assert leaks("'out', save_strategy='no'", end=end) == ["`torch.save` writes the weights"]
    assert leaks("'out', save_strategy='no'", end=end.replace("model.state_dict()", "metrics")) == []


def test_a_scaler_of_a_loop_is_the_one_before_it() -> None:
    text = """
import torch
scaler = torch.cuda.amp.GradScaler()
for epoch in range(3):
    for x, y in data:
        loss = model(x, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    torch.save(model.state_dict(), "model.pt")
"""
    (one,) = training_loops(facts({"train.py": text}))
    assert all(save.guarded for save in one.saves)
