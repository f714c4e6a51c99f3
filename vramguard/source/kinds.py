"""Which syntax a file is in: by its whole name, its suffix, or a pattern of its path."""

from __future__ import annotations

import re

# Kinds of file by their whole name, then by their suffix; an explicitly named .txt or .in file is requirements.
_REQUIREMENTS = re.compile(
    r"(?:^|/)(?:[^/]*(?:requirements?|constraints?)[^/]*\.(?:txt|in|pip|lock)|requirements/[^/]+\.(?:txt|in)"
    r"|(?:[^/]*[-_.])?(?:linux|osx|win)-(?:32|64|aarch64|arm64|ppc64le|s390x)\.(?:lock|txt))$",  # conda's own lists
    re.IGNORECASE,
)
_BY_NAME = {
    "poetry.lock": "toml",
    "uv.lock": "toml",
    "config.json": "json",
    "adapter_config.json": "json",
    "vramguard.lock": "json",
    "config.pbtxt": "pbtxt",
    "Makefile": "makefile",
    "makefile": "makefile",
    "GNUmakefile": "makefile",
    "Pipfile": "toml",
    "pdm.lock": "toml",
    "Pipfile.lock": "json",
    "pixi.lock": "yaml",
    ".condarc": "yaml",
    "setup.cfg": "ini",
    "tox.ini": "ini",
    "justfile": "justfile",
    "Justfile": "justfile",
    ".justfile": "justfile",
    "CODEOWNERS": "codeowners",
    "crontab": "shell",  # its lines hold commands
    **dict.fromkeys(("renovate.json", "renovate.json5", ".renovaterc", ".renovaterc.json"), "json5"),
    "README.md": "frontmatter",  # a Space of the hub says there what it runs on
}
_BY_SUFFIX = {
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".py": "python",
    ".ipynb": "notebook",
    ".sh": "shell",
    ".bash": "shell",
    **dict.fromkeys((".cron", ".crontab"), "shell"),
    ".mk": "makefile",
    ".env": "dotenv",
    ".proto": "proto",
    ".tf": "hcl",
    ".csv": "table",
    ".tsv": "table",
    ".jsonl": "records",
    ".ndjson": "records",
    ".parquet": "parquet",
}
# Kinds of which most files are no concern of ours: one that is no text says nothing, and is nobody's error.
LENIENT = frozenset(
    {"python", "notebook", "shell", "dockerfile", "makefile", "dotenv", "ini", "justfile", "frontmatter", "proto"}
    | {"apispec", "dashboard", "counters", "nginx", "haproxy", "hcl", "codeowners", "json5", "certificate"}
)
# `Dockerfile`, `Dockerfile.gpu`, `gpu.Dockerfile`, `gpu_Dockerfile`, `Containerfile`; `.env`, `.env.prod`.
_BY_PATTERN = (
    (
        re.compile(r"(?:docker|container)file(?:[._-][^/]+)?|[^/]+[._-](?:docker|container)file", re.IGNORECASE),
        "dockerfile",
    ),
    (re.compile(r"\.env(?:\.[^/]+)?"), "dotenv"),
    (re.compile(r"[^/]*haproxy[^/]*\.(?:cfg|conf)(?:\.[a-z0-9]+)?", re.IGNORECASE), "haproxy"),
    (re.compile(r"[^/]+\.(?:conf|nginx)(?:\.(?:template|tmpl|tpl|j2))?|nginx\.(?:template|tmpl)"), "nginx"),
    # `openapi.json`, `prices.swagger.json`, `api_spec.json`, `answer.schema.json`; not the schema of a chart
    (
        re.compile(
            r"(?!values\.schema\.json)(?:[^/]*(?:openapi|swagger|api[-_](?:docs|spec))[^/]*|(?:[^/]*[._-])?schema)\.json"
        ),
        "apispec",
    ),
)
INDEX = ".safetensors.index.json"  # names the file of each tensor
_ARGUMENTS = re.compile(r"/[0-9]/model\.json$")  # in the version folder of a model of Triton: an engine's arguments
# A list of records that is data, by its folder or its own name; a configuration of a model is not called so.
_RECORDS = re.compile(
    r"(?:^|/)(?:(?:data|datasets?|corpus|corpora)/(?:[^/]+/)*[^/]+"
    r"|(?:[^/]*[_-])?(?:train|training|dataset|corpus|alpaca|instruct|sft|dpo)(?:[_-][^/]*)?|[^/]+[_-]data)\.json$",
    re.IGNORECASE,
)
_DASHBOARD = re.compile(
    r"(?:^|/)(?:[^/]*(?:dashboard|grafana)[^/]*"
    r"|(?:[^/]*(?:dashboard|grafana|monitoring|observability|dashs)[^/]*/(?:[^/]+/)*[^/]+))\.json$",
    re.IGNORECASE,
)
# A certificate of ours, by the name that one is given: proof.json, llama.certificate.json.
_CERTIFICATE = re.compile(r"(?:^|/)(?:[^/]*[._-])?(?:proof|certificate)\.json$", re.IGNORECASE)
_COUNTERS = re.compile(r"(?:^|/)[^/]*(?:dcgm|default-counters|dcp-metrics)[^/]*\.csv$", re.IGNORECASE)
_EXPLICIT = {".txt": "requirements", ".in": "requirements", ".json": "json"}
PARSERS = ("requirements", "toml", "yaml", "json", "pbtxt", *sorted(LENIENT))


def kind_of(path: str, *, explicit: bool = False) -> str | None:
    """The syntax of the file at `path`, None for a file we do not read.

    `explicit`: the user named this very file (or another file includes it), so a bare `.txt` is requirements.
    """
    name = path.rpartition("/")[2]
    suffix = "." + name.rpartition(".")[2].lower() if "." in name else ""
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.endswith(INDEX) or _ARGUMENTS.search(path):
        return "json"
    if _REQUIREMENTS.search(path):
        return "requirements"
    if suffix == ".csv" and _COUNTERS.search(path):
        return "counters"
    known = _BY_SUFFIX.get(suffix) or next((kind for pattern, kind in _BY_PATTERN if pattern.fullmatch(name)), None)
    if known or explicit:
        return known or _EXPLICIT.get(suffix)
    return _of_json(path) if suffix == ".json" else None


def _of_json(path: str) -> str | None:
    """What a file of JSON is that nobody named: a certificate, a dashboard, or a list of records."""
    if _CERTIFICATE.search(path):
        return "certificate"
    if _DASHBOARD.search(path):
        return "dashboard"
    return "records" if _RECORDS.search(path) else None
