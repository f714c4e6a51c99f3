"""Write vramguard/memory/recorded/: what a forward pass of each class keeps alive, as formulas of its config.

    python scripts/record_activations.py [MODEL_TYPE ...] [--check 8] [--missing]

Run it where torch and transformers are installed; a newer transformers is one run and one diff to review. Each class is
traced in several sizes in each regime (kernel, mask), its moments become polynomials in the config's own names, and
other configs of the class are traced against the result: one that needs more than the formulas say is recorded too.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests" / "memory")]
import transformers  # noqa: E402
from recorder.classes import Recording, record_class  # noqa: E402
from scoreboard import pairs  # noqa: E402

from vramguard.memory.architecture import UnprovenError  # noqa: E402
from vramguard.memory.families import MODULES  # noqa: E402

FOLDER = Path(__file__).parents[1] / "vramguard" / "memory" / "recorded"


def main() -> None:
    """Record the classes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--check", type=int, default=8, help="perturbed configs to try on the result")
    parser.add_argument("--missing", action="store_true", help="only classes that have no file yet")
    parser.add_argument("--own", action="store_true", help="classes that need more than the language model in them")
    parser.add_argument("--quick", action="store_true", help="without flash_attention_2 and other activation functions")
    parser.add_argument("--part", default="0/1", help="one of several processes: its number, and how many there are")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)
    FOLDER.mkdir(exist_ok=True)
    number, parts = map(int, options.part.split("/"))
    wanted = [(t, n) for t, n in pairs() if t in MODULES and (not options.types or t in options.types)]
    for model_type, name in wanted[number::parts]:
        path = FOLDER / f"{model_type}.{name}.json"
        if not (options.missing and path.exists()):
            _record(path, model_type, name, options)


def _record(path: Path, model_type: str, name: str, options: argparse.Namespace) -> None:
    start = time.time()
    try:
        recording = record_class(model_type, name, options.check, own=options.own, thorough=not options.quick)
    except UnprovenError as error:
        print(f"{model_type} {name}: {error}", flush=True)
        return
    if not recording.variants:
        print(f"{model_type} {name}: its language model's", flush=True)
        return
    for line in (*recording.failures, *(f"below the trace, not written: {line}" for line in recording.unsound)):
        print(f"    {model_type} {name} {line}", flush=True)
    print(f"{model_type} {name}: {recording.summary} in {time.time() - start:.1f} s", flush=True)
    if not recording.unsound and any(variant["regimes"] for variant in recording.variants.values()):
        path.write_text(_text(recording), encoding="utf-8")


def _text(recording: Recording) -> str:
    """One moment a line, so that a change is read as one."""
    text = json.dumps({"transformers": transformers.__version__, "variants": recording.variants}, indent=1)
    return _joined(text)


def _joined(text: str) -> str:
    """Put each moment, which json.dumps spreads over lines, on one."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        start = line.strip() == "{" and bool(lines) and lines[-1].rstrip().endswith(("[", "},"))
        if inside:
            lines[-1] += (" " if lines[-1].endswith((",", ":")) else "") + line.strip()
            inside = line.strip() not in ("}", "},") or lines[-1].count("{") != lines[-1].count("}")
        else:
            lines.append(line)
            inside = start
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
