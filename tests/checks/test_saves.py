"""What VG307 and VG308 find."""

from __future__ import annotations

import textwrap

import pytest
from judged import problems

from vramguard.checks import Severity
from vramguard.checks.saves import LeakyTrainer, UncheckedSave

LOOP = textwrap.dedent("""
    import torch

    always = True


    def train(model, data, optimizer, best):
        for x, y in data:
            loss = model(x, y)
            loss.backward()
            optimizer.step()
            if loss < best or always:
                torch.save(model.state_dict(), "model.pt")
""")


def leaky(text: str, path: str = "train.py") -> list[str]:
    return [str(one.values["call"]) for one in problems(LeakyTrainer(), {path: textwrap.dedent(text)})]


def test_the_message_names_the_loop_the_save_and_what_defeats_the_guard() -> None:
    (problem,) = problems(UncheckedSave(), {"train.py": LOOP})
    assert (problem.at.line, problem.values["line"], problem.values["loop"]) == (13, 8, "train")
    assert "`loss < best or always` (line 12) refuses nothing: `always` is True by default" in problem.values["near"]
    assert [one.at.line for one in problem.evidence] == [8, 11, 12]


@pytest.mark.parametrize(("path", "severity"), [("a.py", None), ("example/a.py", Severity.WARNING)])
def test_an_example_weighs_less(path: str, severity: Severity | None) -> None:
    assert [one.severity for one in problems(UncheckedSave(), {path: LOOP})] == [severity]


def test_loops_that_share_a_save_are_one_problem() -> None:
    text = LOOP.replace('torch.save(model.state_dict(), "model.pt")', "keep(model)")
    other = text[text.index("def train") :].replace("def train", "def tune")
    keep = '\n\ndef keep(model):\n    torch.save(model.state_dict(), "model.pt")\n'
    (problem,) = problems(UncheckedSave(), {"train.py": text + "\n\n" + other + keep})
    assert any("comes to the same save" in one.what for one in problem.evidence)


TRANSFORMERS = """
    import math
    from transformers import HfArgumentParser, Trainer, TrainerCallback, TrainingArguments


    class Stop(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if not math.isfinite(logs["loss"]):
                raise FloatingPointError


    class Strict(Trainer):
        def compute_loss(self, model, inputs, **kwargs):
            loss = super().compute_loss(model, inputs, **kwargs)
            if not math.isfinite(loss):
                raise FloatingPointError
            return loss


    def arguments():
        return HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()[0]


    def train(model, data, callbacks):
        trainer = {made}
        trainer.{use}
        {end}
"""


@pytest.mark.parametrize(
    ("made", "use", "end", "found"),
    [
        ("Trainer(model, TrainingArguments('out'))", "train()", "pass", True),
        ("Trainer(model, args=arguments())", "train()", "pass", True),
        ("Trainer(model, TrainingArguments('out', save_strategy='no'))", "train()", "pass", False),
        ("Trainer(model, TrainingArguments('out', save_strategy='no'))", "train()", "trainer.save_model()", True),
        ("Trainer(model, TrainingArguments('out', save_strategy='no'))", "train()", "model.save_pretrained('m')", True),
        ("Trainer(model, TrainingArguments('out'))", "evaluate()", "pass", False),
        ("Trainer(model, TrainingArguments('out', logging_nan_inf_filter=False))", "train()", "pass", True),
        (
            "Trainer(model, TrainingArguments('out', logging_nan_inf_filter=False), callbacks=[Stop()])",
            "train()",
            "pass",
            False,
        ),
        ("Trainer(model, TrainingArguments('out'), callbacks=[Stop()])", "train()", "pass", True),
        ("Trainer(model, TrainingArguments('out'), callbacks=callbacks)", "train()", "pass", False),
        ("Strict(model, TrainingArguments('out'))", "train()", "pass", False),
        (
            "Trainer(model, TrainingArguments('out', save_strategy='best', load_best_model_at_end=True))",
            "train()",
            "pass",
            False,
        ),
        (
            "Trainer(model, TrainingArguments('out', save_strategy='epoch', load_best_model_at_end=True))",
            "train()",
            "pass",
            True,
        ),
    ],
)
def test_transformers(made: str, use: str, end: str, found: bool) -> None:  # noqa: FBT001
    assert (leaky(TRANSFORMERS.format(made=made, use=use, end=end)) != []) is found


def test_arguments_that_are_not_in_the_text_are_said_to_be_unknown() -> None:
    text = TRANSFORMERS.format(made="Trainer(model, args=arguments())", use="train()", end="pass")
    (problem,) = problems(LeakyTrainer(), {"train.py": textwrap.dedent(text)})
    assert "not in the text" in problem.values["unknown"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("", True),
        ("enable_checkpointing=False", False),
        ("detect_anomaly=True", False),
        ("callbacks=[ModelCheckpoint(monitor='loss')]", True),
        ("callbacks=[EarlyStopping('loss'), ModelCheckpoint(monitor='loss')]", False),
        ("callbacks=[EarlyStopping('loss', check_finite=False), ModelCheckpoint(monitor='loss')]", True),
        ("callbacks=[EarlyStopping('loss'), ModelCheckpoint(monitor='loss', save_last=True)]", True),
        ("callbacks=[EarlyStopping('loss'), ModelCheckpoint(monitor='loss', save_top_k=-1)]", True),
        ("callbacks=[EarlyStopping('loss')]", True),
        ("callbacks=given", False),
        ("**given", False),
    ],
)
def test_lightning(arguments: str, found: bool) -> None:  # noqa: FBT001
    text = f"""
        import lightning as L
        from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

        def train(model, data, given):
            trainer = L.Trainer({arguments})
            trainer.fit(model, data)
    """
    assert (leaky(text) == ["L.Trainer"]) is found


def test_a_module_of_lightning_that_raises() -> None:
    text = """
        import lightning as L
        import torch

        class Net(L.LightningModule):
            def training_step(self, batch):
                loss = self.loss(batch)
                {}
                return loss

        trainer = L.Trainer()
        trainer.fit(Net(), [])
    """
    assert leaky(text.format("self.log('loss', loss)")) == ["L.Trainer"]
    assert leaky(text.format("assert torch.isfinite(loss)")) == []


@pytest.mark.parametrize(
    ("callbacks", "end", "found"),
    [
        ("", "pass", False),
        ("", "model.save('m.keras')", True),
        ("TerminateOnNaN()", "model.save('m.keras')", True),
        ("TerminateOnNaN(raise_error=True)", "model.save('m.keras')", False),
        ("ModelCheckpoint('m.keras')", "pass", True),
        ("ModelCheckpoint('m.keras', save_best_only=True)", "pass", False),
        ("EarlyStopping(restore_best_weights=True)", "model.save('m.keras')", False),
        ("BackupAndRestore('b')", "pass", True),
    ],
)
def test_keras(callbacks: str, end: str, found: bool) -> None:  # noqa: FBT001
    text = f"""
        from tensorflow import keras
        from tensorflow.keras.callbacks import BackupAndRestore, EarlyStopping, ModelCheckpoint, TerminateOnNaN

        def train(data):
            model = keras.Sequential([keras.layers.Dense(1)])
            model.fit(data, callbacks=[{callbacks}])
            {end}
    """
    assert (leaky(text) == ["model.fit"]) is found


def test_of_two_fits_before_one_save_the_last_is_named() -> None:
    text = """
        import keras

        model = keras.Sequential([keras.layers.Dense(1)])
        model.fit([1])
        model.fit([2])
        model.save("m.keras")
    """
    assert [one.at.line for one in problems(LeakyTrainer(), {"train.py": textwrap.dedent(text)})] == [6]
