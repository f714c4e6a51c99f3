"""A model's name to its config: what the repository does not hold and no lock has.

The order in which a name is resolved is that of `link.models`; what needs a disk or a network beyond the repository is
done here, before anything is linked: the Hugging Face cache, the hub (only where it is asked for), our own catalogue.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from vramguard import data
from vramguard.facts import ModelConfig, ModelMissing
from vramguard.hub import cache
from vramguard.hub.found import Asked, Found, HubError, is_commit
from vramguard.link.models import unresolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Deployment, Facts

__all__ = ["Asked", "Found", "HubError", "resolved"]


def resolved(facts: Facts, *, online: bool = False) -> list[ModelConfig | ModelMissing]:
    """What is known elsewhere of the models that `facts` name and do not hold.

    `online`: the hub is asked for what the cache does not hold; a model that it does not give is a `ModelMissing`.
    """
    wanted = unresolved(facts)
    if not wanted:
        return []
    result: list[ModelConfig | ModelMissing] = []
    open_: list[tuple[Asked, Deployment]] = []
    for (model, revision), deployment in wanted.items():
        asked = Asked(model, revision)
        try:
            held = cache.look_up(asked)
        except HubError as error:
            result.append(_missing(asked, deployment, error))
            continue
        if held is None:
            open_.append((asked, deployment))
        else:
            result.append(_config(held, deployment))
    if online:
        result += _asked(open_)
    known = (_shipped(asked, deployment) for asked, deployment in open_)
    return [*result, *(row for row in known if row is not None)]


def _asked(open_: Sequence[tuple[Asked, Deployment]]) -> Iterator[ModelConfig | ModelMissing]:
    from vramguard.hub.client import resolve_all

    places = dict(open_)
    try:
        for asked, answer in resolve_all(places):
            if isinstance(answer, Found):
                yield _config(answer, places[asked])
            else:
                yield _missing(asked, places[asked], answer)
    except HubError as error:  # no client: one reason for all
        yield from (_missing(asked, deployment, error) for asked, deployment in open_)


def _config(held: Found, deployment: Deployment) -> ModelConfig:
    at = deployment.places.get("model", deployment.at)
    config, digest = held.config or {}, held.config_sha256 or ""
    return ModelConfig(at, config, digest, *held.asked, origin=held.source, source=held.commit or "")


def _missing(asked: Asked, deployment: Deployment, error: HubError) -> ModelMissing:
    return ModelMissing(deployment.places.get("model", deployment.at), *asked, str(error))


def _shipped(asked: Asked, deployment: Deployment) -> ModelConfig | None:
    """The catalogue's row of a model: for its default branch, or a commit of a network that is stored one way only.

    Another branch may hold another network (GPTQ's are often one for each number of bits).
    """
    row = data.model(asked.model)
    if row is None or not (asked.key[1] is None or (is_commit(asked.revision) and not row.branched)):
        return None
    digest = hashlib.sha256(json.dumps(row.config, sort_keys=True).encode()).hexdigest()
    at = deployment.places.get("model", deployment.at)
    return ModelConfig(at, row.config, digest, *asked, origin="catalogue", source=row.read_in)
