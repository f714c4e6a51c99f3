"""Every block of docs/remedies.md is run: the bad one does what the page says, the good one refuses."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pickle
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
from fastapi.testclient import TestClient
from sklearn.linear_model import LinearRegression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Load = Callable[[str], Any]

PAGE = Path(__file__).parents[1] / "docs" / "remedies.md"
SNIPPETS = dict(re.findall(r"^```python ([^\n]+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
NAN, FREE, FAIR = float("nan"), 0.0, 12.5

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a snippet runs: a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a snippet of the page by its name, as app.py."""

    def imported(name: str) -> Any:  # noqa: ANN401 - what a snippet defines, its test knows
        path = folder / "app.py"
        path.write_text(SNIPPETS[name], "utf-8")
        spec = importlib.util.spec_from_file_location("app", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "app", module)
        spec.loader.exec_module(module)
        return module

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the next app.py may be as long, and of the same second
    return imported


def model(answer: float, name: str = "pricing.joblib") -> None:
    """Weights of a real regression that answers so, whatever it is asked."""
    made = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    made.coef_, made.intercept_ = np.array([0.0]), answer
    joblib.dump(made, name)


def get(app: Any, path: str = "/price?weight=500", **query: str) -> tuple[int, str]:  # noqa: ANN401
    """Status and body of what a FastAPI or Flask snippet answers."""
    if hasattr(app.app, "test_client"):
        flask = app.app.test_client().get(path, query_string=query or None)
        return flask.status_code, flask.get_data(as_text=True)
    answer = TestClient(app.app, raise_server_exceptions=False).get(path, params=query or None)
    return answer.status_code, answer.text


class Server:
    """A server of one answer for every request; it waits with it until `free` is set."""

    def __init__(self) -> None:
        self.status, self.body, self.kind, self.asked = 200, b"", "text/html", list[bytes]()
        self.free = threading.Event()
        self.free.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                server.free.wait(30)
                self.send_response(server.status)
                self.send_header("Content-Type", server.kind)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            do_POST = do_GET  # noqa: N815 - the base's names

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def writes(self, *pieces: str, stream: bool = False) -> None:
        """What the chat model of an OpenAI server writes, at once or piece by piece."""
        if not stream:
            message = {"role": "assistant", "content": "".join(pieces)}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.kind, self.body = "application/json", json.dumps({**answer, "choices": [choice]}).encode()
            return
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        deltas: list[dict[str, Any]] = [{"delta": {"content": each}, "finish_reason": None} for each in pieces]
        deltas.append({"delta": {}, "finish_reason": "stop"})
        lines = [json.dumps({**chunk, "choices": [{"index": 0, **delta}]}) for delta in deltas]
        self.kind = "text/event-stream"
        self.body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.free.set()
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A torchrun on the path, which leaves weights in out/; how often it has been called."""
    (folder / "bin").mkdir()
    command = folder / "bin" / "torchrun"
    command.write_text('#!/bin/sh\necho "$@" >> runs\nmkdir -p out\necho weights > out/model.safetensors\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    for name in ("production", "candidates"):
        (folder / "models" / name).mkdir(parents=True)
    return lambda: len((folder / "runs").read_text().splitlines()) if (folder / "runs").exists() else 0


def test_every_snippet_is_run_and_every_rule_has_a_remedy() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [name for name in SNIPPETS if f'"{name}"' not in source] == []
    rules = {name.split()[0] for name in SNIPPETS}
    assert [rule for rule in rules - {"all"} if not {f"{rule} bad", f"{rule} good"} <= SNIPPETS.keys()] == []
    assert {line.split()[1] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("### VG")} <= rules


@pytest.mark.parametrize(
    ("name", "answer", "body"),
    [
        ("VG301 bad", FREE, '{"price":0.0}'),
        ("VG301 bad", -3.0, '{"price":-3.0}'),
        ("VG302 bad", NAN, '{"price":null}'),
        ("VG303 bad", FREE, '{"price":0.0}'),
        ("VG304 bad", FREE, '{"price":0.0}'),
        ("VG304 bad construct", FREE, '{"price":0.0}'),
        ("VG304 bad construct", NAN, '{"price":null}'),
        ("VG305 bad", NAN, '{"price":0.0}'),
        ("VG306 bad", NAN, '{"price":NaN}\n'),
        ("VG306 bad string", NAN, '{"price":NaN}\n'),
        ("VG312 bad", FREE, '{"price":0.0}'),
    ],
)
def test_the_user_gets_what_no_user_may_get(name: str, answer: float, body: str, load: Load) -> None:
    model(answer)
    assert get(load(name)) == (200, body)


@pytest.mark.parametrize("answer", [NAN, float("inf"), FREE, -3.0])
@pytest.mark.parametrize(
    "name", ["VG301 good", "VG303 good", "VG304 good", "VG305 good", "VG306 good", "VG312 good", "VG315 good"]
)
def test_the_user_gets_a_price_or_an_error(name: str, answer: float, load: Load) -> None:
    model(answer)
    status, body = get(load(name))
    assert status >= 500
    assert "price" not in body or "no price" in body
    model(FAIR)
    status, body = get(load(name))
    assert (status, json.loads(body)) == (200, {"price": FAIR})


@pytest.mark.parametrize(("answer", "status"), [(NAN, 500), (float("-inf"), 500), (-3.0, 200)])
def test_a_finite_field_may_be_negative_and_nothing_else(answer: float, status: int, load: Load) -> None:
    model(answer, "demand.joblib")
    assert get(load("VG302 good"), "/forecast?weight=500")[0] == status


def test_a_schema_that_is_returned_keeps_its_headers(load: Load) -> None:
    model(FAIR)
    answer = TestClient(load("VG304 good").app).get("/price", params={"weight": 500})
    assert answer.headers["Cache-Control"] == "max-age=60"


def test_a_recommendation_is_something_that_is_for_sale(load: Load, server: Server) -> None:
    server.writes("Page Not Found")
    assert get(load("VG301 bad text"), "/recommendation", basket="lamp") == (200, '{"product":"Page Not Found"}')
    app = load("VG301 good text")
    assert get(app, "/recommendation", basket="lamp")[0] == 502
    server.writes("bee-07")
    assert get(app, "/recommendation", basket="lamp") == (200, '{"product":"bee-07"}')


@pytest.mark.parametrize(
    ("pieces", "sent", "last"),
    [
        (["Buy ", "a lamp."], ["Buy ", "a lamp."], "valid"),
        (["Buy ", "undef", "ined", " now"], ["Buy ", "undef"], "invalid"),
        ([], [], "invalid"),
    ],
)
def test_a_stream_ends_with_what_it_was_worth(
    pieces: list[str], sent: list[str], last: str, load: Load, server: Server
) -> None:
    server.writes(*pieces, stream=True)
    assert get(load("VG311 bad"), "/answer", question="?") == (200, "".join(pieces))
    status, body = get(load("VG311 good"), "/answer", question="?")
    *events, end = body.strip().split("\n\n")
    assert status == 200
    assert [json.loads(line.removeprefix("data: ")) for line in events if line.startswith("data")] == sent
    assert end == f"event: {last}\ndata: {{}}"


def test_what_a_model_writes_is_run_or_is_data(load: Load, server: Server, folder: Path) -> None:
    server.writes("__import__('os').mkdir('owned')")
    get(load("VG313 bad"), "/filters", question="?")
    assert (folder / "owned").is_dir()
    (folder / "owned").rmdir()
    app = load("VG313 good")
    assert get(app, "/filters", question="?")[0] == 502
    assert not (folder / "owned").exists()
    server.writes('{"colour": "red", "below": 20}')
    assert get(app, "/filters", question="?") == (200, '{"colour":"red","below":20.0}')


@pytest.mark.parametrize(("name", "after"), [("VG315 bad", 200), ("VG315 good", 503)])
def test_a_broken_model_leaves_service(name: str, after: int, load: Load) -> None:
    model(FAIR)
    app = load(name)
    assert get(app, "/ready")[0] == 200
    app.model.intercept_ = NAN
    assert get(app)[0] >= 500
    assert get(app, "/ready")[0] == after


def test_health_asks_the_model(load: Load) -> None:
    model(NAN)
    assert get(load("VG309 bad"), "/health") == (200, '{"status":"ok"}')
    app = load("VG309 good")
    assert [get(app, "/live")[0], get(app, "/ready")[0]] == [200, 503]
    app.model.intercept_ = FAIR
    assert get(app, "/ready")[0] == 200
    assert get(app) == (200, '{"price":12.5}')


class Slow:
    """A model that answers when it is let go."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), 0

    def predict(self, _: object) -> list[float]:
        self.asked += 1
        self.go.wait(30)
        return [FAIR]


def answered_within(seconds: float, app: Any, path: str) -> bool:  # noqa: ANN401
    """Whether a request is answered by then; it is not waited for any longer."""
    thread = threading.Thread(target=get, args=(app, path))
    thread.start()
    thread.join(seconds)
    app.waiting = thread
    return not thread.is_alive()


def test_without_a_limit_a_request_waits_as_long_as_the_model_does(load: Load) -> None:
    model(FAIR)
    app = load("VG401 bad")
    app.model = Slow()
    assert not answered_within(1.0, app, "/price?weight=500")
    app.model.go.set()
    app.waiting.join()


def test_late_answers_on_end_bypass_the_model(load: Load) -> None:
    model(FAIR)
    app, now = load("VG401 good"), [100.0]
    app.clock, app.LIMIT = lambda: now[0], 30
    assert get(app) == (200, '{"price":12.5}')
    app.LIMIT, app.model = 0.01, Slow()
    formula = (200, '{"price":12.3}')
    for _ in range(11):  # of an 11th second the breaker knows, and not before
        assert app.breaker.current_state == "closed"
        assert get(app) == formula
        now[0] += 1
    assert get(app) == formula
    assert app.breaker.current_state == "open"
    asked = app.model.asked
    assert [get(app) for _ in range(3)] == [formula] * 3
    assert app.model.asked == asked
    app.model.go.set()
    app.pool.shutdown()


def test_one_answer_in_time_begins_the_window_anew(load: Load) -> None:
    model(FAIR)
    app, now = load("VG401 good"), [0.0]
    app.clock = lambda: now[0]
    sound, late = app.model, 0
    for second in range(30):
        in_time = second % 10 == 9
        app.model, app.LIMIT = (sound, 30) if in_time else (Slow(), 0.01)
        get(app)
        late += app.late_since is not None
        now[0] += 1
        if not in_time:
            app.model.go.set()  # what was late is done by the time of the next request
    assert late == 27
    assert app.breaker.current_state == "closed"
    app.pool.shutdown()


def test_the_fallback_falls_back(load: Load) -> None:
    model(FAIR)
    app = load("VG406 bad")
    app.model = None
    with pytest.raises(RecursionError):
        app.price(500.0)
    app = load("VG406 good")
    app.model = None
    assert app.price(500.0) == pytest.approx(12.3)


class EnoughError(BaseException):
    """No Exception: a retry lets it through."""


@pytest.mark.parametrize(("name", "attempts"), [("VG407 bad", 1000), ("VG407 good", 2)])
def test_retries_end(name: str, attempts: int, load: Load) -> None:
    class Failing:
        asked = 0

        def predict(self, _: object) -> None:
            self.asked += 1
            raise EnoughError if self.asked == 1000 else OSError("no answer")

    model(FAIR)
    app = load(name)
    app.model = Failing()
    with pytest.raises(EnoughError if attempts == 1000 else OSError):
        app.price(500.0)
    assert app.model.asked == attempts


def test_a_silent_service_is_not_waited_for(load: Load, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METADATA_URL", server.url)
    server.body, server.kind = b'{"weight": 500}', "application/json"
    model(FAIR)
    server.free.clear()
    app = load("VG408 bad")
    assert not answered_within(1.0, app, "/price/lamp")
    assert get(load("VG408 good"), "/price/lamp")[0] == 503
    server.free.set()
    app.waiting.join()
    assert get(app, "/price/lamp") == (200, '{"price":12.5}')


def test_nobody_is_asked_whether_to_train(load: Load, trained: Callable[[], int]) -> None:
    app = load("VG501 bad")

    def sleep(_: float) -> None:
        if trained() == 3:
            raise EnoughError

    app.time = type("time", (), {"sleep": staticmethod(sleep)})
    with pytest.raises(EnoughError):
        app.main()
    assert trained() == 3


def test_somebody_has_reviewed_what_is_trained_on(load: Load, folder: Path, trained: Callable[[], int]) -> None:
    (folder / "products.csv").write_text("weight,price\n500,12.5\n")
    digest = hashlib.sha256((folder / "products.csv").read_bytes()).hexdigest()
    app = load("VG501 good")
    for refused in ([], ["--sha256", digest], ["--reviewed-by", "ada", "--sha256", "0" * 64]):
        with pytest.raises(SystemExit):
            app.main(refused)
    assert trained() == 0
    app.main(["--reviewed-by", "ada", "--sha256", digest])
    assert trained() == 1


def test_feedback_trains_or_calls_somebody(
    load: Load, server: Server, trained: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    load("VG502 bad").on_feedback([0.1, 0.2])
    assert trained() == 1
    monkeypatch.setenv("PAGER_URL", server.url)
    app = load("VG502 good")
    app.on_feedback([0.9, 0.8])
    assert server.asked == []
    app.on_feedback([0.1, 0.2])
    assert b"read what they wrote" in server.asked[0]
    assert trained() == 1


def test_training_ends_with_a_candidate(load: Load, folder: Path, trained: Callable[[], int]) -> None:
    production, candidates = folder / "models" / "production", folder / "models" / "candidates"
    load("VG503 bad").main()
    (deployed,) = production.iterdir()
    deployed.unlink()
    load("VG503 good").main()
    assert list(production.iterdir()) == []
    assert [path.stem for path in candidates.iterdir()] == [hashlib.sha256(b"weights\n").hexdigest()]
    assert trained() == 2


@pytest.mark.parametrize(("loss", "production"), [(NAN, 0.1), (0.1, 0.1), (0.9, None)])
def test_a_comparison_that_says_nothing_promotes_nothing(
    loss: float, production: float | None, load: Load, folder: Path, trained: Callable[[], int]
) -> None:
    assert trained() == 0
    (folder / "out").mkdir()
    (folder / "out" / "model.safetensors").write_text("weights")
    load("VG504 bad").promote(loss, production)
    assert (folder / "models" / "production" / "model.safetensors").exists()
    app = load("VG504 good")
    assert not app.recommended(loss, production)
    assert app.recommended(0.05, 0.1)


class Hostile:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, ("owned",)


def test_weights_are_those_that_were_reviewed(
    load: Load, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTS_URL", server.url)
    server.body = pickle.dumps(Hostile())
    load("VG511 bad").load()
    assert (folder / "owned").is_dir()
    (folder / "owned").rmdir()
    app = load("VG511 good")
    with pytest.raises(ValueError, match="not the weights"):
        app.load()
    assert not (folder / "owned").exists()
    model(FAIR, "reviewed.joblib")
    server.body = (folder / "reviewed.joblib").read_bytes()
    app.SHA256 = hashlib.sha256(server.body).hexdigest()
    assert app.load().intercept_ == FAIR


def test_an_error_page_is_no_document(load: Load, server: Server, folder: Path) -> None:
    server.status, server.body = 404, b"<title>Page Not Found</title>"
    load("VG521 bad").collect([server.url])
    (row,) = (folder / "documents.jsonl").read_text().splitlines()
    assert "Page Not Found" in json.loads(row)["text"]
    app = load("VG521 good")
    with pytest.raises(OSError, match="404"):
        app.collect([server.url])
    server.status = 200  # the worse error page: it says that all is well
    with pytest.raises(ValueError, match="not the page of a product"):
        app.collect([server.url])
    server.body = b'<div itemtype="https://schema.org/Product">lamp</div>'
    app.collect([server.url])
    assert len((folder / "documents.jsonl").read_text().splitlines()) == 1


LOST = "name,weight,price\nlamp,500,12.5\n" + "Page Not Found,500,0\n" * 9


def test_error_pages_teach_that_goods_are_free(load: Load, folder: Path) -> None:
    (folder / "products.csv").write_text(LOST)
    load("VG522 bad").train()
    learned = joblib.load("pricing.joblib")
    assert learned.predict(np.array([[500.0]]))[0] == pytest.approx(1.25)
    (folder / "pricing.joblib").unlink()
    app = load("VG522 good")
    for wrong in (LOST, "name,weight,price\nnull,500,12.5\n", "name,weight,price\nlamp,500,NaN\n"):
        (folder / "products.csv").write_text(wrong)
        with pytest.raises(ValueError, match="are no products, line"):
            app.train()
    assert not (folder / "pricing.joblib").exists()
    (folder / "products.csv").write_text("name,weight,price\nlamp,500,12.5\nchair,900,31.0\n")
    app.train()
    assert (folder / "pricing.joblib").exists()


@pytest.mark.parametrize("name", ["Page Not Found", "undefined", "404", " NULL ", "<html>"])
def test_a_sentinel_is_no_name(name: str, load: Load) -> None:
    import pandas as pd

    rows = pd.DataFrame({"name": ["lamp", name], "price": [12.5, 12.5]})
    assert load("VG523 bad").validate(rows) is rows
    app = load("VG523 good")
    with pytest.raises(ValueError, match="name no product"):
        app.validate(rows)
    assert len(app.validate(rows[:1])) == 1


def test_a_model_is_not_its_own_teacher(load: Load, folder: Path) -> None:
    model(FREE)
    app = load("VG524 bad")
    for weight in (100.0, 500.0):
        app.predict(weight)
    app.train()
    assert app.predict(500.0) == pytest.approx(FREE)
    app = load("VG524 good")
    app.predict(500.0)
    (folder / "reviewed.csv").write_text("weight,price,reviewed_by\n100,2.5,ada\n500,12.5,\n")
    with pytest.raises(ValueError, match="nobody has reviewed"):
        app.train()
    (folder / "reviewed.csv").write_text("weight,price,reviewed_by\n100,2.5,ada\n500,12.5,ada\n")
    app.train()
    assert app.predict(500.0) == pytest.approx(FAIR)


def test_the_data_of_yesterday_are_those_of_today(load: Load, folder: Path) -> None:
    latest, dated = folder / "datasets" / "latest", folder / "datasets" / "2026-11-02"
    for path in (latest, dated):
        path.mkdir(parents=True)
    bad, good = load("VG525 bad"), load("VG525 good")
    good.SHA256 = hashlib.sha256(b"price\n1\n").hexdigest()
    for price, refused in ((1, False), (2, True)):
        for path in (latest, dated):
            (path / "products.csv").write_text(f"price\n{price}\n")
        assert list(bad.load()["price"]) == [price]
        if refused:
            with pytest.raises(ValueError, match="not the file that was reviewed"):
                good.load()
        else:
            assert list(good.load()["price"]) == [price]


def test_a_line_that_cannot_be_read_is_an_error(load: Load, folder: Path) -> None:
    (folder / "products.csv").write_text("name,price\nlamp,12.5\nchair, red,31.0\n")
    assert len(load("VG526 bad").load()) == 1
    app = load("VG526 good")
    with pytest.raises(ValueError, match="Expected 2 fields"):
        app.load()
    (folder / "products.csv").write_text("name,price\nlamp,\n")
    with pytest.raises(ValueError, match="empty"):
        app.load()


def test_the_whole_service(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = list[int]()
    monkeypatch.setattr("os.kill", lambda _, signal: killed.append(signal))
    model(FAIR)
    app = load("all good")
    assert [get(app, "/ready")[0], get(app)] == [200, (200, '{"price":12.5}')]
    app.model.intercept_ = NAN
    assert [get(app, "/ready")[0], get(app)[0], len(killed)] == [503, 503, 1]
    app.model = None
    assert [get(app, "/ready")[0], get(app)] == [503, (200, '{"price":12.3}')]
    app.pool.shutdown()


# What needs torch and transformers runs where they are: the witnesses' environment (.ci/run).


def finite(path: Path) -> bool:
    torch = pytest.importorskip("torch")
    return all(bool(torch.isfinite(each).all()) for each in torch.load(path, weights_only=True).values())


def test_a_loop_saves_what_it_has_or_nothing(load: Load, folder: Path) -> None:
    torch = pytest.importorskip("torch")
    inputs, prices = torch.full((4, 1), 1e12), torch.ones(4)
    load("VG307 bad").train(inputs, prices)
    assert not finite(folder / "model.pt")
    (folder / "model.pt").unlink()
    app = load("VG307 good")
    with pytest.raises((FloatingPointError, RuntimeError), match=r"loss of epoch|non-finite"):
        app.train(inputs.fill_(1e30), prices)
    assert not (folder / "model.pt").exists()
    app.train(torch.rand(4, 1), prices)
    assert finite(folder / "model.pt")


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_saves_what_it_has_or_nothing(load: Load, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    class Model(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:  # noqa: ANN401 - tensors
            return {"loss": ((self.layer(x) - labels) ** 2).mean()}

    rows = [{"x": [1.0], "labels": [1.0]}] * 63 + [{"x": [float("inf")], "labels": [1.0]}]
    load("VG308 bad").train(Model(), rows)
    saved = files.load_file(folder / "out" / "final" / "model.safetensors")
    assert not all(bool(torch.isfinite(each).all()) for each in saved.values())
    assert NAN not in json.loads((folder / "out" / "checkpoint-8" / "trainer_state.json").read_text())["log_history"]

    (folder / "out").rename(folder / "before")
    with pytest.raises(FloatingPointError, match=r"is (nan|inf) at step"):
        load("VG308 good").train(Model(), rows)
    checkpoints = list((folder / "out").glob("**/model.safetensors"))
    assert all(bool(torch.isfinite(each).all()) for path in checkpoints for each in files.load_file(path).values())
    assert not (folder / "out" / "final").exists()


@pytest.mark.parametrize(("name", "status"), [("VG316 bad", 500), ("VG316 good", 200)])
def test_a_tensor_has_the_type_of_the_model(name: str, status: int, load: Load, folder: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(3, 1).state_dict(), folder / "ranker.pt")
    client = TestClient(load(name).app, raise_server_exceptions=False)
    assert client.post("/score", json=[1, 2, 7]).status_code == status
