"""What `data/code_*.toml` says of other people's libraries: well formed, sourced, and true of paths that we know."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import tomli

Row = dict[str, Any]
FILES: Final = sorted((Path(__file__).parents[2] / "vramguard" / "data").glob("code_*.toml"))
MARKS: Final = frozenset({"source", "date", "call", "kind", "weak"})

# What a row of each table may say beside MARKS.
KEYS: Final[dict[str, set[str]]] = {
    "output": {
        "remote", "bounded_by", "constructor_bounded_by", "default_timeout_s", "default_retries", "object", "unless",
        "addresses", "carries", "structured",
    },
    "handler": {
        "framework", "decorator", "base", "methods", "own", "functions", "files", "classes", "function", "key",
        "arguments", "beside", "response_keyword", "annotation", "stream",
        "hands", "having",
    },
    "sink": {"gives", "assigned", "within", "receiver"},
    "response": {"bypass", "serialises_nan", "body", "stream", "stream_if", "file"},
    "aside": {"aside"},
    "finite": {"passes_when", "checks_nan", "checks_inf", "method", "raises"},
    "mask": {"arguments", "method"},
    "mask_if": {"arguments", "method", "value", "within"},
    "validator": {"checks", "raises", "answers", "patches", "needs", "object"},
    "save": {"of", "pushed"},
    "step": set(),
    "clip": {"error_keyword", "error_position", "skips"},
    "trainer": {
        "framework", "fit", "arguments", "arguments_at", "callbacks_at", "add_callback", "callback_base", "hooks",
        "overrides", "saves", "saves_unless", "saves_only_with", "leaks", "guards", "mitigations",
        "leaky_callbacks", "loop",
    },
    "fit": {"weak_for"},
    "load": {"of", "unsafe", "safe_keyword", "unsafe_keyword", "hash_keyword", "fetches", "code"},
    "download": {"url", "of", "hash_keyword"},
    "digest": set(),
    "fetch": {
        "bounded_by", "constructor_bounded_by", "positional_timeout", "default_timeout_s", "default_retries",
        "unbounded_if", "exact", "made", "of_model", "checks", "raises", "raises_keyword", "raises_constructor_keyword",
        "config", "callback", "only_if_url",
    },
    "retry": {
        "decorator", "stop", "stop_call", "wait", "when", "positional", "attempts", "retries", "default_attempts",
        "default_wait_s", "default_time_s", "unbounded_if", "mounted_by", "client", "batch",
    },
    "breaker": {"decorator", "wraps", "opens", "latency_aware", "fallback", "needs"},
    "fallback": {"decorator", "others"},
    "timeout": {
        "decorator", "bounds", "in_with", "decorates", "within_function", "whole_app", "middleware", "unbounded_if",
    },
    "clock": set(),
    "exit": {"assigned", "raises"},
    "execute": {"of"},
    "parse": {"of"},
    "promote": {"when", "unless", "registers", "names"},
    "load_folder": set(),
    "schedule": {"needs", "decorator", "assigned", "names", "job", "schedule", "schedule_if", "default_from"},
    "monitor": {"drift"},
    "gate": {"decorator", "argument", "timeout_keyword", "approves_by_default"},
    "commit": {"words"},
    "read": {"of", "files", "local", "documents", "array"},
    "upload": {"of", "is"},
    "public": {"names"},
    "remote": set(),
    "swallow": {"keyword", "is", "counted_by", "default_for"},
    "dataset": {"of"},
    "datacheck": {"decorator", "raises", "answers", "covers", "named"},
}  # fmt: skip
KINDS: Final = {
    "output": {"text", "number", "label", "vector", "media", "any"},
    "handler": {"http", "rpc", "ui", "bot", "batch"},
    "sink": {"page", "message", "queue", "cache", "database", "file", "stream"},
    "fit": {"estimator", "network", "job"},
    "execute": {"code", "shell", "sql", "tool"},
}
FOUND_BY: Final = ("having", "call", "aside", "decorator", "base", "functions", "classes", "assigned", "argument")
HOLDS_PATTERNS: Final = ("call", "aside", "decorator", "base", "object", "assigned", "callback_base")

# A name, or one of several, with wildcards; `()` and `[]` behind it any number of times; segments between dots.
NAME: Final = r"(?:[\w?*-]|\{[\w.()]+(?:,[\w.()]+)+\})+(?:\(\)|\[\])*(?:\*\*)?"
WELL_FORMED: Final = re.compile(rf"{NAME}(?:\.{NAME})*(?:(?:\(\)|\[\])+(?:\*\*)?)*")


@cache
def table(name: str) -> list[Row]:
    """The rows of one kind in every file, each with what `[default]` gives it."""
    found: list[Row] = []
    for file in FILES:
        read = tomli.loads(file.read_text("utf-8"))
        found += [read.get("default", {}) | row for row in read.get(name, [])]
    return found


def listed(value: object) -> list[str]:
    """The patterns of a key that may hold one or several; of one that holds something else, none."""
    given = [value] if isinstance(value, str) else value
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []


def expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression: `*` within a segment, `**` anything (`.**.` also one dot), `{a,b}` either."""
    text = re.escape(pattern).replace(r"\*\*", "\0").replace(r"\*", "[^.]*")
    text = re.sub(r"\\\{([^{}]*)\\\}", lambda found: "(?:" + found[1].replace(",", "|") + ")", text)
    return re.compile(text.replace("\\.\0\\.", r"\.(?:.*\.)?").replace("\0", ".*"))


@cache
def matchers(name: str, key: str) -> list[tuple[re.Pattern[str], Row]]:
    return [(expression(text), row) for row in table(name) for text in listed(row.get(key))]


def speaking(name: str, path: str, key: str = "call") -> Row | None:
    """The first row of a table that speaks of a path, whatever address is asked."""
    rows = (row for pattern, row in matchers(name, key) if pattern.fullmatch(path))
    return next((row for row in rows if not row.get("addresses")), None)


ROWS: Final = [
    pytest.param(name, row, id=f"{name}-{number}") for name in KEYS for number, row in enumerate(table(name))
]


def test_every_table_is_known() -> None:
    read = {name for file in FILES for name in tomli.loads(file.read_text("utf-8"))}
    assert read - {"default"} == set(KEYS)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_row_is_well_formed(name: str, row: Row) -> None:
    assert set(row) - MARKS - KEYS[name] == set()
    assert any(row.get(key) for key in FOUND_BY), "nothing finds it"
    assert row["source"].strip()
    assert date.fromisoformat(row["date"]) >= date(2026, 11, 1)
    assert name not in KINDS or row["kind"] in KINDS[name]
    for key in HOLDS_PATTERNS:
        patterns = listed(row.get(key))
        assert [text for text in patterns if not WELL_FORMED.fullmatch(text)] == []
        assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_no_row_speaks_of_everything(name: str, row: Row) -> None:
    said = [text for key in HOLDS_PATTERNS for text in listed(row.get(key)) if text.strip("?*.") == ""]
    assert said == [] or (row.get("weak") and row.get("methods")), f"{name}: {said}"


# A table, a path, and what the row says that speaks of it.
COVERED: Final[list[tuple[str, str, Row]]] = [
    ("output", "transformers.AutoModelForCausalLM.from_pretrained().generate", {"kind": "text"}),
    ("output", "transformers.pipeline()", {"kind": "text"}),
    ("output", "transformers.AutoModelForSequenceClassification.from_pretrained()", {"kind": "any"}),
    ("output", "torch.nn.Module()", {"kind": "any"}),
    ("output", "torch.jit.load()", {"kind": "any"}),
    ("output", "torch.load()", {"kind": "any"}),
    ("output", "torchvision.models.resnet50()", {"kind": "any"}),
    ("output", "vllm.LLM().generate", {"kind": "text"}),
    ("output", "vllm.AsyncLLMEngine.from_engine_args().generate", {"kind": "text"}),
    ("output", "llama_cpp.Llama()", {"kind": "text"}),
    ("output", "sklearn.linear_model.LinearRegression().fit().predict", {"kind": "number"}),
    ("output", "sklearn.ensemble.RandomForestClassifier().predict_proba", {"kind": "number"}),
    ("output", "sklearn.ensemble.RandomForestClassifier().predict", {"kind": "label"}),
    ("output", "sklearn.pipeline.make_pipeline().predict", {"kind": "any"}),
    ("output", "joblib.load().predict", {"kind": "any"}),
    ("output", "pickle.load().predict_proba", {"kind": "any"}),
    ("output", "xgboost.Booster().predict", {"kind": "any"}),
    ("output", "tensorflow.keras.models.load_model().predict", {"kind": "any"}),
    ("output", "onnxruntime.InferenceSession().run", {"kind": "any"}),
    ("output", "sentence_transformers.SentenceTransformer().encode", {"kind": "vector"}),
    (
        "output",
        "openai.OpenAI().chat.completions.create",
        {"remote": True, "default_timeout_s": 600, "default_retries": 2},
    ),
    ("output", "openai.AsyncOpenAI().beta.chat.completions.parse", {"remote": True}),
    ("output", "openai.ChatCompletion.create", {"remote": True, "bounded_by": ["request_timeout", "timeout"]}),
    ("output", "anthropic.Anthropic().messages.create", {"default_timeout_s": 600}),
    ("output", "groq.Groq().chat.completions.create", {"default_timeout_s": 60}),
    ("output", "ollama.chat", {"default_timeout_s": 0}),
    ("output", "boto3.client().invoke_endpoint", {"remote": True}),
    ("output", "langchain_openai.ChatOpenAI().invoke", {"kind": "text"}),
    ("output", "langchain_openai.ChatOpenAI().with_structured_output().ainvoke", {"kind": "text"}),
    ("output", "llama_index.core.VectorStoreIndex.from_documents().as_query_engine().query", {"kind": "text"}),
    ("output", "mlflow.pyfunc.load_model().predict", {"kind": "any"}),
    ("output", "tritonclient.grpc.InferenceServerClient().infer", {"bounded_by": ["client_timeout"]}),
    ("output", "tritonclient.http.InferenceServerClient().infer", {"constructor_bounded_by": ["network_timeout"]}),
    ("output", "whisper.load_model().transcribe", {"kind": "text"}),
    ("output", "diffusers.StableDiffusionPipeline.from_pretrained()", {"kind": "media"}),
    ("output", "ultralytics.YOLO()", {"kind": "any"}),
    ("output", "?self.model.predict", {"weak": True}),
    ("output", "?clf.predict_proba", {"weak": True}),
    ("output", "?self.llm.invoke", {"weak": True, "kind": "text"}),
    ("sink", "streamlit.write", {"kind": "page"}),
    ("sink", "kafka.KafkaProducer().send", {"kind": "queue"}),
    ("sink", "redis.Redis().setex", {"kind": "cache"}),
    ("response", "fastapi.responses.JSONResponse", {"bypass": True, "serialises_nan": "error"}),
    ("response", "fastapi.responses.ORJSONResponse", {"serialises_nan": "null"}),
    ("response", "flask.jsonify", {"serialises_nan": "NaN"}),
    ("response", "starlette.responses.StreamingResponse", {"stream": True}),
    ("finite", "torch.isfinite", {"passes_when": True, "checks_nan": True, "checks_inf": True}),
    ("finite", "numpy.isnan", {"passes_when": False, "checks_nan": True, "checks_inf": False}),
    ("finite", "torch.isnan().any().isinf", {"checks_nan": False, "checks_inf": True}),
    ("mask", "numpy.nan_to_num", {}),
    ("mask", "pandas.DataFrame().fillna", {}),
    ("mask_if", "numpy.where", {}),
    ("validator", "jsonschema.validate", {"checks": ["schema"]}),
    ("validator", "pydantic.TypeAdapter().validate_python", {"checks": ["schema"]}),
    ("save", "torch.save", {}),
    ("save", "accelerate.Accelerator().save_model", {}),
    ("save", "transformers.AutoModel.from_pretrained().push_to_hub", {"pushed": True}),
    ("step", "torch.nn.Module()().backward", {"kind": "gradient"}),
    ("step", "torch.optim.AdamW().step", {"kind": "update"}),
    ("clip", "torch.nn.utils.clip_grad_norm_", {"error_keyword": "error_if_nonfinite"}),
    ("trainer", "transformers.Trainer", {"framework": "transformers"}),
    ("trainer", "trl.GRPOTrainer", {"framework": "transformers"}),
    ("trainer", "pytorch_lightning.Trainer", {"framework": "lightning"}),
    ("trainer", "tensorflow.keras.Sequential().fit", {"framework": "keras"}),
    ("fit", "sklearn.ensemble.RandomForestRegressor().fit", {"kind": "estimator"}),
    ("fit", "transformers.Trainer().train", {"kind": "network"}),
    ("fit", "sagemaker.pytorch.PyTorch().fit", {"kind": "job"}),
    ("load", "torch.hub.load_state_dict_from_url", {"fetches": True}),
    ("download", "urllib.request.urlretrieve", {}),
    ("digest", "hashlib.sha256", {}),
    ("fetch", "requests.get", {"default_timeout_s": 0}),
    ("fetch", "httpx.AsyncClient().post", {"default_timeout_s": 5}),
    ("fetch", "aiohttp.ClientSession().get", {"default_timeout_s": 300}),
    ("fetch", "urllib.request.urlopen", {"raises": True}),
    ("breaker", "pybreaker.CircuitBreaker", {"latency_aware": False}),
    ("fallback", "langchain_openai.ChatOpenAI().with_fallbacks", {"others": ["fallbacks", 0]}),
    ("timeout", "asyncio.wait_for", {"bounds": ["timeout", 1]}),
    ("timeout", "concurrent.futures.ThreadPoolExecutor().submit().result", {"bounds": ["timeout", 0]}),
    ("exit", "os._exit", {"kind": "process"}),
    ("execute", "builtins.eval", {"kind": "code"}),
    ("execute", "os.system", {"kind": "shell"}),
    ("execute", "sqlite3.connect().cursor().execute", {"kind": "sql"}),
    ("parse", "json.loads", {}),
    ("promote", "mlflow.MlflowClient().transition_model_version_stage", {"kind": "stage"}),
    ("promote", "mlflow.tracking.MlflowClient().set_registered_model_alias", {"kind": "alias"}),
    ("schedule", "schedule.every().day.at().do", {"kind": "clock"}),
    ("schedule", "apscheduler.schedulers.background.BackgroundScheduler().add_job", {"job": ["func", 0]}),
    ("gate", "click.confirm", {}),
    ("gate", "prefect.pause_flow_run", {}),
    ("commit", "git.Repo().index.commit", {}),
    ("read", "pandas.read_csv", {"kind": "file"}),
    ("read", "datasets.load_dataset", {"kind": "hub"}),
    ("public", "torchvision.datasets.MNIST", {}),
    ("public", "tensorflow.keras.datasets.mnist.load_data", {}),
    ("swallow", "pandas.read_csv", {"keyword": "on_bad_lines"}),
    ("dataset", "langchain_community.vectorstores.Chroma.from_documents", {"kind": "vectors"}),
    ("dataset", "pandas.DataFrame().to_csv", {"kind": "table"}),
    ("datacheck", "great_expectations.from_pandas().validate", {"answers": ["success"]}),
]


@pytest.mark.parametrize(("name", "path", "said"), COVERED)
def test_a_call_is_known(name: str, path: str, said: Row) -> None:
    row = speaking(name, path)
    assert row is not None
    assert {key: row.get(key) for key in said} == said


# Of a table, by another key than `call`.
FOUND: Final = [
    ("handler", "decorator", "fastapi.FastAPI().post()"),
    ("handler", "decorator", "fastapi.APIRouter().get()"),
    ("handler", "decorator", "flask.Flask().route()"),
    ("handler", "decorator", "flask.Blueprint().post()"),
    ("handler", "decorator", "bentoml.api"),
    ("handler", "decorator", "ray.serve.deployment()"),
    ("handler", "decorator", "chainlit.on_message"),
    ("handler", "base", "kserve.Model"),
    ("handler", "base", "ts.torch_handler.base_handler.BaseHandler"),
    ("handler", "base", "cog.BasePredictor"),
    ("handler", "base", "litserve.LitAPI"),
    ("handler", "base", "flask_restful.Resource"),
    ("handler", "base", "rest_framework.views.APIView"),
    ("handler", "base", "greeter_pb2_grpc.GreeterServicer"),
    ("handler", "call", "gradio.Interface"),
    ("handler", "call", "gradio.Button().click"),
    ("retry", "decorator", "tenacity.retry"),
    ("retry", "decorator", "tenacity.retry()"),
    ("retry", "decorator", "backoff.on_exception()"),
    ("breaker", "decorator", "circuitbreaker.circuit()"),
    ("timeout", "decorator", "func_timeout.func_set_timeout()"),
    ("schedule", "decorator", "apscheduler.schedulers.blocking.BlockingScheduler().scheduled_job()"),
    ("schedule", "decorator", "airflow.decorators.dag()"),
    ("exit", "assigned", "uvicorn.Server().should_exit"),
    ("datacheck", "decorator", "pandera.check_types"),
]


@pytest.mark.parametrize(("name", "key", "path"), FOUND)
def test_what_is_no_call_is_known(name: str, key: str, path: str) -> None:
    assert speaking(name, path, key) is not None


# What looks alike, and is something else.
SILENT: Final = [
    ("output", "transformers.AutoTokenizer.from_pretrained()"),
    ("output", "transformers.AutoProcessor.from_pretrained()"),
    ("output", "transformers.DataCollatorForLanguageModeling()"),
    ("output", "torchvision.models.ResNet50_Weights.DEFAULT.transforms()"),
    ("output", "torchvision.transforms.Compose()"),
    ("output", "segmentation_models_pytorch.encoders.get_preprocessing_fn()"),
    ("output", "clip.load()[]"),
    ("output", "torch.nn.Linear()"),
    ("output", "torch.load"),
    ("output", "pyspark.ml.feature.VectorAssembler().transform"),
    ("output", "sklearn.preprocessing.StandardScaler().fit_transform"),
    ("output", "sklearn.metrics.mean_squared_error"),
    ("output", "evaluate.load().compute"),
    ("output", "openai.OpenAI().files.create"),
    ("output", "openai.OpenAI().fine_tuning.jobs.create"),
    ("output", "langchain_core.prompts.ChatPromptTemplate.from_messages().invoke"),
    ("output", "tensorflow.lite.TFLiteConverter.from_saved_model().convert"),
    ("output", "requests.post"),
    ("output", "?load_model"),
    ("output", "?db.query"),
    ("mask", "torch.nn.functional.interpolate"),
    ("mask", "numpy.where"),
    ("mask", "builtins.max"),
    ("mask", "?text.replace"),
    ("finite", "math.floor"),
    ("validator", "builtins.isinstance"),
    ("validator", "marshmallow.Schema().dump"),
    ("step", "sched.scheduler().enter"),
    ("save", "matplotlib.pyplot.savefig"),
    ("trainer", "transformers.TrainingArguments"),
    ("fit", "sklearn.preprocessing"),
    ("exit", "signal.signal"),
    ("promote", "fairseq.models.register_model"),
    ("public", "torchvision.datasets.utils.download_url"),
    ("gate", "prefect.flow"),
]


@pytest.mark.parametrize(("name", "path"), SILENT)
def test_a_likeness_is_not_taken_for_it(name: str, path: str) -> None:
    assert speaking(name, path) is None


def test_a_folder_of_ones_own_is_no_public_set() -> None:
    assert speaking("read", "torchvision.datasets.ImageFolder") is not None
    assert speaking("public", "torchvision.datasets.ImageFolder") is None
