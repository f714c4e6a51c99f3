"""Which config runs on which hardware: deployments joined to the configs that they name."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.extract.models import is_model
from vramguard.facts import Deployment, ModelConfig, PathClass, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.source import Location

# Heads that generate text; a class without one of these endings embeds, classifies or sees.
_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_DIFFUSERS, _ADAPTER = "_class_name", "peft_type"


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


def placements(facts: Facts, unjudged: frozenset[PathClass]) -> Iterator[Placement]:
    """Every deployment, then every undeclared language model."""
    yield from (place(deployment, facts) for deployment in facts.of(Deployment))
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


def _configs(facts: Facts) -> dict[str, ModelConfig]:
    return {config.at.path: config for config in facts.of(ModelConfig)}


def _config_path(deployment: Deployment, configs: Mapping[str, ModelConfig]) -> str | None:
    """The path of the config that a deployment names, or that its model's folder holds."""
    if deployment.config is not None:
        return deployment.config
    if isinstance(deployment.model, str):
        path = posixpath.normpath(posixpath.join(deployment.model, "config.json"))
        return path if path in configs else None
    return None


def place(deployment: Deployment, facts: Facts) -> Placement:
    """One deployment and the config that it names."""
    configs = _configs(facts)
    path = _config_path(deployment, configs)
    if path in configs:
        return Placement(deployment, configs[path])
    if path is not None:
        return Placement(deployment, None, f"its config `{path}` is not in the repository, or is no JSON object")
    if isinstance(deployment.model, Unknown):
        return Placement(deployment, None, f"its model is `{deployment.model.text}`, which only a renderer knows")
    reason = f"no config.json of `{deployment.model}` is in the repository; commit it and name it with `config`"
    return Placement(deployment, None, reason)


def is_language_model(config: Mapping[str, object]) -> bool:
    """Whether a config describes a model that generates text; one that names no class gets the benefit of the proof."""
    if _DIFFUSERS in config or _ADAPTER in config:
        return False
    classes = config.get("architectures")
    if not isinstance(classes, list) or not classes:
        return True
    return str(classes[0]).endswith(_GENERATES) or _is_decoder(config)


def _is_decoder(config: Mapping[str, object]) -> bool:
    """Whether the type is a decoder's whatever its head: a reward model of llama is as large as llama."""
    from vramguard.memory.families import MODULES, tasks_of

    kind = config.get("model_type")
    return isinstance(kind, str) and kind in MODULES and {"causal-lm"} == tasks_of(kind) - {"image-text-to-text"}
