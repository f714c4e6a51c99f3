"""Whether environments have reviewers, asked of GitHub: only with `--online`, and only of where the repository is.

docs.github.com/en/rest/deployments/environments, "Get an environment": `protection_rules` with a rule of the type
`required_reviewers` that names some. The token is `GITHUB_TOKEN`'s; it is sent to `GITHUB_API_URL` and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from vramguard import __version__
from vramguard.discover import git
from vramguard.facts import Protection
from vramguard.link.pipelines import pipelines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vramguard.facts import Facts
    from vramguard.source import Location

API: Final = "https://api.github.com"
_TIMEOUT: Final = 15.0  # seconds for one answer
_MAX_ANSWER: Final = 1 << 20  # bytes
_MOST: Final = 50  # environments of one repository
_REMOTE: Final = re.compile(
    r"(?:https?://(?:[^@/\s]{1,200}@)?|ssh://git@|git@)([\w.-]{1,100})[:/]([\w.-]{1,100})/([\w.-]{1,100}?)(?:\.git)?/?\s*"
)
_SLUG: Final = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}")
_WHY: Final = {
    401: "the token in GITHUB_TOKEN is not accepted",
    403: "the token in GITHUB_TOKEN may not read it, or has asked too often",
    404: "it is not there, or GITHUB_TOKEN may not see it",
}


def protections(facts: Facts, root: Path | None) -> Iterator[Protection]:
    """What GitHub says of each environment that a workflow names; where it does not say, `reviewed` is None."""
    named: dict[str, Location] = {}
    for pipeline in pipelines(facts):
        for job in pipeline.jobs:
            if pipeline.form == "workflow" and job.environment and job.gate and "${{" not in job.environment:
                named.setdefault(job.environment, job.gate)
    if not named:
        return
    repository = _repository(root)
    for environment, at in list(named.items())[:_MOST]:
        if repository is None:
            yield _unsaid(at, environment, "no repository of GitHub is known: set GITHUB_REPOSITORY to OWNER/NAME")
        else:
            yield _asked(at, environment, repository)


def _repository(root: Path | None) -> str | None:
    """`owner/name`: as GitHub's own runners say it, else as the remote `origin` does."""
    said = os.environ.get("GITHUB_REPOSITORY", "")
    if _SLUG.fullmatch(said):
        return said
    url = git(root, "config", "--get", "remote.origin.url") if root is not None else None
    match = _REMOTE.fullmatch((url or b"").decode("utf-8", "replace").strip())
    host = urlsplit(os.environ.get("GITHUB_SERVER_URL") or "https://github.com").hostname
    return f"{match[2]}/{match[3]}" if match and match[1].lower() == host else None


def _unsaid(at: Location, environment: str, why: str) -> Protection:
    return Protection(at, environment, None, "github", why)


def _asked(at: Location, environment: str, repository: str) -> Protection:
    try:
        table = _get(f"/repos/{repository}/environments/{quote(environment, safe='')}")
    except HTTPError as error:
        with error:
            return _unsaid(at, environment, _WHY.get(error.code, f"GitHub answers {error.code}"))
    except (OSError, HTTPException, ValueError) as error:
        return _unsaid(at, environment, f"GitHub cannot be asked: {str(error)[:200] or type(error).__name__}")
    rules = table.get("protection_rules") if isinstance(table, dict) else None
    if not isinstance(rules, list):
        return _unsaid(at, environment, "GitHub's answer names no rules")
    return Protection(at, environment, any(map(_names_reviewers, rules)), "github")


def _names_reviewers(rule: object) -> bool:
    return isinstance(rule, dict) and rule.get("type") == "required_reviewers" and bool(rule.get("reviewers"))


class _Here(HTTPRedirectHandler):
    """A repository that was renamed is looked up where it is now; no other host is told the token."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:  # noqa: ANN401 - the library's
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _get(path: str) -> Any:  # noqa: ANN401 - untyped text
    base = (os.environ.get("GITHUB_API_URL") or API).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError(f"`{base}` is not asked: no https")
    headers = {"user-agent": f"vramguard/{__version__}", "accept": "application/vnd.github+json"}
    if token := os.environ.get("GITHUB_TOKEN", ""):
        headers["authorization"] = f"Bearer {token}"
    request = Request(base + path, headers=headers)  # noqa: S310 - https, or this machine
    with build_opener(_Here).open(request, timeout=_TIMEOUT) as answer:
        return json.loads(answer.read(_MAX_ANSWER))
