"""Asking the hub: a model's commit, its config, and the bytes of its weights.

Through the session of huggingface_hub (the extra `hub`, imported here and nowhere else), so that an endpoint, a token,
a proxy, certificates and offline mode are its users' own. What it answers is read here: only so can an answer be
bounded in size and time, and each refusal be one line that names the model. Nothing is written to the cache.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from vramguard import __version__
from vramguard.hub.found import (
    CONFIG,
    INDEX,
    MAX_CONFIG,
    MAX_INDEX,
    PIPELINE,
    Asked,
    Found,
    HubError,
    found,
    is_commit,
    parsed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MISSING: Final = 'asking the hub needs `pip install "vramguard[hub]"`'
_TRIES: Final = 4
_MAX_WAIT: Final = 30.0  # seconds that a busy hub is waited for; what asks for more is told to the user
_MAX_TIME: Final = 60.0  # seconds for one answer, however slowly it drips
_MAX_INFO: Final = 16 << 20  # bytes of what the hub says of a repository: a name for each of its files
_BUSY: Final = 429
_BYTES: Final = {
    8: ("F64", "I64", "U64"),
    4: ("F32", "I32", "U32"),
    2: ("F16", "BF16", "I16", "U16"),
    1: ("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"),
}
_WIDTHS: Final = {name: width for width, names in _BYTES.items() for name in names}


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    data: bytes


class Hub:
    """The hub, as the environment names it. Raises `HubError` where the client is not installed, or is offline."""

    def __init__(self) -> None:
        try:
            client: Any = import_module("huggingface_hub.utils")
            constants: Any = import_module("huggingface_hub.constants")
            errors: Any = import_module("huggingface_hub.errors")
        except ImportError as error:
            raise HubError(MISSING) from error
        self.endpoint = (os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)).rstrip("/")
        token = client.get_token_to_send(None)  # HF_TOKEN, or what `hf auth login` left
        self._headers = {
            "user-agent": f"vramguard/{__version__}",
            **({"authorization": f"Bearer {token}"} if token else {}),
        }
        self._session: Any = client.get_session
        self._timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        # The class that every fault of the session is of: httpx.HTTPError, which a later version has renamed.
        kinds = errors.HfHubHTTPError.__mro__
        self._faults: tuple[type[Exception], ...] = (*(k for k in kinds if k.__name__ == "HTTPError"), OSError)

    def resolve(self, asked: Asked) -> Found:
        """The model as it stands on the hub at the revision asked for. Raises `HubError`."""
        info = self._info(asked)
        commit = info.get("sha")
        if not isinstance(commit, str) or not is_commit(commit):
            raise HubError(f"`{asked}`: the hub names no commit of it")
        names = _files(info)
        if names is not None and CONFIG not in names:
            _refuse_other(asked, names)
        config = self._file(asked, commit, CONFIG, MAX_CONFIG)
        if config is None:
            raise HubError(f"`{asked}` has no config.json: not a model that transformers loads")
        index = self._file(asked, commit, INDEX, MAX_INDEX) if INDEX in (names or ()) else None
        said = found(asked, commit, "hub", config, index)
        return said if said.total_size is not None else said._replace(total_size=_stored(info))

    def _info(self, asked: Asked) -> Mapping[str, Any]:
        path = f"/api/models/{quote(asked.model)}"
        if asked.revision is not None:
            path += f"/revision/{quote(asked.revision, safe='')}"
        answer = self._get(asked, path, _MAX_INFO)
        if answer.status != 200:  # noqa: PLR2004 - OK
            self._refuse(asked, answer)
        return parsed(asked, "description on the hub", answer.data)

    def _file(self, asked: Asked, commit: str, name: str, most: int) -> bytes | None:
        """A file's bytes; None where the repository has none of that name."""
        answer = self._get(asked, f"/{quote(asked.model)}/resolve/{commit}/{name}", most)
        if answer.status == 404 and answer.headers.get("x-error-code") in ("EntryNotFound", None):  # noqa: PLR2004
            return None
        if answer.status != 200:  # noqa: PLR2004 - OK
            self._refuse(asked, answer)
        return answer.data

    def _get(self, asked: Asked, path: str, most: int) -> _Answer:
        """One answer, asked for again where the hub is busy or breaks off."""
        waited, why = 0.0, ""
        for attempt in range(_TRIES):
            try:
                answer = self._once(asked, path, most)
            except self._faults as error:
                answer, why = None, _fault(error)
                if "offline mode" in str(error).lower():
                    raise HubError(f"`{asked}`: HF_HUB_OFFLINE is set, and the cache does not hold it") from error
            if answer is not None and answer.status != _BUSY and answer.status < 500:  # noqa: PLR2004 - the hub's own
                return answer
            pause = _pause(answer, attempt)
            if answer is not None:
                waits = f" and asks to wait {pause:.0f} s" if "retry-after" in answer.headers else ""
                why = f"the hub answers {answer.status}{waits}"
            if attempt + 1 == _TRIES or waited + pause > _MAX_WAIT:
                break
            sleep(pause)
            waited += pause
        raise HubError(f"`{asked}`: {why} ({self.endpoint})")

    def _once(self, asked: Asked, path: str, most: int) -> _Answer:
        deadline, parts, size = monotonic() + _MAX_TIME, list[bytes](), 0
        url = self.endpoint + path
        with self._session().stream("GET", url, headers=self._headers, timeout=self._timeout) as answer:
            for part in answer.iter_bytes():
                size += len(part)
                if size > most:
                    raise HubError(f"`{asked}`: {path.rpartition('/')[2]} is larger than {most >> 20} MiB")
                if monotonic() > deadline:
                    raise TimeoutError(f"no whole answer in {_MAX_TIME:.0f} s")
                parts.append(part)
            headers = {key.lower(): value for key, value in answer.headers.items()}
            return _Answer(answer.status_code, headers, b"".join(parts))

    def _refuse(self, asked: Asked, answer: _Answer) -> None:
        """Say what a refusal means; the hub answers 401 for what is not there as for what is not shown."""
        code, page = answer.headers.get("x-error-code"), f"{self.endpoint}/{asked.model}"
        known = "authorization" in self._headers
        token = "with the account of the token in use" if known else "and set HF_TOKEN to a token that may read it"
        if code == "GatedRepo":
            raise HubError(f"`{asked}` is gated: accept its terms at {page} {token}")
        if code == "RevisionNotFound":
            raise HubError(f"`{asked.model}` has no revision `{asked.revision or 'main'}`: {page}")
        if answer.status == 401 or code == "RepoNotFound":  # noqa: PLR2004 - Unauthorized
            private = "; the token in use may not see it" if known else "; for a private one set HF_TOKEN"
            raise HubError(f"`{asked}` is not on the hub, or private: {page}{private}")
        if answer.status == 403:  # noqa: PLR2004 - Forbidden
            raise HubError(f"`{asked}` may not be read: ask for access at {page} {token}")
        if answer.status == 404:  # noqa: PLR2004 - Not Found
            raise HubError(f"`{asked}` is not on the hub: {page}")
        raise HubError(f"`{asked}`: the hub answers {answer.status} ({self.endpoint})")


def _fault(error: Exception) -> str:
    """A fault of the session in one line: its own words may be long, and hold the whole request."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if type(error) is TimeoutError and first:
        return f"the hub gives {first}"
    if "timed out" in first.lower() or "timeout" in type(error).__name__.lower():
        return "the hub does not answer in time"
    if type(error).__name__ == "RemoteProtocolError":
        return "the hub's answer breaks off"
    return f"the hub cannot be reached: {first or type(error).__name__}"[:200]


def _pause(answer: _Answer | None, attempt: int) -> float:
    """Seconds before the next try: what a busy hub asks for, else a little longer each time."""
    asked = answer.headers.get("retry-after", "") if answer is not None else ""
    return float(asked) if asked.isdigit() and len(asked) < 9 else 0.25 * 2**attempt  # noqa: PLR2004 - digits


def _files(info: Mapping[str, Any]) -> frozenset[str] | None:
    """Names of the repository's files; None where the hub does not list them."""
    listed = info.get("siblings")
    if not isinstance(listed, list):
        return None
    return frozenset(str(item.get("rfilename")) for item in listed if isinstance(item, dict))


def _refuse_other(asked: Asked, names: frozenset[str]) -> None:
    """Say what a repository without a config.json is instead."""
    if PIPELINE in names:
        raise HubError(f"`{asked}` is a pipeline of diffusers ({PIPELINE}), not a language model")
    if "adapter_config.json" in names:
        raise HubError(f"`{asked}` is an adapter (adapter_config.json), not a model by itself")
    inner = sorted(name for name in names if name.endswith(f"/{CONFIG}"))
    if inner:
        raise HubError(f"`{asked}` has no config.json but `{inner[0]}`: not a language model")
    if any(name.lower().endswith(".gguf") for name in names):
        raise HubError(f"`{asked}` holds GGUF files and no config.json: name the model that they were made from")
    raise HubError(f"`{asked}` has no config.json: not a model that transformers loads")


def _stored(info: Mapping[str, Any]) -> int | None:
    """Bytes of the weights by what the hub has read in their headers: parameters by type."""
    stored = info.get("safetensors")
    counts = stored.get("parameters") if isinstance(stored, dict) else None
    if not isinstance(counts, dict) or not counts:
        return None
    total = 0
    for name, count in counts.items():
        if name not in _WIDTHS or type(count) is not int or count < 0:
            return None
        total += _WIDTHS[name] * count
    return total


def resolve_all(
    asked: Iterable[Asked], jobs: int = 8, done: Callable[[Asked], None] = lambda _: None
) -> Iterator[tuple[Asked, Found | HubError]]:
    """Each model as the hub has it, or why not, in the order asked; `done` is called as each one is answered."""
    hub = Hub()

    def one(item: Asked) -> tuple[Asked, Found | HubError]:
        try:
            return item, hub.resolve(item)
        except HubError as error:
            return item, error
        finally:
            done(item)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, asked)
