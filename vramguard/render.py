"""Charts rendered by helm itself, where the user allows it: the only other program, git aside, that is ever run.

A chart is copied to a folder of its own first, and `helm template` runs there with nothing of the user's: no home, no
plugins, no cluster, no proxies, no shell. It is ended after a while, and its answer is read no further than a bound.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts import HelmUnrendered, Launch, Manifest, Texts
from vramguard.link.rendered import facts_of, places_of
from vramguard.source import MAX_BYTES, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from vramguard.facts import Fact, Facts, PathClass
    from vramguard.link.helm import Charts

TIMEOUT: Final = 30.0  # seconds for one rendering
MAX_OUTPUT: Final = 16 << 20  # bytes of one rendering
_MAX_RENDERINGS: Final = 200  # of one repository
_MAX_CHART: Final = 64 << 20  # bytes of a chart's files
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "SystemRoot", "TMPDIR")


class _Rendering(NamedTuple):
    """What helm wrote, or why it did not."""

    text: str = ""
    reason: str = ""


def rendered(facts: Facts, charts: Charts, unjudged: Collection[PathClass]) -> Facts:
    """The facts with what each chart renders to in the place of its values and its templates.

    A chart that helm refuses stays as it is, with the reason beside it.
    """
    helm = shutil.which("helm")
    folders = [
        folder for folder, chart in sorted(charts.charts.items()) if not chart.library and not _within(folder, charts)
    ]
    folders = [folder for folder in folders if facts.classify(posixpath.join(folder, "Chart.yaml")) not in unjudged]
    new: list[Fact] = []
    gone: list[Fact] = []
    for folder in folders[:_MAX_RENDERINGS]:
        at = charts.charts[folder].at
        if helm is None:
            new.append(HelmUnrendered(at, "helm is not on PATH"))
            continue
        found, reasons = _chart(helm, folder, charts)
        if reasons:  # what its values say stands
            new += [HelmUnrendered(at, reason) for reason in reasons]
        else:
            new += found
            gone += _replaced(facts, charts, folder)
    new += [HelmUnrendered(charts.charts[folder].at, "too many charts") for folder in folders[_MAX_RENDERINGS:]]
    return facts.replacing(gone, new)


def _within(folder: str, charts: Charts) -> bool:
    """Whether a chart is vendored in another, which renders it with its own values."""
    return any(folder.startswith(posixpath.join(outer, "charts") + "/") for outer in charts.charts if outer != folder)


def _replaced(facts: Facts, charts: Charts, folder: str) -> Iterator[Fact]:
    """What was read of a chart's values as values, and that its templates need a renderer."""
    templates = tuple(posixpath.join(folder, inner) + "/" for inner in ("templates", "charts"))
    for launch in facts.of(Launch):
        if launch.form == "helm" and charts.owner(launch.at.path) == folder:
            yield launch
    of_templates: list[Fact] = [*facts.of(Launch), *facts.of(Texts), *facts.of(Manifest), *facts.of(Unreadable)]
    yield from (fact for fact in of_templates if fact.at.path.startswith(templates))


def _chart(helm: str, folder: str, charts: Charts) -> tuple[list[Fact], list[str]]:
    """What a chart renders to with its own values, and with each further file of values that stands beside them."""
    found: list[Fact] = []
    reasons: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vramguard-") as scratch:
        copied = _copied(folder, charts, Path(scratch) / "chart")
        for over in (None, *charts.overlays(folder)) if copied else ():
            rendering = _run(helm, Path(scratch), folder, over, charts)
            if rendering.reason:
                reasons.append(rendering.reason)
                continue
            values = charts.values(folder, *([node] if over and (node := charts.root(over)) else []))
            path_of = partial(charts.template_path, folder)
            for fact in facts_of(rendering.text, charts.charts[folder].name, path_of, places_of(values)):
                if fact not in found:
                    found.append(fact)
    return found, reasons if copied else ["its files are too large"]


def _copied(folder: str, charts: Charts, to: Path, depth: int = 3) -> bool:
    """Copy a chart's files, and its subcharts' of this repository to where helm looks for them; False if too large."""
    start = f"{folder}/" if folder else ""
    total = 0
    for path in charts.paths:
        if not path.startswith(start) or (data := charts.read(path)) is None:
            continue
        total += len(data)
        if total > _MAX_CHART or len(data) > MAX_BYTES:
            return False
        file = to / path.removeprefix(start)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    fine = True
    for subchart, where in charts.subcharts(folder):
        inner = to / "charts" / subchart.name
        if depth and not inner.exists() and re.fullmatch(r"[\w.-]+", subchart.name):
            fine = fine and _copied(where, charts, inner, depth - 1)
    return fine


def _run(helm: str, scratch: Path, folder: str, over: str | None, charts: Charts) -> _Rendering:
    words = [helm, "template", "release-name", str(scratch / "chart"), "--skip-tests", "--namespace", "default"]
    if over is not None:
        values = scratch / "values.yaml"
        values.write_bytes(charts.read(over) or b"")
        words += ["--values", str(values)]
    home = str(scratch / "home")
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    environment |= dict.fromkeys(
        ("HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_PLUGINS"), home
    )
    environment |= {"HELM_NO_PLUGINS": "1", "KUBECONFIG": os.devnull}
    rendering = _answer(words, environment, scratch)
    where = f" with {posixpath.relpath(over, folder or '.')}" if over else ""
    return rendering._replace(reason=f"{rendering.reason}{where}") if rendering.reason else rendering


def _answer(words: list[str], environment: dict[str, str], scratch: Path) -> _Rendering:
    """Run helm in a session of its own, which is ended as a whole."""
    refusal = scratch / "stderr"
    with refusal.open("wb") as stderr:
        try:
            process = subprocess.Popen(  # noqa: S603 - fixed words, and paths of our own
                words,
                cwd=scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            return _Rendering(reason=f"helm cannot be run: {error.strerror or error}")
        late: list[bool] = []
        timer = Timer(TIMEOUT, _end_late, (process, late))
        timer.start()
        try:
            data = process.stdout.read(MAX_OUTPUT + 1) if process.stdout else b""
        finally:
            timer.cancel()
            _end(process)
            code = process.wait()
            if process.stdout:
                process.stdout.close()
    if late:
        return _Rendering(reason=f"helm took longer than {TIMEOUT:g} seconds")
    if len(data) > MAX_OUTPUT:
        return _Rendering(reason=f"helm wrote more than {MAX_OUTPUT >> 20} MiB")
    if code != 0:
        return _Rendering(reason=f"helm says: {_first_line(refusal, scratch)}")
    return _Rendering(data.decode("utf-8", "replace"))


def _end_late(process: subprocess.Popen[bytes], late: list[bool]) -> None:
    late.append(True)
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of helm and of what it started."""
    end: Callable[[int, int], None] | None = getattr(os, "killpg", None)
    try:
        if process.poll() is None or end is not None:
            end(process.pid, signal.SIGKILL) if end else process.kill()
    except OSError:  # nothing is left
        pass


def _first_line(refusal: Path, scratch: Path) -> str:
    with refusal.open("rb") as stream:
        text = stream.read(4000).decode("utf-8", "replace").replace(str(scratch), "")
    line = next((line.strip() for line in text.split("\n") if line.strip()), "nothing")
    return line.removeprefix("Error: ")[:300]
