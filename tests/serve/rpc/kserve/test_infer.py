"""Inference, asked for by Triton's own client."""

import queue
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from lvseg.errors import EngineError
from lvseg_serve.client import Client
from lvseg_serve.rpc.authentication import TokenInterceptor
from lvseg_serve.segmenter import Room

TOKEN = "t" * 43

AsInput = Callable[[str, NDArray], triton.InferInput]


@pytest.fixture
def dicom_input(as_input: AsInput, dicom: bytes) -> triton.InferInput:
    return as_input("dicom", np.array([dicom], dtype=object))


@pytest.fixture
def contour_input(as_input: AsInput, contour: NDArray[np.float64]) -> triton.InferInput:
    text = "".join(f"{x} {y}\n" for x, y in contour)
    return as_input("contour", np.array([text.encode()], dtype=object))


def test_slices_on_the_working_grid_come_back_as_mask_and_probability(
    client: triton.InferenceServerClient, as_input: AsInput, pixels: NDArray[np.float32]
) -> None:
    answer = client.infer("threshold", [as_input("pixels", pixels)])
    mask, probability = answer.as_numpy("mask"), answer.as_numpy("probability")
    assert (mask.dtype, probability.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(mask, pixels[:, 0] > 500)
    np.testing.assert_array_equal(probability, mask)


def test_an_answer_says_what_computed_it_and_carries_the_requests_id(
    client: triton.InferenceServerClient, as_input: AsInput, pixels: NDArray[np.float32]
) -> None:
    answer = client.infer("threshold", [as_input("pixels", pixels)], request_id="17").get_response()
    assert (answer.id, answer.model_name, answer.model_version) == ("17", "threshold", "1")
    assert {name: value.string_param for name, value in answer.parameters.items()} == {
        "bundle_version": "0123456789ab",
        "sha256": "ab" * 32,
        "engine": "threshold-cpu",
        "engine_version": "1.0",
        "precision": "fp32",
    }


@pytest.mark.parametrize("names", [["probability"], ["probability", "mask"]])
def test_the_outputs_are_those_that_were_asked_for_in_that_order(
    client: triton.InferenceServerClient, as_input: AsInput, pixels: NDArray[np.float32], names: list[str]
) -> None:
    outputs = [triton.InferRequestedOutput(name) for name in names]
    answer = client.infer("threshold", [as_input("pixels", pixels)], outputs=outputs)
    assert [output.name for output in answer.get_response().outputs] == names
    np.testing.assert_array_equal(answer.as_numpy("probability"), pixels[:, 0] > 500)


def test_a_dicom_file_comes_back_as_mask_and_area(
    client: triton.InferenceServerClient, dicom_input: triton.InferInput, ventricle: NDArray[np.bool_]
) -> None:
    answer = client.infer("threshold-dicom", [dicom_input])
    np.testing.assert_array_equal(answer.as_numpy("mask"), ventricle)
    assert answer.as_numpy("area_mm2").tolist() == [900.0]


@pytest.mark.parametrize("spacing", [(1.5, 1.5), (0.75, 3.0)])
def test_the_mask_of_a_dicom_file_is_that_of_segment(
    address: str,
    client: triton.InferenceServerClient,
    as_input: AsInput,
    make_dicom: Callable[..., bytes],
    ventricle: NDArray[np.bool_],
    spacing: tuple[float, float],
) -> None:
    dicom = make_dicom(np.where(ventricle, 1000, 100), spacing=spacing)
    answer = client.infer("threshold-dicom", [as_input("dicom", np.array([dicom], dtype=object))])
    with Client(address) as other:
        expected = other.segment(dicom)
    np.testing.assert_array_equal(answer.as_numpy("mask"), expected.mask)
    assert answer.as_numpy("area_mm2").tolist() == [expected.area_mm2]


def test_the_mask_of_the_slice_as_tensor_is_that_of_segment(
    address: str,
    client: triton.InferenceServerClient,
    as_input: AsInput,
    dicom: bytes,
    ventricle: NDArray[np.bool_],
) -> None:
    pixels = np.where(ventricle, 1000, 100).astype(np.float32)[np.newaxis, np.newaxis]
    answer = client.infer("threshold", [as_input("pixels", pixels)])
    with Client(address) as other:
        np.testing.assert_array_equal(answer.as_numpy("mask")[0], other.segment(dicom).mask)


def test_without_a_contour_the_figures_of_one_have_no_elements(
    client: triton.InferenceServerClient, dicom_input: triton.InferInput
) -> None:
    answer = client.infer("threshold-dicom", [dicom_input])
    assert all(answer.as_numpy(name).shape == (0,) for name in ("dice", "apd_mm", "hausdorff_mm", "good"))


def test_a_contour_is_compared(
    client: triton.InferenceServerClient, dicom_input: triton.InferInput, contour_input: triton.InferInput
) -> None:
    answer = client.infer("threshold-dicom", [dicom_input, contour_input])
    assert (answer.as_numpy("dice").tolist(), answer.as_numpy("good").tolist()) == ([1.0], [True])
    assert answer.as_numpy("hausdorff_mm").tolist() == [0.0]
    assert answer.as_numpy("apd_mm").tolist() == pytest.approx([0.0])


def test_distances_of_an_empty_mask_have_no_elements(
    client: triton.InferenceServerClient,
    as_input: AsInput,
    contour_input: triton.InferInput,
    make_dicom: Callable[..., bytes],
) -> None:
    dark = as_input("dicom", np.array([make_dicom(np.full((64, 72), 100))], dtype=object))
    answer = client.infer("threshold-dicom", [dark, contour_input])
    assert (answer.as_numpy("dice").tolist(), answer.as_numpy("good").tolist()) == ([0.0], [False])
    assert (answer.as_numpy("apd_mm").size, answer.as_numpy("hausdorff_mm").size) == (0, 0)


def test_a_frame_and_a_pixel_spacing_may_come_with_a_dicom_file(
    client: triton.InferenceServerClient,
    as_input: AsInput,
    make_dicom: Callable[..., bytes],
    ventricle: NDArray[np.bool_],
) -> None:
    frames = np.stack([np.full((64, 72), 100), np.where(ventricle, 1000, 100)])
    inputs = [
        as_input("dicom", np.array([make_dicom(frames, spacing=None)], dtype=object)),
        as_input("frame", np.array([2], dtype=np.uint32)),
        as_input("pixel_spacing", np.array([1.5, 1.5])),
    ]
    answer = client.infer("threshold-dicom", inputs, outputs=[triton.InferRequestedOutput("area_mm2")])
    assert answer.as_numpy("area_mm2").tolist() == [900.0]
    assert answer.as_numpy("mask") is None


async def test_the_asyncio_client_is_answered_alike(
    address: str, as_input: AsInput, pixels: NDArray[np.float32]
) -> None:
    async with triton_aio.InferenceServerClient(address) as client:
        answer = await client.infer("threshold", [as_input("pixels", pixels)])
    np.testing.assert_array_equal(answer.as_numpy("mask"), pixels[:, 0] > 500)


def test_a_stream_is_answered_in_order_and_outlives_a_request_that_fails(
    client: triton.InferenceServerClient, as_input: AsInput, pixels: NDArray[np.float32]
) -> None:
    answers: queue.Queue[tuple[triton.InferResult | None, InferenceServerException | None]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number, model in enumerate(["threshold", "other", "threshold"]):
        client.async_stream_infer(model, [as_input("pixels", pixels)], request_id=str(number))
    first, failed, last = (answers.get(timeout=60) for _ in range(3))
    client.stop_stream()
    assert [result.get_response().id for result, _ in (first, last)] == ["0", "2"]
    np.testing.assert_array_equal(last[0].as_numpy("mask"), pixels[:, 0] > 500)
    assert failed[1].message().startswith("this model is not served here")


def test_one_slice_too_many_is_told_to_come_again(
    serving_kserve, gated_engine, as_input: AsInput, pixels: NDArray[np.float32]
) -> None:
    first: queue.Queue[tuple[triton.InferResult | None, InferenceServerException | None]] = queue.Queue()
    with (
        serving_kserve(gated_engine, room=Room(slices=1)) as address,
        triton.InferenceServerClient(address) as client,
    ):
        client.async_infer(
            "threshold", [as_input("pixels", pixels)], lambda result, error: first.put((result, error))
        )
        assert gated_engine.entered.wait(timeout=60)
        with pytest.raises(InferenceServerException, match="1 slices are under way") as caught:
            client.infer("threshold", [as_input("pixels", pixels)])
        gated_engine.gate.set()
        assert first.get(timeout=60)[1] is None
    assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def test_a_server_that_wants_a_token_wants_it_of_tritons_client_too(
    serving_kserve, engine, as_input: AsInput, pixels: NDArray[np.float32], tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    tokens.chmod(0o600)
    inputs = [as_input("pixels", pixels)]
    with (
        serving_kserve(engine, guarded={"interceptors": [TokenInterceptor(tokens)]}) as address,
        triton.InferenceServerClient(address) as client,
    ):
        with pytest.raises(InferenceServerException, match="this server wants a token") as caught:
            client.infer("threshold", inputs)
        answer = client.infer("threshold", inputs, headers={"authorization": f"Bearer {TOKEN}"})
    assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
    np.testing.assert_array_equal(answer.as_numpy("mask"), pixels[:, 0] > 500)


def test_a_failing_engine_shows_the_caller_a_reference_alone(
    serving_kserve, failing_engine, as_input: AsInput, pixels: NDArray[np.float32]
) -> None:
    with (
        serving_kserve(failing_engine(EngineError("/srv/model.onnx broke"))) as address,
        triton.InferenceServerClient(address) as client,
        pytest.raises(InferenceServerException, match="its log says more under the reference") as caught,
    ):
        client.infer("threshold", [as_input("pixels", pixels)])
    assert caught.value.status() == "StatusCode.INTERNAL"
    assert "model.onnx" not in caught.value.message()


def test_requests_are_counted_by_model_and_outcome(
    client: triton.InferenceServerClient, as_input: AsInput, pixels: NDArray[np.float32]
) -> None:
    client.infer("threshold", [as_input("pixels", pixels)])
    client.infer("threshold", [as_input("pixels", pixels[:1])])
    with pytest.raises(InferenceServerException):
        client.infer("threshold", [as_input("pixels", pixels[..., :8])])
    counted, other = client.get_inference_statistics().model_stats
    assert (counted.name, counted.inference_count, counted.execution_count) == ("threshold", 3, 2)
    spent = counted.inference_stats
    assert (spent.success.count, spent.fail.count) == (2, 1)
    stages = (spent.compute_input, spent.compute_infer, spent.compute_output)
    assert all(stage.count == 2 and stage.ns > 0 for stage in stages)
    assert sum(stage.ns for stage in stages) <= spent.success.ns
    assert (other.name, other.inference_stats.success.count) == ("threshold-dicom", 0)


@pytest.mark.skipif(shutil.which("perf_analyzer") is None, reason="perf_analyzer is not on PATH")
def test_perf_analyzer_measures_it(address: str) -> None:
    options = ["-i", "grpc", "--shape", "pixels:1,64,64", "--input-data", "zero", "--request-count", "10"]
    run = partial(subprocess.run, capture_output=True, text=True, timeout=120)
    measured = run(["perf_analyzer", "-m", "threshold", "-u", address, "-b", "2", *options])
    assert measured.returncode == 0, measured.stdout + measured.stderr
    assert " Request count: 10\n" in measured.stdout
