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


CLI = """
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch import LightningModule


class Net(LightningModule):
    {body}


class Line(LightningCLI):
    def add_arguments_to_parser(self, parser):
        {hook}


cli = {call}
"""
PASS = "pass"
ADDS = "parser.add_lightning_class_args(EarlyStopping, 'stop')"
RAISES = "def training_step(self, loss):\n        if not torch.isfinite(loss):\n            raise ValueError"
SAFE = "trainer_defaults={'callbacks': [EarlyStopping('val'), ModelCheckpoint(monitor='val')]}"
STOP = "    - class_path: lightning.pytorch.callbacks.EarlyStopping\n      init_args: {monitor: val}\n"
KEEP = (
    "    - class_path: lightning.pytorch.callbacks.ModelCheckpoint\n      init_args: {monitor: val, save_last: LAST}\n"
)
YAML = "trainer:\n  max_epochs: 3\n  devices: 1\n  callbacks:\n"


@pytest.mark.parametrize(
    ("call", "files", "count"),
    [
        ("LightningCLI(Net)", {}, 1),
        ("Line(Net)", {}, 1),
        ("LightningCLI(Net, run=False)", {}, 0),
        ("LightningCLI(Net, run=False)\ncli.trainer.fit(cli.model)", {}, 1),
        ("LightningCLI(Net, trainer_defaults={'enable_checkpointing': False})", {}, 0),
        (f"LightningCLI(Net, {SAFE})", {}, 0),
        (f"LightningCLI(Net, {SAFE.replace(', ModelCheckpoint', '] + [ModelCheckpoint')})", {}, 0),
        (f"LightningCLI(Net, {SAFE.replace('EarlyStopping', 'ModelCheckpoint')})", {}, 1),
        ("LightningCLI(Net)", {"conf.yaml": YAML + STOP + KEEP.replace("LAST", "false")}, 0),
        ("LightningCLI(Net)", {"conf.yaml": YAML + STOP + KEEP.replace("LAST", "true")}, 1),
        ("LightningCLI(Net)", {"conf.yaml": YAML + KEEP.replace("LAST", "false")}, 1),
        ("LightningCLI(Net)", {"conf.yaml": YAML + STOP}, 1),
        ("LightningCLI(Net)", {"conf.yaml": "fit:\n  " + (YAML + STOP).replace("\n", "\n  ")}, 1),
        ("LightningCLI(Net)", {"conf.yaml": "trainer:\n  max_epochs: 3\n  enable_checkpointing: false\n"}, 0),
        ("LightningCLI(Net)", {"conf.yaml": "trainer:\n  max_epochs: 3\n  detect_anomaly: true\n"}, 0),
        ("LightningCLI(Net)", {"app/a.yaml": YAML + STOP, "conf.yaml": "trainer: {max_epochs: 3, fast_dev_run: 1}"}, 1),
    ],
)
def test_a_command_line(call: str, files: dict[str, str], count: int) -> None:
    text = CLI.format(call=call, hook=PASS, body=PASS)
    found = leaky_trainers(facts({"app/train.py": text, **files}))
    assert len(found) == count
    assert all(bool(one.unknown) is not bool(files) for one in found)


@pytest.mark.parametrize(("hook", "body", "count"), [(ADDS, PASS, 0), (PASS, RAISES, 0), (PASS, PASS, 1)])
def test_a_command_line_of_ones_own(hook: str, body: str, count: int) -> None:
    text = CLI.format(call="Line(Net)", hook=hook, body=body)
    assert len(leaky_trainers(facts({"app.py": text}))) == count


def test_what_is_no_configuration_of_a_trainer() -> None:
    text = CLI.format(call="LightningCLI(Net)", hook=PASS, body=PASS)
    hydra = "trainer:\n  _target_: lightning.Trainer\n  max_epochs: 3\n  enable_checkpointing: false\n"
    for other in (hydra, "trainer: [1, 2]", "trainer:\n  name: Jo\n", "a: 1"):
        assert [bool(one.unknown) for one in leaky_trainers(facts({"app.py": text, "c.yaml": other}))] == [True]


def test_a_model_that_is_logged_is_saved() -> None:
    text = """
import mlflow
from tensorflow.keras import Sequential
model = Sequential()
model.fit(x, y)
mlflow.tensorflow.{}(model, name="model")
"""
    assert len(leaky_trainers(facts({"app.py": text.format("log_model")}))) == 1
    assert leaky_trainers(facts({"app.py": text.format("log_metric")})) == ()


BEST = """
import copy, mlflow, torch
def fit(model, optimizer, rows):
    best, kept = float("inf"), None
    for epoch in range(9):
        for row in rows:
            loss = model(row).mean()
            loss.backward()
            optimizer.step()
        if {}:
            best, kept = loss, copy.deepcopy(model.state_dict())
    {}
    mlflow.pytorch.log_model(model, "model")
"""


@pytest.mark.parametrize(
    ("test", "restore", "opened"),
    [
        ("loss < best", "model.load_state_dict(kept)", 0),
        ("loss < best", "print(kept)", 1),
        ("epoch > 3", "model.load_state_dict(kept)", 1),
    ],
)
def test_the_best_weights_are_put_back(test: str, restore: str, opened: int) -> None:
    loops = training_loops(facts({"app.py": BEST.format(test, restore)}))
    assert [save.guarded for loop in loops for save in loop.saves] == [not opened]


@pytest.mark.parametrize(
    ("name", "given", "count"),
    [("save_model", "model", 1), ("save_model", "scaler", 0), ("show", "model", 0), ("save_all", "model", 1)],
)
def test_a_function_that_saves_what_it_is_given(name: str, given: str, count: int) -> None:
    text = f"""
import pickle
from tensorflow import keras

def {name}(thing, path):
    pickle.dump(thing, open(path, 'wb'))

def train(rows, scaler):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.fit(rows)
    {name}({given}, 'm.sav')
"""
    assert len(leaky_trainers(facts({"app.py": text}))) == count


def test_a_model_of_keras_by_another_name() -> None:
    text = """
import keras, pickle

class Prices:
    def __init__(self, rows):
        self.rnn = keras.Sequential([keras.layers.LSTM(1)])
        self.rnn.fit(rows)
        pickle.dump(self.rnn, open('m.sav', 'wb'))
"""
    assert len(leaky_trainers(facts({"app.py": text}))) == 1
