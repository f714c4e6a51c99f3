"""Deployments and the configs that they name."""

from __future__ import annotations

from typing import Any

import pytest

from vramguard.extract.models import is_model
from vramguard.facts import Deployment, Facts, ModelConfig, PathClass
from vramguard.link.models import is_language_model, placements
from vramguard.source import Location

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def config(path: str, values: dict[str, Any] | None = None) -> ModelConfig:
    return ModelConfig(Location(path), LLAMA if values is None else values, "")


def deployed(line: int = 1, **values: Any) -> Deployment:  # noqa: ANN401 - fields of Deployment
    return Deployment(Location("vramguard.toml", line), declared=True, **values)


def pairs(*found: Any, unjudged: frozenset[PathClass] = frozenset()) -> list[tuple[str, str]]:  # noqa: ANN401
    """The place of each placement and the path of its config, or why it has none."""
    listed = placements(Facts(found, lambda path: PathClass("test" if "test" in path else "serving")), unjudged)
    return [(str(item.at.path), item.config.at.path if item.config else item.missing) for item in listed]


def test_deployments_come_first_and_take_their_configs_out() -> None:
    found = (config("a/config.json"), config("b/config.json"), deployed(config="b/config.json"))
    assert pairs(*found) == [("vramguard.toml", "b/config.json"), ("a/config.json", "a/config.json")]


def test_a_config_wins_over_the_models_name() -> None:
    found = (config("a/config.json"), config("b/config.json"), deployed(config="a/config.json", model="b"))
    assert pairs(*found)[0] == ("vramguard.toml", "a/config.json")
    assert len(pairs(*found)) == 2


def test_a_folder_is_seen_from_where_the_program_may_run() -> None:
    def found_in(path: str) -> str:
        deployment = Deployment(Location(path), declared=False, model="models/a")
        configs = (config("models/a/config.json"), config("apps/pricing/models/a/config.json"))
        ((_, of),) = pairs(*configs, deployment, unjudged=frozenset())[:1]
        return of

    assert found_in("apps/pricing/k8s/serve.yaml") == "apps/pricing/models/a/config.json"
    assert found_in("apps/other/serve.yaml") == "models/a/config.json"


def test_unjudged_classes_only_spare_what_nobody_deploys() -> None:
    test = frozenset({PathClass.TEST})
    assert pairs(config("test/config.json"), unjudged=test) == []
    assert pairs(config("test/config.json"), deployed(config="test/config.json"), unjudged=test) == [
        ("vramguard.toml", "test/config.json")
    ]


def test_a_deployment_of_nothing_in_the_repository_says_why() -> None:
    ((_, reason),) = pairs(deployed(model="org/name"))
    mend = "run `vramguard lock --model org/name`"
    assert reason == f"no config.json of `org/name` is in the repository or in vramguard.lock: {mend}"


@pytest.mark.parametrize(
    ("values", "judged"),
    [
        (LLAMA, True),
        ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, True),
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, True),
        ({"architectures": ["LlamaForSequenceClassification"], "model_type": "llama"}, True),
        ({"architectures": ["LlamaModel"], "model_type": "llama"}, True),
        ({"model_type": "anything"}, True),
        ({"architectures": [], "model_type": "anything"}, True),
        ({"architectures": "LlamaForCausalLM"}, True),
        ({"architectures": ["BertForMaskedLM"], "model_type": "bert"}, False),
        ({"architectures": ["ChatGLMModel"], "auto_map": {"AutoModelForCausalLM": "m.C"}, "model_type": "c"}, True),
        ({"architectures": ["NewModel"], "auto_map": {"AutoModel": "m.NewModel"}, "model_type": "new"}, False),
        ({"architectures": ["X"], "auto_map": ["m"], "model_type": ["llama"]}, False),
        ({"architectures": [None], "model_type": {}}, False),
        ({"architectures": ["LlamaForCausalLM"], "peft_type": "LORA"}, False),
        ({"_class_name": "AutoencoderKL"}, False),
    ],
)
def test_what_generates_text(values: dict[str, Any], *, judged: bool) -> None:
    assert is_model(values)
    assert is_language_model(values) is judged


def test_any_other_json_is_no_model() -> None:
    assert not is_model({"name": "package"})
    assert pairs(config("package.json", {"name": "package"})) == []
