"""Hand-written training loops: which saves they come to, and which checks refuse."""

from __future__ import annotations

import textwrap

import pytest
from programs import facts

from vramguard.link.code.saves import training_loops

HEAD = "import logging\nimport math\nimport sys\n\nimport torch\n\n\n"
STEP = "loss.backward()\noptimizer.step()\n"
LOSS = "loss = torch.nn.functional.mse_loss(model(x), y)\n"
SAVE = 'torch.save(model.state_dict(), "model.pt")\n'


def loop(before: str = "", after: str = "", end: str = SAVE, parameters: str = "") -> str:
    """A loop with code before its step, after it, and after the loop."""
    body = textwrap.indent(LOSS + before + STEP + after, " " * 8)
    head = f"def train(model, data, optimizer{parameters}):\n    best = math.inf\n    for x, y in data:\n"
    return f"{HEAD}{head}{body}{textwrap.indent(end, '    ')}"


def opened(files: str | dict[str, str]) -> list[tuple[str, str, int]]:
    """The save of each loop that is named: the last that nothing refuses."""
    found = []
    for one in training_loops(facts({"train.py": files} if isinstance(files, str) else files)):
        saves = [save for save in one.saves if not save.guarded]
        found += [(saves[-1].call, saves[-1].at.path, saves[-1].at.line)] if saves else []
    return found


REFUSING = {
    "raise": "if not torch.isfinite(loss):\n    raise FloatingPointError\n",
    "exit": "if not math.isfinite(loss.item()):\n    sys.exit(1)\n",
    "assert": "assert torch.isfinite(loss)\n",
    "skip": "if torch.isnan(loss):\n    continue\n",
    "break": "if torch.isnan(loss).any():\n    break\n",
    "unlike itself": "if loss != loss:\n    raise FloatingPointError\n",
    "a range": "if not loss < 1e4:\n    raise FloatingPointError\n",
    "clipping": "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)\n",
    "a count": "if torch.isnan(loss):\n    bad = bad + 1\n    if bad > 3:\n        raise FloatingPointError\n",
    "anomalies": "torch.autograd.set_detect_anomaly(True)\n",
    "one by one": "for name in ('a', 'loss'):\n    if not math.isfinite(logs.get(name)):\n        raise ValueError\n",
    "mended gradients": "for p in model.parameters():\n    torch.nan_to_num(p.grad, out=p.grad)\n",
}


@pytest.mark.parametrize("check", REFUSING.values(), ids=REFUSING)
def test_a_check_before_the_step_refuses(check: str) -> None:
    assert opened(loop(before=check)) == []


LEAKING = {
    "nothing": "",
    "a log": "if torch.isnan(loss):\n    logging.warning('Loss is NaN. Adjusting learning rate.')\n",
    "a limit that NaN passes": "if loss > 1e4:\n    raise FloatingPointError\n",
    "another value": "if torch.isnan(x).any():\n    continue\n",
    "clipping that does not ask": "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n",
    "anomalies, off": "torch.autograd.set_detect_anomaly(False)\n",
    "infinity alone": "if torch.isinf(loss):\n    raise FloatingPointError\n",
}


@pytest.mark.parametrize("check", LEAKING.values(), ids=LEAKING)
def test_what_only_looks_like_a_check_refuses_nothing(check: str) -> None:
    assert [call for call, *_ in opened(loop(before=check))] == ["torch.save"]


def test_a_break_after_the_step_comes_too_late_for_the_save_after_the_loop() -> None:
    late = "if torch.isnan(loss):\n    break\n"
    found = training_loops(facts({"train.py": loop(after=late)}))
    assert [(one.what, "already been made" in one.flaw) for one in found[0].saves[0].checks] == [
        ("torch.isnan(loss)", True)
    ]
    assert opened(loop(after=late + SAVE, end="pass\n")) == []


@pytest.mark.parametrize(
    ("condition", "refuses"),
    [
        ("loss < best", True),
        ("best > loss", True),
        ("best is None or loss < best", True),
        ("epoch > 3 and loss < best", True),
        ("loss < best or unknown", True),
        ("loss < best or always", False),
        ("loss < best or step % 100 == 0", False),
        ("not loss > best", False),
        ("step % 100 == 0", False),
        ("math.isfinite(loss)", True),
        ("all(torch.isfinite(p).all() for p in model.parameters())", True),
    ],
)
def test_a_condition_around_the_save(condition: str, refuses: bool) -> None:  # noqa: FBT001
    text = loop(
        after=f"if {condition}:\n    best = loss\n    {SAVE}", end="return best\n", parameters=", epoch, step, unknown"
    )
    assert (opened("always = True\n" + text) == []) is refuses


@pytest.mark.parametrize(("option", "refuses"), [("store_true", True), ("store_false", False)])
def test_a_flag_of_the_command_line_is_what_it_is_by_default(option: str, refuses: bool) -> None:  # noqa: FBT001
    parser = "import argparse\nparser = argparse.ArgumentParser()\n"
    parser += f"parser.add_argument('--always', action='{option}')\nargs = parser.parse_args()\n"
    text = loop(after=f"if loss < best or args.always:\n    {SAVE}", end="pass\n")
    assert (opened(parser + text) == []) is refuses


def test_a_check_that_a_flag_leaves_out_by_default_refuses_nothing() -> None:
    check = "if strict and torch.isnan(loss):\n    raise FloatingPointError\n"
    assert opened(loop(before=check, parameters=", strict=True")) == []
    assert len(opened(loop(before=check, parameters=", strict=False"))) == 1


def test_the_last_open_save_is_named_though_the_best_is_guarded() -> None:
    text = loop(
        after=f"if loss < best:\n    best = loss\n    {SAVE}", end='torch.save(model.state_dict(), "last.pt")\n'
    )
    assert opened(text) == [("torch.save", "train.py", text.count("\n"))]


def test_a_save_in_another_function_and_file_is_found() -> None:
    helper = "import torch\n\n\ndef keep(state, path):\n    torch.save(state, path)\n"
    text = "from helper import keep\n" + loop(end="keep({'model': model.state_dict()}, 'model.pt')\n")
    assert opened({"train.py": text, "helper.py": helper}) == [("torch.save", "helper.py", 5)]


def test_a_save_of_the_caller_is_found_and_its_check_too() -> None:
    caller = "\n\ndef main(model, data, optimizer):\n    train(model, data, optimizer)\n{check}    " + SAVE
    check = "    if not all(torch.isfinite(p).all() for p in model.parameters()):\n        raise FloatingPointError\n"
    text = loop(end="return model\n")
    assert [call for call, *_ in opened(text + caller.format(check=""))] == ["torch.save"]
    assert opened(text + caller.format(check=check)) == []


def test_methods_of_a_class_share_their_loop() -> None:
    text = HEAD + textwrap.dedent("""
        class Learner:
            def step(self, x, y):
                loss = self.loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()

            def train(self, data):
                for x, y in data:
                    self.step(x, y)
                self.keep()

            def keep(self):
                torch.save(self.model.state_dict(), "model.pt")
    """)
    assert [(call, path) for call, path, _ in opened(text)] == [("torch.save", "train.py")]


@pytest.mark.parametrize(
    ("save", "found"),
    [
        ("torch.save(optimizer.state_dict(), 'o.pt')", False),
        ("torch.save(losses, 'losses.pt')", False),
        ("tokenizer.save_pretrained('out')", False),
        ("model.save_pretrained('out')", True),
        ("torch.save({'epoch': 1, 'state': model.state_dict()}, 'm.pt')", True),
        ("torch.save(model, 'm.pt')", True),
    ],
)
def test_what_is_saved_has_to_be_weights(save: str, found: bool) -> None:  # noqa: FBT001
    assert (opened(loop(end=save + "\n", parameters=", tokenizer, losses")) != []) is found


def test_a_scaler_leaves_out_the_step_only_while_it_is_on() -> None:
    scaled = HEAD + textwrap.dedent("""
        def train(model, data, optimizer):
            scaler = torch.cuda.amp.GradScaler({})
            for x, y in data:
                scaler.scale(model(x, y)).backward()
                scaler.step(optimizer)
                scaler.update()
            torch.save(model.state_dict(), "model.pt")
    """)
    assert opened(scaled.format("")) == []
    assert len(opened(scaled.format("enabled=False"))) == 1


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "def save(model):\n    torch.save(model.state_dict(), 'm.pt')\n",
        HEAD + "def once(model, x, optimizer):\n    model(x).backward()\n    optimizer.step()\n    " + SAVE,
        "import joblib, sklearn.svm\nm = sklearn.svm.SVC()\nfor x in [0]:\n    m.fit([[x]])\njoblib.dump(m, 'm')\n",
        HEAD + "def saliency(model, data):\n    for x in data:\n        model(x).backward()\n    " + SAVE,
    ],
    ids=["no loop", "one step", "an estimator", "gradients without a step"],
)
def test_what_is_no_training_loop(text: str) -> None:
    assert opened(text) == []


def test_the_check_of_weights_before_the_training_says_nothing_of_them_after() -> None:
    text = loop().replace("    best = math.inf\n", "    if not math.isfinite(model.loss):\n        raise ValueError\n")
    assert len(opened(text)) == 1


def test_a_loop_of_tensorflow() -> None:
    text = textwrap.dedent("""
        import tensorflow as tf

        def train(model, optimizer, data):
            for x, y in data:
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((model(x) - y) ** 2)
                {check}
                grads = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(grads, model.trainable_variables))
            tf.saved_model.save(model, "out")
    """)
    assert [call for call, *_ in opened(text.format(check="pass"))] == ["tf.saved_model.save"]
    assert opened(text.format(check="tf.debugging.check_numerics(loss, 'loss')")) == []
