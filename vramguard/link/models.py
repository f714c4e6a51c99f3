"""Which config runs on which hardware: deployments joined to the configs that they name.

A name is looked for where the deployment says (its `config`), in the repository, in the vramguard.lock nearest above
the deployment, and then among the configs that `hub` has found elsewhere: cache, hub, catalogue.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vramguard.extract.models import is_model
from vramguard.facts import Deployment, ModelConfig, ModelMissing, PathClass, Unknown
from vramguard.link.model_lock import locked
from vramguard.link.names import Named, above, key_of, on_hub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.source import Location

# Heads that generate text; a class without one of these endings embeds, classifies or sees.
_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_EMBED: Final = ("tei",)  # engines of embeddings alone
_DIFFUSERS, _ADAPTER = "_class_name", "peft_type"
_ORIGINS: Final = ("cache", "hub", "catalogue")  # in the order in which they are believed


@dataclass(frozen=True, slots=True)
class Placement:
    """One model on one kind of hardware: the deployment that says so, or None for the default workload."""

    deployment: Deployment | None
    config: ModelConfig | None
    missing: str = ""  # why there is no config

    @property
    def at(self) -> Location:
        """The line that places the model: its deployment's, else its config's."""
        owner = self.deployment or self.config
        if owner is None:  # cannot be: a placement is made of one of them
            raise ValueError("a placement of nothing")
        return owner.at


def placements(facts: Facts, unjudged: frozenset[PathClass], *, catalogue: bool = True) -> Iterator[Placement]:
    """Every deployment, then every undeclared language model. `catalogue`: whether ours may say what a model is."""
    yield from (place(deployment, facts, catalogue=catalogue) for deployment in facts.of(Deployment))
    yield from (Placement(None, found) for found in undeclared(facts, unjudged) if is_language_model(found.config))


def undeclared(facts: Facts, unjudged: frozenset[PathClass]) -> Iterator[ModelConfig]:
    """Every config of Hugging Face's, outside of the classes `unjudged`, that no deployment names."""
    named = deployed(facts)
    for path, found in _configs(facts).items():
        if path not in named and facts.classify(path) not in unjudged and is_model(found.config):
            yield found


def deployed(facts: Facts) -> frozenset[str]:
    """The path of each config that a deployment names."""
    configs = _configs(facts)
    named = (_config_path(deployment, configs) for deployment in facts.of(Deployment))
    return frozenset(path for path in named if path is not None)


@lru_cache(maxsize=4)  # Facts are compared by identity
def _configs(facts: Facts) -> Mapping[str, ModelConfig]:
    return {config.at.path: config for config in facts.of(ModelConfig) if config.origin == "file"}


def _config_path(deployment: Deployment, configs: Mapping[str, ModelConfig]) -> str | None:
    """The path of the config that a deployment names, or that its model's folder holds: a program's paths are seen
    from the folder that it runs in, which may be any above its file.
    """
    if deployment.config is not None:
        return deployment.config
    if isinstance(deployment.model, str):
        inside = posixpath.join(deployment.model, "config.json")
        paths = (posixpath.normpath(posixpath.join(folder, inside)) for folder in above(deployment.at.path))
        return next((path for path in paths if path in configs), None)
    return None


def place(deployment: Deployment, facts: Facts, *, catalogue: bool = True) -> Placement:
    """One deployment and the config that it names; from our catalogue only where that is allowed."""
    configs = _configs(facts)
    path = _config_path(deployment, configs)
    if path is not None and path in configs:
        return Placement(deployment, configs[path])
    if path is not None:
        return Placement(deployment, None, f"its config `{path}` is not in the repository, or is no JSON object")
    if isinstance(deployment.model, Unknown):
        return Placement(deployment, None, f"its model is `{deployment.model.text}`, which only a renderer knows")
    if isinstance(deployment.revision, Unknown):
        what = f"its model's revision is `{deployment.revision.text}`, which only a renderer knows"
        return Placement(deployment, None, what)
    found = _locked_config(deployment, facts)
    if found is None:
        elsewhere = _known_elsewhere(deployment, facts)
        found = elsewhere if catalogue or elsewhere is None or elsewhere.origin != "catalogue" else None
    return Placement(deployment, found) if found else Placement(deployment, None, _nowhere(deployment, facts))


def _locked_config(deployment: Deployment, facts: Facts) -> ModelConfig | None:
    row = locked(deployment, facts)
    if row is None or row.config is None:
        return None
    revision = deployment.revision if isinstance(deployment.revision, str) else None
    digest, commit = row.config_sha256 or "", row.commit or ""
    return ModelConfig(row.at, row.config, digest, row.model, revision, "lock", commit, row.tensors)


def _known_elsewhere(deployment: Deployment, facts: Facts) -> ModelConfig | None:
    named = on_hub(deployment, facts)
    if named is None:
        return None
    best = _elsewhere(facts).get(named.key)
    return best and replace(best, at=deployment.places.get("model", deployment.at))


@lru_cache(maxsize=4)  # as above
def _elsewhere(facts: Facts) -> Mapping[tuple[str, str | None], ModelConfig]:
    """Configs from elsewhere by the model that they are of, those that are believed most."""
    known = [(key_of(found.model, found.revision), found) for found in facts.of(ModelConfig) if found.model]
    return dict(sorted(known, key=lambda pair: _ORIGINS.index(pair[1].origin), reverse=True))


def told(config: ModelConfig) -> str:
    """Where a config that is no file of the repository comes from, in words."""
    kind, commit = config.config.get("model_type"), f"{config.model}@{config.source[:12]}"
    return {
        "lock": f"this row of the lock is its config ({kind})",
        "cache": f"its config ({kind}) is {commit} of the Hugging Face cache",
        "hub": f"its config ({kind}) is {commit} of the hub",
    }.get(config.origin, f"its config ({kind}) is the shipped catalogue's")


def supposed(config: ModelConfig) -> tuple[str, ...]:
    """What a proof by a config from elsewhere supposes, in words."""
    commit = f"{config.model}@{config.source}"
    if config.origin == "catalogue":
        return (f"config from the shipped catalogue ({config.source}), not from the model's own repository",)
    if config.origin in ("cache", "hub"):
        place = "the Hugging Face cache of this machine" if config.origin == "cache" else "the hub"
        return (f"config from {place}: {commit}",)
    return ()


def _nowhere(deployment: Deployment, facts: Facts) -> str:
    """Why no config is known, ending with what would mend it."""
    named = on_hub(deployment, facts)
    if named is None:
        where = f'models = {{"{deployment.model}" = "OWNER/NAME"}}'
        return f"no config.json of `{deployment.model}` is in the repository: say what it holds, {where}, or commit it"
    asked = named.model if named.revision is None else f"{named.model}@{named.revision}"
    mend = f"run `vramguard lock --model {asked}`"
    row = locked(deployment, facts)
    if row is not None:
        return f"vramguard.lock holds the commit of `{asked}` and no config.json, so it is no language model"
    missing = (fact for fact in facts.of(ModelMissing) if key_of(fact.model, fact.revision) == named.key)
    said = next((f"{fact.reason}; where that is mended, " for fact in missing), "")
    return said + mend if said else f"no config.json of `{asked}` is in the repository or in vramguard.lock: {mend}"


def has_own_config(deployment: Deployment, facts: Facts) -> bool:
    """Whether the repository itself says what a deployment's model is, so that nothing else has to."""
    return _config_path(deployment, _configs(facts)) is not None


def unresolved(facts: Facts) -> dict[tuple[str, str | None], Deployment]:
    """Models of the hub whose config is neither in the repository nor in a lock, by name and revision; and for each
    the first deployment that names it.
    """
    configs, found = _configs(facts), dict[tuple[str, str | None], Named]()
    for deployment in facts.of(Deployment):
        named = None if _config_path(deployment, configs) else on_hub(deployment, facts)
        if named is not None and locked(deployment, facts) is None:
            found.setdefault(named.key, named)
    return {(named.model, named.revision): named.deployment for named in found.values()}


def is_language_model(config: Mapping[str, object]) -> bool:
    """Whether a config describes a model that generates text; one that names no class gets the benefit of the proof."""
    if _DIFFUSERS in config or _ADAPTER in config:
        return False
    classes = config.get("architectures")
    if not isinstance(classes, list) or not classes or _generates_by_own_code(config):
        return True
    return str(classes[0]).endswith(_GENERATES) or _is_decoder(config)


def _generates_by_own_code(config: Mapping[str, object]) -> bool:
    """Whether the model's own code is loaded to generate: ChatGLM's class is called ChatGLMModel."""
    own = config.get("auto_map")
    return isinstance(own, Mapping) and any(str(name).endswith(("CausalLM", "Seq2SeqLM")) for name in own)


def other_kind(placement: Placement) -> str:
    """What a found deployment serves where that is no language model; empty for one, and for what nobody knows."""
    deployment = placement.deployment
    if deployment is None or deployment.declared:
        return ""
    if deployment.engine in _EMBED:
        return f"`{deployment.model}`, which embeds,"
    config = placement.config
    if config is None or is_language_model(config.config):
        return ""
    return f"`{deployment.model}` ({class_of(config.config)})"


def class_of(config: Mapping[str, object]) -> str:
    """The class that a config builds, as far as it says."""
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return str(first or config.get("_class_name") or config.get("peft_type") or config.get("model_type"))


def _is_decoder(config: Mapping[str, object]) -> bool:
    """Whether the type is a decoder's whatever its head: a reward model of llama is as large as llama."""
    from vramguard.memory.families import MODULES, tasks_of

    kind = config.get("model_type")
    return isinstance(kind, str) and kind in MODULES and {"causal-lm"} == tasks_of(kind) - {"image-text-to-text"}
