"""Placement under device_map against the libraries that decide it, on networks of the meta device."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from llama import LLAMA_8B, LLAMA_70B
from memory import perturb

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.auto_device_map import OFFLOADED, Device, Library, cleaned, infer
from vramguard.memory.families import architecture
from vramguard.memory.modules import Item, Tree, recorded, row_of
from vramguard.memory.placement import KINDS, Memory, cache_share, place, placing_tree
from vramguard.memory.quantization import scheme_of
from vramguard.memory.weights import Loaded, load, weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

Config = dict[str, Any]
GIB = 2**30
ROOT = Path(__file__).parents[2]

# Dense, with experts, GPT-2's kind, latent attention, hybrids, states, encoders, towers, tied and untied.
CLASSES = (
    ("llama", "LlamaForCausalLM"),
    ("mistral", "MistralForCausalLM"),
    ("qwen2", "Qwen2ForCausalLM"),
    ("gemma2", "Gemma2ForCausalLM"),
    ("phi3", "Phi3ForCausalLM"),
    ("gpt2", "GPT2LMHeadModel"),
    ("gpt_neox", "GPTNeoXForCausalLM"),
    ("gptj", "GPTJForCausalLM"),
    ("bloom", "BloomForCausalLM"),
    ("falcon", "FalconForCausalLM"),
    ("opt", "OPTForCausalLM"),
    ("mixtral", "MixtralForCausalLM"),
    ("qwen3_moe", "Qwen3MoeForCausalLM"),
    ("gpt_oss", "GptOssForCausalLM"),
    ("deepseek_v3", "DeepseekV3ForCausalLM"),
    ("mamba", "MambaForCausalLM"),
    ("jamba", "JambaForCausalLM"),
    ("bamba", "BambaForCausalLM"),
    ("qwen3_next", "Qwen3NextForCausalLM"),
    ("nemotron_h", "NemotronHForCausalLM"),
    ("lfm2", "Lfm2ForCausalLM"),
    ("t5", "T5ForConditionalGeneration"),
    ("bart", "BartForConditionalGeneration"),
    ("pegasus", "PegasusForConditionalGeneration"),
    ("whisper", "WhisperForConditionalGeneration"),
    ("bert", "BertForMaskedLM"),
    ("blenderbot", "BlenderbotForConditionalGeneration"),
    ("llava", "LlavaForConditionalGeneration"),
    ("qwen2_vl", "Qwen2VLForConditionalGeneration"),
    ("paligemma", "PaliGemmaForConditionalGeneration"),
)
CONFIGS = 3  # changed ones of each class
MAPS = 8  # of each config: 30 * 3 * 8 = 720


@pytest.fixture(scope="module")
def library() -> ModuleType:
    """The module of transformers that places: it imports torch, and accelerate's limits."""
    for name in ("torch", "accelerate"):
        pytest.importorskip(name)
    pytest.importorskip("transformers", minversion="5")
    from transformers.integrations import accelerate

    accelerate.logger.setLevel(logging.ERROR)
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    module: ModuleType = accelerate
    return module


def built(config: Config, dtype: str = "bfloat16") -> Any:  # noqa: ANN401 - a model of transformers
    """The class of a config as from_pretrained has it when it places modules: on meta, in its dtype, not tied yet."""
    import torch
    from memory.scoreboard import class_and_config
    from transformers.modeling_utils import ContextManagers

    cls, made = class_and_config(config)
    for one in (made, *(getattr(made, key, None) for key in made.sub_configs or ())):
        if hasattr(one, "dtype"):
            one.dtype = getattr(torch, dtype)
    with ContextManagers(cls.get_init_context(getattr(torch, dtype), False, False, None)):
        return cls(made)


def networks(model_type: str, name: str, count: int = CONFIGS) -> Iterator[tuple[Config, Any]]:
    """Changed configs of a class that transformers accepts, and what it builds of them."""
    found = 0
    for seed in range(40):
        config = perturb.perturbed(model_type, name, f"placement-{seed}")
        try:
            model = built(config)
            architecture(config)
        except Exception:  # noqa: BLE001, S112 - transformers refuses a config in many ways; others are drawn
            continue
        yield config, model
        found += 1
        if found == count:
            return
    pytest.fail(f"of {name}, only {found} configs are built")


def drawn(chance: random.Random, total: int) -> dict[int | str, int]:
    """A max_memory: one to eight cards, tight to loose, some empty, with and without the CPU."""
    cards = chance.randint(1, 8)
    room = total * chance.choice([0.2, 0.5, 0.9, 1.0, 1.1, 1.5, 3]) / cards
    memory: dict[int | str, int] = {card: int(room * chance.uniform(0.3, 1.7)) for card in range(cards)}
    if chance.random() < 0.2:
        memory[chance.randrange(cards)] = 0
    if chance.random() < 0.6:
        memory["cpu"] = int(total * chance.choice([0, 0.05, 0.3, 1, 3]))
    return memory


def by_weight(device_map: Mapping[str, Any], model: Any) -> dict[str, Any]:  # noqa: ANN401
    """Device of every parameter of the model."""
    found = {}
    for name, _ in model.named_parameters(remove_duplicate=False):
        path = name
        while path not in device_map and path:
            path = path.rpartition(".")[0]
        found[name] = device_map[path]
    return found


def outcome(action: Callable[[], Any]) -> Any:  # noqa: ANN401 - what a library gives, None where it fails
    try:
        return action()
    except (ValueError, KeyError, IndexError):
        return None


def ours(action: Callable[[], Any]) -> tuple[Any, str]:
    """What we give, or None and why it is refused."""
    try:
        return action(), ""
    except UnprovenError as error:
        return None, str(error)


REFUSED: Counter[str] = Counter()  # placements by outcome, over all classes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model_type", "name"), CLASSES, ids=[kind for kind, _ in CLASSES])
def test_every_weight_goes_where_transformers_puts_it(library: ModuleType, model_type: str, name: str) -> None:
    chance = random.Random(f"placement {name}")  # noqa: S311 - reproducible, not secret
    for config, model in networks(model_type, name):
        loaded = Loaded(architecture(config), "bfloat16")
        total = library.compute_module_sizes(model)[0][""]
        for _ in range(MAPS):
            memory, kind = drawn(chance, total), chance.choice(KINDS)
            theirs = outcome(partial(library._get_device_map, model, kind, dict(memory), None))
            mine, why = ours(partial(place, loaded, config, kind, Memory(given=memory)))
            if mine is None:
                REFUSED["transformers"] += theirs is not None
                assert theirs is None or "hangs on a few bytes" in why, (config, memory, kind)
                continue
            REFUSED["placed"] += 1
            assert by_weight(mine.device_map, model) == by_weight(theirs, model), (config, memory, kind)
            assert {*mine.device_map.items()} <= {*theirs.items()}
            more = {key for key in theirs if key not in mine.device_map}  # modules that hold nothing
            assert not any(True for key in more for _ in model.get_submodule(key).parameters())
            assert sum(share.lower_bytes for share in mine.shares.values()) == sum(
                term.lower_bytes for term in weights(loaded)
            )
    assert REFUSED["transformers"] * 50 <= REFUSED["placed"] + 50  # two in a hundred, and one to begin with


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model_type", "name"), CLASSES, ids=[kind for kind, _ in CLASSES])
def test_every_weight_goes_where_accelerate_would_put_it(library: ModuleType, model_type: str, name: str) -> None:
    """It is what transformers 4 calls, and what placed the service of the incident: weights are tied by then."""
    from accelerate.utils import modeling

    del library
    chance = random.Random(f"accelerate {name}")  # noqa: S311 - reproducible, not secret
    for config, model in networks(model_type, name):
        model.tie_weights()
        loaded = Loaded(architecture(config), "bfloat16")
        tree = placing_tree(loaded, row_of(loaded.network, config), first=True)
        theirs_sizes = modeling.compute_module_sizes(model)
        for item in tree.root.all():
            assert 0 <= theirs_sizes[item.name] - item.size <= tree.uncertain, item.name
        for _ in range(MAPS):
            memory = drawn(chance, theirs_sizes[""])
            asked = {"max_memory": dict(memory), "no_split_module_classes": list(model._no_split_modules)}
            theirs = outcome(partial(modeling.infer_auto_device_map, model, **asked))
            mine, why = ours(partial(infer, tree, Memory(given=memory).limits, Library.ACCELERATE))
            if mine is None:
                REFUSED["accelerate"] += theirs is not None
                assert theirs is None or "hangs on a few bytes" in why, (config, memory)
                continue
            REFUSED["compared"] += 1
            assert by_weight(cleaned(mine), model) == by_weight(theirs, model), (config, memory)
    assert REFUSED["accelerate"] * 50 <= REFUSED["compared"] + 50


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("model_type", "name"), CLASSES, ids=[kind for kind, _ in CLASSES])
def test_modules_are_as_large_as_transformers_counts_them(
    library: ModuleType, model_type: str, name: str, dtype: str
) -> None:
    for config, _ in networks(model_type, name, count=1):
        model = built(config, dtype)
        sizes = library.compute_module_sizes(model)[0]
        loaded = Loaded(architecture(config), dtype)
        tree = placing_tree(loaded, row_of(loaded.network, config))
        for item in tree.root.all():
            assert 0 <= sizes[item.name] - item.size <= tree.uncertain, item.name
            there = [f"{item.name}.{child}".strip(".") for child, _ in model.get_submodule(item.name).named_children()]
            assert item.whole or [child.name for child in item.children] == [
                child for child in there if child in {one.name for one in item.children}
            ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cards", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_without_max_memory_the_free_memory_decides(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: str, cards: int
) -> None:
    ((config, model),) = networks("llama", "LlamaForCausalLM", count=1)
    total = library.compute_module_sizes(model)[0][""]
    loaded, given = Loaded(architecture(config), "bfloat16"), library.accelerate_max_memory
    for share in (0.3, 0.7, 1.3, 4):
        free = int(total * share)
        found: dict[int | str, int] = {**dict.fromkeys(range(cards), free), "cpu": 100 * total}
        monkeypatch.setattr(
            library, "accelerate_max_memory", lambda m, f=found: copy.copy(f) if m is None else given(m)
        )
        theirs = library._get_device_map(model, kind, None, None)
        mine = place(loaded, config, kind, Memory(free=((free, free),) * cards)).device_map
        shown = {name: OFFLOADED if device == "cpu" else device for name, device in theirs.items()}
        assert by_weight(mine, model) == by_weight(shown, model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flag", ["bnb-nf4", "bnb-int8"])
def test_quantized_weights_are_placed_at_their_nominal_size(library: ModuleType, flag: str) -> None:
    """The quantizer's own sizes and limits; what modules it takes, test_modules.py compares."""
    from transformers import BitsAndBytesConfig
    from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
    from transformers.quantizers.quantizer_bnb_8bit import Bnb8BitHfQuantizer

    base: type = Bnb4BitHfQuantizer if flag == "bnb-nf4" else Bnb8BitHfQuantizer

    class Quantizer(base):  # type: ignore[misc]
        def param_needs_quantization(self, model: Any, param_name: str, **_kwargs: Any) -> bool:  # noqa: ANN401
            module, _, last = param_name.rpartition(".")
            return type(model.get_submodule(module)).__name__ == "Linear" and last == "weight" and module != "lm_head"

        def validate_environment(self, *_: Any, **kwargs: Any) -> None:  # noqa: ANN401
            if {"cpu", "disk"} & {*kwargs["device_map"].values()}:
                raise ValueError("dispatched on the CPU or the disk")

    quantizer = Quantizer(BitsAndBytesConfig(load_in_4bit=flag == "bnb-nf4", load_in_8bit=flag == "bnb-int8"))
    chance, placed = random.Random(flag), 0  # noqa: S311 - reproducible, not secret
    for config, model in networks("llama", "LlamaForCausalLM"):
        loaded = load(architecture(config), "bfloat16", scheme_of({}, flag), (9, 0))
        total = library.compute_module_sizes(model, quantizer)[0][""]
        for _ in range(2 * MAPS):
            memory, kind = drawn(chance, 3 * int(total)), chance.choice(KINDS)
            theirs = outcome(partial(library._get_device_map, model, kind, dict(memory), quantizer))
            mine, _ = ours(partial(place, loaded, config, kind, Memory(given=memory)))
            if mine is None:
                assert theirs is None
                continue
            placed += 1
            assert by_weight(mine.device_map, model) == by_weight(theirs, model)
            assert sum(s.upper_bytes for s in mine.shares.values()) == sum(t.upper_bytes for t in weights(loaded))
    assert placed > MAPS


def test_the_libraries_differ_where_a_weight_is_shared_with_more(library: ModuleType) -> None:
    """A body fits the first card, but not with the bias of the head that shares its embedding."""
    import torch
    from accelerate.utils import modeling

    with torch.device("meta"):
        body = torch.nn.Sequential(torch.nn.Embedding(100, 10), torch.nn.Linear(10, 30))
        model: Any = torch.nn.Sequential(body, torch.nn.Linear(10, 100))
    model.all_tied_weights_keys = {"1.weight": "0.0.weight"}
    inner = (Item("0.0", 4000), Item("0.1", 1320))
    root = Item("", 5720, children=(Item("0", 5320, children=inner), Item("1", 400)))
    tree = Tree(root, (("0.0.weight", "1.weight"),), {"1.weight": "0.0.weight"}, 0, kept_whole=False)
    found = set()
    for room in range(3900, 10_500, 20):
        memory: dict[Device, int] = {0: room, 1: 20_000}
        theirs = library.infer_auto_device_map(model, dict(memory))
        assert cleaned(infer(tree, Memory(given=memory).limits)) == theirs
        tied = copy.copy(model)
        tied._modules = dict(model._modules)
        tied._modules["1"] = copy.copy(model[1])
        tied._modules["1"]._parameters = {**model[1]._parameters, "weight": model[0][0].weight}
        others = modeling.infer_auto_device_map(tied, dict(memory))
        assert cleaned(infer(tree, Memory(given=memory).limits, Library.ACCELERATE)) == others
        found.add(theirs == others)
    assert found == {True, False}


@pytest.mark.filterwarnings("ignore")
def test_a_map_of_the_user_is_read_as_transformers_reads_it(library: ModuleType) -> None:
    ((config, model),) = networks("gpt2", "GPT2LMHeadModel", count=1)
    given: dict[str, Device] = {
        "transformer.wte": 0,
        "lm_head": 0,
        "transformer": 1,
        "transformer.h.0": "cpu",
        "transformer.ln_f": "disk",
    }
    loaded = Loaded(architecture(config), "bfloat16")
    placement = place(loaded, config, given, Memory())
    names = [name for name, _ in model.named_parameters()]
    theirs = library.expand_device_map(given, names)
    counted: Counter[Any] = Counter()
    for name, parameter in model.named_parameters():
        counted[theirs[name]] += parameter.numel() * 2 * (name not in model.all_tied_weights_keys)
    assert {device: share.upper_bytes for device, share in placement.shares.items()} == {
        device: size for device, size in counted.items() if size
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model_type", "name"), CLASSES[::10], ids=[kind for kind, _ in CLASSES[::10]])
def test_the_recorded_modules_are_those_of_transformers(library: ModuleType, model_type: str, name: str) -> None:
    """A newer transformers makes this fail: run scripts/record_modules.py and review what it changes."""
    import transformers

    del library
    spec = importlib.util.spec_from_file_location("record_modules", ROOT / "scripts" / "record_modules.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert json.loads(script.TABLE.read_text(encoding="utf-8"))["transformers"] == transformers.__version__
    assert json.loads(json.dumps(script.record(model_type, name, 5))) == recorded()[name]


# Without transformers: what the product asks


def test_a_network_that_fits_one_card_stays_on_it() -> None:
    loaded = Loaded(architecture(LLAMA_8B), "bfloat16")
    placement = place(loaded, LLAMA_8B, "auto", Memory(free=((78 * GIB, 79 * GIB),)))
    assert placement.device_map == {"": 0}
    assert placement.worst_card.lower_bytes == placement.worst_card.upper_bytes == 16_060_522_496
    assert placement.spilled.upper_bytes == 0


def test_what_silently_spills_is_counted() -> None:
    """Llama 70B on one card of 80 GB: accelerate would say so in a log line only."""
    loaded = Loaded(architecture(LLAMA_70B), "bfloat16")
    placement = place(loaded, LLAMA_70B, "auto", Memory(free=((78 * GIB, 78 * GIB),)))
    total = sum(term.upper_bytes for term in weights(loaded))
    assert placement.cards[0].upper_bytes + placement.spilled.upper_bytes == total
    assert placement.cards[0].upper_bytes <= 78 * GIB * 9 // 10
    assert placement.device_map["lm_head"] == OFFLOADED
    assert placement.device_map["model.layers.79"] == OFFLOADED


def test_several_cards_share_the_layers() -> None:
    loaded = Loaded(architecture(LLAMA_70B), "bfloat16")
    placement = place(loaded, LLAMA_70B, "auto", Memory(free=((78 * GIB, 79 * GIB),) * 4))
    assert sorted(placement.cards) == [0, 1, 2, 3]
    assert placement.spilled.upper_bytes == 0
    layers = [name for card in range(4) for name in placement.layers[card]]
    assert layers == [f"model.layers.{number}" for number in range(80)]
    on_card = [placement.cached_layers(loaded.network, card) for card in range(4)]
    assert sum(on_card) == 80
    assert sum(cache_share(800, 80, count) for count in on_card) == 800


@pytest.mark.parametrize(
    ("device_map", "memory", "message"),
    [
        ("auto", Memory(free=((30 * GIB, 60 * GIB),)), "hangs on a few bytes"),
        ("tpu", Memory(), "'tpu' is not a device"),
        (True, Memory(), "True is not a device"),
        ({"model": 0}, Memory(), "lm_head.weight is not in it"),
        ({"": 0, "model.layers.1": 1}, Memory(), "'model.layers.1' also matches model.layers.10"),
        ("auto", Memory(given={"gpu": 1}), "is not a device"),
        ("balanced_low_0", Memory(given={1: 200 * GIB, 2: 200 * GIB}), "without card 0"),
    ],
)
def test_what_is_not_known_is_refused(device_map: Any, memory: Memory, message: str) -> None:  # noqa: ANN401
    loaded = Loaded(architecture(LLAMA_70B), "bfloat16")
    with pytest.raises(UnprovenError, match=message):
        place(loaded, LLAMA_70B, device_map, memory)


def test_a_language_model_inside_is_that_of_the_config() -> None:
    config = {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {"model_type": "mistral", "num_hidden_layers": 4},
    }
    loaded = Loaded(architecture(config), "bfloat16")
    placement = place(loaded, config, "auto", Memory(free=((4 * GIB, 4 * GIB),) * 2))
    assert "model.language_model.layers.3" in {name for names in placement.layers.values() for name in names}
    other = config | {"text_config": {"model_type": "zamba"}}
    with pytest.raises(UnprovenError):
        place(Loaded(architecture(other), "bfloat16"), other, "auto", Memory(free=((4 * GIB, 4 * GIB),) * 2))
