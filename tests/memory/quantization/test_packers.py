"""Witness: bytes of the tensors that the formats' own libraries make of small layers; equal, not near."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from memory.quantization.networks import read, stored

from vramguard.memory.architecture import Tensor
from vramguard.memory.quantization import FLAGS, gguf, loading, quantize, scheme_of, unpacked
from vramguard.memory.quantization.scheme import Matrix, Scheme

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

torch = pytest.importorskip("torch")

SHAPES = [(96, 320), (64, 64), (48, 200), (33, 129), (256, 4096), (128, 96)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Other libraries warn of what is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def scheme(config: Mapping[str, Any]) -> Scheme:
    found = scheme_of(config, None)
    assert found is not None
    return found


def sizes(config: Mapping[str, Any], rows: int, columns: int, element_bytes: int = 2) -> list[int]:
    """Bytes of the rows of one Linear without a bias."""
    linear = Tensor("model.layers.*.a.weight", (rows, columns), 1, "linear", 0, (0,))
    norm = Tensor("model.norm.weight", (columns,), kind="norm")
    terms = quantize((linear, norm), scheme(config), element_bytes)
    return [term.upper_bytes for term in terms if "model.layers" in term.name]


def size(tensor: Any) -> int:  # noqa: ANN401 - a tensor of torch
    return int(tensor.numel() * tensor.element_size())


@pytest.mark.parametrize("flag", ["bnb-nf4", "bnb-nf4-dq", "bnb-fp4", "bnb-fp4-dq"])
@pytest.mark.parametrize(("rows", "columns"), [*SHAPES[:3], *SHAPES[4:]])
def test_bitsandbytes_4bit(flag: str, rows: int, columns: int) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    config = FLAGS[flag]
    nested = config.get("bnb_4bit_use_double_quant", False)
    weight = torch.randn(rows, columns, dtype=torch.bfloat16)
    packed, state = bnb.functional.quantize_4bit(
        weight, compress_statistics=nested, quant_type=config["bnb_4bit_quant_type"]
    )
    tensors = [packed, state.absmax, *([state.state2.absmax] if nested else []), state.code]
    real = [size(tensor) for tensor in tensors]
    real += [size(state.state2.code) + size(state.offset)] if nested else []
    assert sizes(config, rows, columns) == real


@pytest.mark.parametrize("storage", ["uint8", "bfloat16", "float32"])
def test_bitsandbytes_storage(storage: str) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    packed, _ = bnb.functional.quantize_4bit(torch.randn(96, 320), quant_storage=getattr(torch, storage))
    assert sizes({**FLAGS["bnb-fp4"], "bnb_4bit_quant_storage": storage}, 96, 320)[0] == size(packed)


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_bitsandbytes_int8(rows: int, columns: int) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    packed = bnb.nn.Int8Params(torch.randn(rows, columns), requires_grad=False)._quantize("cpu")
    assert sizes(FLAGS["bnb-int8"], rows, columns) == [size(packed.data), size(packed.SCB)]


GRANULARITIES = [None, ("PerTensor", {}), ("PerGroup", {"group_size": 8})]


@pytest.mark.parametrize(
    "kind", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig", "Float8WeightOnlyConfig"]
)
@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize(("rows", "columns"), [(96, 320), (48, 200), (128, 96)])
def test_torchao(kind: str, granularity: Any, rows: int, columns: int) -> None:  # noqa: ANN401 - see above
    quantization = pytest.importorskip("torchao.quantization")
    config_to_dict = pytest.importorskip("torchao.core.config").config_to_dict

    asked = {} if granularity is None else {"granularity": getattr(quantization, granularity[0])(**granularity[1])}
    if kind != "Int8WeightOnlyConfig" and granularity is not None and granularity[0] == "PerGroup":
        pytest.skip("torchao packs integers with dynamic activations, and float8 on a CPU, by row or tensor only")
    config = getattr(quantization, kind)(**asked)
    layer = torch.nn.Sequential(torch.nn.Linear(columns, rows, bias=False, dtype=torch.bfloat16))
    quantization.quantize_(layer, config)
    weight = layer[0].weight
    names = [*weight.tensor_data_names, *getattr(weight, "optional_tensor_data_names", ())]
    real = [size(tensor) for name in names if (tensor := getattr(weight, name, None)) is not None]
    written = {"quant_method": "torchao", "quant_type": {"default": config_to_dict(config)}}
    assert sizes(written, rows, columns) == real


@pytest.mark.parametrize("flag", ["torchao-int8", "torchao-int8-dynamic", "torchao-float8"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("rows", "columns"), [(96, 320), (128, 96), (256, 4096)])
def test_packing_with_torchao_takes_no_more_than_its_row(flag: str, dtype: str, rows: int, columns: int) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    layer = torch.nn.Sequential(torch.nn.Linear(columns, rows, bias=False, dtype=getattr(torch, dtype)))
    loaded = size(layer[0].weight)
    living = Living()
    with living:
        quantization.quantize_(layer, getattr(quantization, FLAGS[flag]["quant_type"]["default"]["_type"])())
    assert living.peak + loaded <= _packing(flag, rows, columns, loaded // (rows * columns))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("rows", "columns"), [(128, 128), (256, 4096), (384, 640)])
def test_packing_to_fp8_takes_no_more_than_its_row(dtype: str, rows: int, columns: int) -> None:
    integration = pytest.importorskip("transformers.integrations.finegrained_fp8")
    from transformers import FineGrainedFP8Config

    weight = torch.randn(rows, columns, dtype=getattr(torch, dtype))
    operation = integration.Fp8Quantize(SimpleNamespace(quantization_config=FineGrainedFP8Config()))
    living = Living()
    with living:
        operation.convert({"a.weight": weight})
    assert living.peak + size(weight) <= _packing("fp8", rows, columns, weight.element_size())


def _packing(flag: str, rows: int, columns: int, element_bytes: int) -> int:
    """Bytes of a weight in its packed form and of what packing it takes."""
    linear = Tensor("model.layers.*.a.weight", (rows, columns), 1, "linear", 0, (0,))
    found = scheme_of(None, flag)
    assert found is not None
    network = (linear, Tensor("model.norm.weight", (columns,), kind="norm"))
    rows_of = [term for term in quantize(network, found, element_bytes) if "model.layers" in term.name]
    return sum(term.upper_bytes for term in (*rows_of, *loading(network, found, element_bytes)))


def test_torchao_int4_leaves_alone_what_its_groups_do_not_divide() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    config_to_dict = pytest.importorskip("torchao.core.config").config_to_dict

    config = quantization.Int4WeightOnlyConfig(group_size=32)
    layer = torch.nn.Sequential(torch.nn.Linear(200, 48, bias=False, dtype=torch.bfloat16))
    quantization.quantize_(layer, config)
    written = {"quant_method": "torchao", "quant_type": {"default": config_to_dict(config)}}
    assert sizes(written, 48, 200) == [size(layer[0].weight)]


WEIGHTS: dict[str, list[dict[str, Any]]] = {
    "pack-quantized": [
        {"num_bits": bits, "type": "int", "strategy": strategy, "symmetric": symmetric, **group}
        for bits in (2, 3, 4, 5, 8)
        for strategy, group in (("group", {"group_size": 32}), ("channel", {}))
        for symmetric in (True, False)
    ],
    "int-quantized": [
        {"num_bits": 8, "type": "int", "strategy": strategy, "symmetric": symmetric}
        for strategy in ("channel", "tensor")
        for symmetric in (True, False)
    ],
    "float-quantized": [
        {"num_bits": 8, "type": "float", "strategy": "channel"},
        {"num_bits": 8, "type": "float", "strategy": "tensor"},
        {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [32, 64]},
    ],
    "nvfp4-pack-quantized": [{"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}],
    "mxfp4-pack-quantized": [{"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}],
    "mxfp6-pack-quantized": [{"num_bits": 6, "type": "float", "strategy": "group", "group_size": 32}],
    "mxfp8-quantized": [
        {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"}
    ],
}
CASES = [(form, weights) for form, each in WEIGHTS.items() for weights in each]


def _parameters(compressed: Any, weight: Any) -> dict[str, Any]:  # noqa: ANN401 - see above
    """State of a module before it is packed, as the library initialises it."""
    lifecycle = pytest.importorskip("compressed_tensors.quantization.lifecycle.initialize")
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    lifecycle.initialize_module_for_quantization(layer, compressed, force_zero_point=False)
    state = {name: value.data.clone() for name, value in layer.named_parameters()}
    for name, value in state.items():
        if name.endswith("scale"):
            state[name] = torch.ones_like(value)
    return {**state, "weight": weight}


@pytest.mark.parametrize(("form", "weights"), CASES, ids=str)
@pytest.mark.parametrize(("rows", "columns"), [(96, 320), (64, 64)])
def test_compressed_tensors(form: str, weights: dict[str, Any], rows: int, columns: int) -> None:
    compressors = pytest.importorskip("compressed_tensors.compressors").BaseCompressor
    quantization_scheme = pytest.importorskip("compressed_tensors.quantization").QuantizationScheme
    inputs = {"num_bits": 8, "type": weights["type"], "strategy": "token", "dynamic": True}
    activations = {"input_activations": inputs} if form in ("int-quantized", "float-quantized") else {}
    group = {"targets": ["Linear"], "weights": weights, **activations}
    compressed = quantization_scheme.model_validate(group)
    state = _parameters(compressed, torch.randn(rows, columns, dtype=torch.bfloat16))
    compressor = compressors.get_value_from_registry(form)
    packed = compressor.compress(state, compressed)
    config = {"quant_method": "compressed-tensors", "quantization_status": "compressed", "config_groups": {"g": group}}
    assert sorted(sizes(config, rows, columns)) == sorted(map(size, packed.values()))

    living = Living()
    with living:
        dense = compressor.decompress(packed, compressed)
    linear = Tensor("model.layers.*.a.weight", (rows, columns), 1, "linear", 0, (0,))
    after = [term.upper_bytes for term in unpacked((linear,), scheme(config), 2)]
    assert sorted(after) == sorted(map(size, dense.values()))
    (row,) = loading((linear,), scheme(config), 2)
    assert living.peak <= row.upper_bytes


def test_compressed_tensors_of_a_whole_network() -> None:
    """Packed on the meta device as transformers does, and unpacked by the first forward pass."""
    compressor = pytest.importorskip("compressed_tensors.compressors").ModelCompressor
    library = pytest.importorskip("compressed_tensors.quantization")
    transformers = pytest.importorskip("transformers")
    weights = {"num_bits": 8, "type": "int", "strategy": "channel"}
    inputs = {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    config = {"config_groups": {"g": group}, "ignore": ["lm_head"], "quantization_status": "compressed"}
    model = transformers.AutoModelForCausalLM.from_config(_tiny(transformers), dtype=torch.bfloat16)
    network, found = read(model), scheme({"quant_method": "compressed-tensors", **config})
    library.apply_quantization_config(model, library.QuantizationConfig.model_validate(config), show_progress=False)
    compressor(library.QuantizationConfig.model_validate(config)).compress_model(model)
    assert stored(quantize(network, found, 2)) == sum(map(size, model.parameters()))
    model(torch.tensor([[1, 2, 3]]))
    assert stored(unpacked(network, found, 2)) == sum(map(size, model.parameters()))


@pytest.mark.parametrize("flag", ["bnb-nf4", "bnb-nf4-dq", "bnb-fp4", "bnb-int8", "torchao-int8", "torchao-float8"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_whole_network_that_transformers_loads(flag: str, dtype: str, tmp_path: Path) -> None:
    """From a checkpoint that is not quantized, onto the CPU: every tensor in memory, tables and offsets as well."""
    transformers = pytest.importorskip("transformers")
    torchao = pytest.importorskip("torchao.quantization") if flag.startswith("torchao") else None
    if torchao is None:
        pytest.importorskip("bitsandbytes")
        settings = {key: value for key, value in FLAGS[flag].items() if key != "quant_method"}
        asked = transformers.BitsAndBytesConfig(**settings)
    else:
        asked = transformers.TorchAoConfig(getattr(torchao, FLAGS[flag]["quant_type"]["default"]["_type"])())
    config = _tiny(transformers)
    config.attention_bias = True
    dense = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    dense.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=asked, dtype=getattr(torch, dtype), device_map="cpu"
    )
    real = sum(sum(map(size, _inside(parameter))) for parameter in loaded.parameters())
    found = scheme_of(None, flag)
    assert found is not None
    assert stored(quantize(read(dense), found, getattr(torch, dtype).itemsize)) == real


def _inside(parameter: Any) -> list[Any]:  # noqa: ANN401 - see above
    """Tensors that one parameter is made of."""
    names = [*getattr(parameter, "tensor_data_names", ()), *getattr(parameter, "optional_tensor_data_names", ())]
    if names:
        return [tensor for name in names if (tensor := getattr(parameter, name, None)) is not None]
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        nested = [state.state2.absmax, state.state2.code, state.offset] if state.nested else []
        return [parameter.data, state.absmax, state.code, *nested]
    scales = getattr(parameter, "SCB", None)
    return [parameter.data] if scales is None else [parameter.data, scales]


def _tiny(transformers: Any) -> Any:  # noqa: ANN401 - see above
    return transformers.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=128, tie_word_embeddings=False, max_position_embeddings=64,
    )  # fmt: skip


@pytest.mark.parametrize("bits", [8, 5, 4, 3, 2, 1])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("group", [64, None])
@pytest.mark.parametrize(("rows", "columns"), [(96, 320), (64, 64)])
def test_hqq(bits: int, axis: int, group: int | None, rows: int, columns: int) -> None:
    core = pytest.importorskip("hqq.core.quantize")
    weights = core.BaseQuantizeConfig(nbits=bits, group_size=group, axis=axis)
    linear = torch.nn.Linear(columns, rows, bias=False)
    layer = core.HQQLinear(linear, weights, compute_dtype=torch.bfloat16, device="cpu")
    real = [size(layer.W_q), size(layer.meta["scale"]) + size(layer.meta["zero"])]
    config = {"quant_method": "hqq", "quant_config": {**weights, "offload_meta": False}, "skip_modules": ["lm_head"]}
    assert sizes(config, rows, columns) == real


def test_types_of_gguf() -> None:
    constants = pytest.importorskip("gguf").constants
    plain = {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"}
    real = {kind.name: sizes for kind, sizes in constants.GGML_QUANT_SIZES.items() if kind.name not in plain}
    assert dict(gguf.BLOCKS) == real


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "Q4_K", "Q6_K", "Q2_K", "Q3_K", "Q5_K", "IQ4_XS"])
def test_rows_of_gguf(kind: str) -> None:
    """Transformers' own module for a packed weight."""
    pytest.importorskip("transformers.integrations.gguf.utils")
    from transformers.integrations.gguf.dequant import GGML_BLOCK, GGML_NAME
    from transformers.integrations.gguf.utils import GgufLinear

    assert set(gguf.KEPT) == {GGML_NAME[number] for number in GGML_BLOCK}
    number = next(number for number, name in GGML_NAME.items() if name == kind)
    with torch.device("meta"):
        layer = GgufLinear(512, 96, number)
    (part,) = gguf.Blocks(kind).parts(Matrix(96, 512), 2)
    from vramguard.memory.expression import evaluate

    assert evaluate(part.formula, part.inputs) == size(layer.weight)


@pytest.mark.parametrize("block", [None, (128, 128), (64, 100), (1, 32)])
@pytest.mark.parametrize("scale", ["float", "ue8m0"])
@pytest.mark.parametrize("scheme_name", ["dynamic", "static"])
def test_fp8_modules_of_transformers(block: tuple[int, int] | None, scale: str, scheme_name: str) -> None:
    integration = pytest.importorskip("transformers.integrations.finegrained_fp8")
    from transformers import MixtralConfig

    config = {
        "quant_method": "fp8", "weight_block_size": block and list(block), "scale_fmt": scale,
        "activation_scheme": scheme_name,
    }  # fmt: skip
    settings = {"block_size": block, "activation_scheme": scheme_name, "scale_fmt": scale}
    with torch.device("meta"):
        linear = integration.FP8Linear(320, 96, **settings)
        sizes_of = MixtralConfig(hidden_size=96, intermediate_size=80, num_local_experts=4)
        experts = integration.FP8Experts(sizes_of, **settings)
    assert sum(sizes(config, 96, 320)) == sum(map(size, linear.parameters()))
    tensors = (
        Tensor("model.layers.*.mlp.experts.gate_up_proj", (4, 160, 96), 1, "experts", 0, (0,)),
        Tensor("model.layers.*.mlp.experts.down_proj", (4, 96, 80), 1, "experts", 0, (0,)),
    )
    assert stored(quantize(tensors, scheme(config), 2)) == sum(map(size, experts.parameters()))


def test_fp4_experts_of_transformers() -> None:
    integration = pytest.importorskip("transformers.integrations.finegrained_fp8")
    from transformers import MixtralConfig

    with torch.device("meta"):
        sizes_of = MixtralConfig(hidden_size=96, intermediate_size=64, num_local_experts=4)
        experts = integration.FP8Experts(sizes_of, block_size=(128, 128), expert_dtype="fp4", scale_fmt="ue8m0")
    tensors = (
        Tensor("model.layers.*.mlp.experts.gate_up_proj", (4, 128, 96), 1, "experts", 0, (0,)),
        Tensor("model.layers.*.mlp.experts.down_proj", (4, 96, 64), 1, "experts", 0, (0,)),
    )
    config = {"quant_method": "fp8", "expert_dtype": "fp4", "scale_fmt": "ue8m0"}
    assert stored(quantize(tensors, scheme(config), 2)) == sum(map(size, experts.parameters()))


def test_fbgemm_module_of_transformers() -> None:
    integration = pytest.importorskip("transformers.integrations.fbgemm_fp8")
    with torch.device("meta"):
        layer = integration.FbgemmFp8Linear(320, 96, bias=True)
    tensors = (
        Tensor("model.layers.*.a.weight", (96, 320), 1, "linear", 0, (0,)),
        Tensor("model.layers.*.a.bias", (96,), 1, "linear", 0, (0,)),
        Tensor("model.norm.weight", (8,), kind="norm"),
    )
    rows = quantize(tensors, scheme({"quant_method": "fbgemm_fp8"}), 2)
    assert stored(rows) == sum(map(size, [*layer.parameters(), *layer.buffers()])) + 16


def test_mxfp4_module_of_transformers() -> None:
    integration = pytest.importorskip("transformers.integrations.mxfp4")
    from transformers import GptOssConfig

    with torch.device("meta"):
        experts = integration.Mxfp4GptOssExperts(
            GptOssConfig(hidden_size=128, intermediate_size=96, num_local_experts=4)
        )
    path = "model.layers.*.mlp.experts"
    shapes = {
        "gate_up_proj": (4, 128, 192),
        "gate_up_proj_bias": (4, 192),
        "down_proj": (4, 96, 128),
        "down_proj_bias": (4, 128),
    }
    tensors = tuple(Tensor(f"{path}.{name}", shape, 1, "experts", 0, (0,)) for name, shape in shapes.items())
    rows = [row for row in quantize(tensors, scheme({"quant_method": "mxfp4"}), 2) if "scales" not in row.name]
    assert sum(row.lower_bytes for row in rows) == sum(map(size, experts.parameters()))


def test_awq_buffers() -> None:
    """Autoawq's own module, where it is there: nothing installs it."""
    gemm = pytest.importorskip("awq.modules.linear.gemm")
    layer = gemm.WQLinear_GEMM(4, 64, 320, 96, bias=False, dev="cpu")
    assert sizes({"quant_method": "awq", "bits": 4, "group_size": 64}, 96, 320) == [
        size(each) for each in layer.buffers()
    ]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [32, 128, -1])
def test_gptq_buffers(bits: int, group: int) -> None:
    """Gptqmodel's own module, where it is there: nothing installs it."""
    linear = pytest.importorskip("gptqmodel.nn_modules.qlinear.torch").TorchQuantLinear
    layer = linear(bits, group, True, False, 320, 96, False, register_buffers=True)
    names = ("qweight", "qzeros", "scales", "g_idx")
    config = {"quant_method": "gptq", "bits": bits, "group_size": group}
    assert sizes(config, 96, 320) == [size(getattr(layer, name)) for name in names]


class Living:
    """Counts the bytes of the storages that operations under it make, while they are alive."""

    def __init__(self) -> None:
        self.peak = 0
        self._alive = 0
        self._seen: dict[int, int] = {}

    def __enter__(self) -> None:
        import weakref

        from torch.utils._python_dispatch import TorchDispatchMode
        from torch.utils._pytree import tree_leaves

        counter = self

        class Mode(TorchDispatchMode):  # type: ignore[misc]  # mypy does not follow torch
            def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
                result = function(*args, **(kwargs or {}))
                for leaf in tree_leaves(result):
                    if isinstance(leaf, torch.Tensor):
                        counter.count(leaf.untyped_storage(), weakref)
                return result

        self._mode = Mode()
        self._mode.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._mode.__exit__(*exception)

    def count(self, storage: Any, weakref: Any) -> None:  # noqa: ANN401
        key = storage._cdata
        if key not in self._seen:
            self._seen[key] = storage.nbytes()
            self._alive += storage.nbytes()
            self.peak = max(self.peak, self._alive)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._alive -= self._seen.pop(key, 0)
