"""The model repository, read by the messages of Triton's own client."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from lvseg_export.bundle import MANIFEST, REFERENCE, load_bundle
from lvseg_export.triton import SIGNATURE, write_repository

MODELS = ["tiny-fp32", "tiny-fp32-tensorrt"]


@pytest.fixture(scope="module")
def repository(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    write_repository(load_bundle(bundle), folder)
    return folder


def config(repository: Path, model: str) -> triton.ModelConfig:
    return text_format.Parse((repository / model / "config.pbtxt").read_text(), triton.ModelConfig())


def test_each_model_has_the_folder_that_triton_looks_for(repository):
    assert sorted(path.name for path in repository.iterdir() if path.is_dir()) == MODELS
    for model in MODELS:
        assert (repository / model / "1" / "model.onnx").is_file()
        assert config(repository, model).name == model


@pytest.mark.parametrize("model", MODELS)
def test_tensors_are_those_of_the_graph(repository, model):
    graph = onnx.load(repository / model / "1" / "model.onnx").graph
    types = {onnx.TensorProto.FLOAT: triton.TYPE_FP32, onnx.TensorProto.UINT8: triton.TYPE_UINT8}
    told_of = config(repository, model)
    for told, values in ((told_of.input, graph.input), (told_of.output, graph.output)):
        expected = [
            (
                value.name,
                types[value.type.tensor_type.elem_type],
                # Triton leaves the batch out, and says -1 where any size is taken.
                [side.dim_value or -1 for side in value.type.tensor_type.shape.dim][1:],
            )
            for value in values
        ]
        assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in told] == expected


@pytest.mark.parametrize("model", MODELS)
def test_requests_are_batched_as_they_come(repository, model):
    told = config(repository, model)
    assert told.backend == "onnxruntime"
    assert told.max_batch_size == 16
    assert told.HasField("dynamic_batching")
    assert told.dynamic_batching.max_queue_delay_microseconds == 2000


@pytest.mark.parametrize("model", MODELS)
def test_it_is_warmed_up_with_a_phantom_of_the_reference(repository, bundle, model):
    (warm_up,) = config(repository, model).model_warmup
    pixels = warm_up.inputs["pixels"]
    held = np.frombuffer((repository / model / "warmup" / pixels.input_data_file).read_bytes(), "<f4")
    with np.load(bundle / REFERENCE) as reference:
        np.testing.assert_array_equal(held.reshape(pixels.dims), reference["pixels"][0])


def test_tensorrt_is_asked_for_by_name_and_needs_a_gpu(repository):
    plain, accelerated = (config(repository, model) for model in MODELS)
    assert not plain.optimization.execution_accelerators.gpu_execution_accelerator
    (accelerator,) = accelerated.optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, dict(accelerator.parameters)) == ("tensorrt", {"precision_mode": "FP32"})
    assert accelerated.instance_group[0].kind == triton.ModelInstanceGroup.KIND_GPU


def test_the_manifest_goes_with_it(repository, bundle):
    assert (repository / SIGNATURE).read_bytes() == (bundle / MANIFEST).read_bytes()
