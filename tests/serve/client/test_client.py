"""Both clients against a real server: they share their tests, as they share their conversions."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.errors import InputError, ServerError
from lvseg.plausibility import Flag
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_export.engines.base import Engine
from lvseg_serve.answers import ServerInfo
from lvseg_serve.client import AsyncClient, Client, ContourForm, Output
from lvseg_serve.client.converters import from_segment_response
from lvseg_serve.rpc.converters import to_segment_response

Ask = Callable[..., Any]


def test_a_mask_an_outline_and_figures_come_back(
    ask: Ask, server: str, dicom: bytes, ventricle: NDArray[np.bool_]
) -> None:
    answer = ask("segment", server, dicom)
    np.testing.assert_array_equal(answer.mask, ventricle)
    assert answer.contour.shape == (80, 2)
    assert answer.contour.dtype == np.float64
    assert (answer.rows, answer.columns, answer.frame) == (64, 72, 1)
    assert (answer.area_mm2, answer.pixel_spacing) == (900.0, (1.5, 1.5))
    assert answer.agreement is None
    assert answer.model.sha256 == "ab" * 32
    assert answer.timings.total_ms >= answer.timings.inference_ms > 0


def test_a_contour_of_points_is_compared(
    ask: Ask, server: str, dicom: bytes, contour: NDArray[np.float64]
) -> None:
    agreement = ask("segment", server, dicom, contour=contour).agreement
    assert (agreement.dice, agreement.hausdorff_mm, agreement.good) == (1.0, 0.0, True)


def test_a_contour_of_text_is_compared(ask: Ask, server: str, dicom: bytes) -> None:
    text = "39.5 19.5\n49.5 19.5\n49.5 39.5\n39.5 39.5\n"
    assert ask("segment", server, dicom, contour=text).agreement.dice == pytest.approx(2 / 3)


def test_what_a_contour_looks_like_comes_back(
    ask: Ask, server: str, dicom: bytes, contour: NDArray[np.float64]
) -> None:
    plausibility = ask("segment", server, dicom, contour=contour + np.array((12.0, -8.0))).plausibility
    assert plausibility.flags == {Flag.OTHER_PLACE}
    assert plausibility.offset_mm == pytest.approx((18.0, -12.0))


def test_beside_an_empty_mask_a_contour_has_no_offset(
    ask: Ask, server: str, make_dicom: Callable[..., bytes], contour: NDArray[np.float64]
) -> None:
    plausibility = ask("segment", server, make_dicom(np.full((64, 72), 100)), contour=contour).plausibility
    assert (plausibility.flags, plausibility.offset_mm) == (frozenset(), None)


def test_without_a_contour_nothing_is_said_of_one(ask: Ask, server: str, dicom: bytes) -> None:
    assert ask("segment", server, dicom).plausibility is None


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_has_a_number_that_leads_back_to_it(flag: Flag) -> None:
    number = pb.ContourFlag.Value(f"CONTOUR_FLAG_{flag.name}")
    message = pb.SegmentResponse(plausibility=pb.Plausibility(flags=[number]))
    answer = from_segment_response(message, outputs=())
    assert answer.plausibility is not None
    assert answer.plausibility.flags == {flag}
    assert to_segment_response(answer, (), max_message_bytes=2**20).plausibility.flags == [number]


def test_a_flag_of_a_newer_server_is_passed_over() -> None:
    message = pb.SegmentResponse(plausibility=pb.Plausibility(flags=[pb.CONTOUR_FLAG_EPICARDIUM, 99]))
    answer = from_segment_response(message, outputs=())
    assert answer.plausibility is not None
    assert answer.plausibility.flags == {Flag.EPICARDIUM}


def test_distances_of_an_empty_mask_are_none(
    ask: Ask, server: str, make_dicom: Callable[..., bytes], contour: NDArray[np.float64]
) -> None:
    answer = ask("segment", server, make_dicom(np.full((64, 72), 100)), contour=contour)
    assert answer.contour is None
    assert (answer.agreement.apd_mm, answer.agreement.hausdorff_mm, answer.agreement.good) == (
        None,
        None,
        False,
    )


@pytest.mark.parametrize("output", [Output.MASK, Output.MASK_RUNS, Output.MASK_BITS])
def test_a_mask_is_an_array_of_bool_in_whatever_form_it_travels(
    ask: Ask, server: str, dicom: bytes, ventricle: NDArray[np.bool_], output: Output
) -> None:
    mask = ask("segment", server, dicom, outputs=[output]).mask
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, ventricle)


def test_boundaries_and_a_probability_come_when_asked_for(
    ask: Ask, server: str, dicom: bytes, ventricle: NDArray[np.bool_]
) -> None:
    answer = ask("segment", server, dicom, outputs=[Output.BOUNDARIES, Output.PROBABILITY])
    ((outer, holes),) = answer.boundaries
    assert (outer.shape, holes) == ((80, 2), ())
    assert answer.probability.dtype == np.float32
    np.testing.assert_array_equal(answer.probability, ventricle)
    assert answer.mask is None


def test_a_mask_of_bool_is_compared(
    ask: Ask, server: str, dicom: bytes, ventricle: NDArray[np.bool_]
) -> None:
    answer = ask("segment", server, dicom, contour=ventricle)
    assert (answer.agreement.dice, answer.contour_form) == (1.0, ContourForm.MASK_PNG)


def test_an_output_that_was_not_asked_for_is_none(ask: Ask, server: str, dicom: bytes) -> None:
    answer = ask("segment", server, dicom, outputs=[Output.CONTOUR])
    assert answer.mask is None
    assert answer.contour is not None


def test_frame_and_pixel_spacing_reach_the_server(
    ask: Ask, server: str, make_dicom: Callable[..., bytes], ventricle: NDArray[np.bool_]
) -> None:
    frames = make_dicom(np.stack([np.full((64, 72), 100), np.where(ventricle, 1000, 100)]), spacing=None)
    answer = ask("segment", server, frames, frame=2, pixel_spacing=(1.5, 1.5))
    assert (answer.frame, answer.area_mm2) == (2, 900.0)


def test_the_server_info_comes_back_as_it_was(ask: Ask, server: str, info: ServerInfo) -> None:
    assert ask("server_info", server) == info


def test_refused_input_is_an_input_error_with_the_servers_details(
    ask: Ask, server: str, make_dicom: Callable[..., bytes]
) -> None:
    with pytest.raises(InputError) as caught:
        ask("segment", server, make_dicom(np.zeros((8, 8)), spacing=None))
    assert caught.value.reason
    assert caught.value.field == "PixelSpacing"
    assert caught.value.expected
    assert caught.value.exit_code == 2


def test_a_text_file_is_an_input_error(ask: Ask, server: str) -> None:
    with pytest.raises(InputError) as caught:
        ask("segment", server, b"hello")
    assert caught.value.reason == "NOT_DICOM"


def test_no_server_is_a_server_error_that_says_what_to_do(ask: Ask, nowhere: str, dicom: bytes) -> None:
    with pytest.raises(ServerError, match=rf"no server at {nowhere} answers.*lvseg-serve") as caught:
        ask("segment", nowhere, dicom, options={"connect_s": 0.0})
    assert (caught.value.code, caught.value.exit_code) == ("UNAVAILABLE", 1)


def test_a_message_above_the_servers_limit_is_a_server_error(ask: Ask, server: str, info: ServerInfo) -> None:
    with pytest.raises(ServerError, match="refused the message") as caught:
        ask("segment", server, bytes(info.limits.max_message_bytes))
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_a_message_above_the_clients_limit_is_not_sent(ask: Ask, server: str) -> None:
    with pytest.raises(ServerError, match="refused the message") as caught:
        ask("segment", server, bytes(2**20), options={"max_message_mib": 1})
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_a_late_answer_is_a_server_error(
    ask: Ask, serving: Callable[[Engine], AbstractContextManager[str]], gated_engine, dicom: bytes
) -> None:
    with serving(gated_engine) as address:
        with pytest.raises(ServerError, match=r"no answer within 0\.5 s") as caught:
            ask("segment", address, dicom, options={"timeout_s": 0.5})
        gated_engine.gate.set()
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_a_failure_of_the_server_carries_its_reference(
    ask: Ask,
    serving: Callable[[Engine], AbstractContextManager[str]],
    failing_engine: Callable[[Exception], Engine],
    dicom: bytes,
) -> None:
    with (
        serving(failing_engine(RuntimeError("Planted^Name"))) as address,
        pytest.raises(ServerError, match=r"INTERNAL: .* reference [0-9a-f]{12}") as caught,
    ):
        ask("segment", address, dicom)
    assert (caught.value.code, caught.value.reason) == ("INTERNAL", "INTERNAL")


@pytest.mark.parametrize(
    "arguments",
    [{"frame": 0}, {"frame": 2**32}, {"contour": [1.0, 2.0]}, {"contour": [True]}, {"outputs": []}],
)
def test_arguments_that_make_no_message_are_value_errors(
    ask: Ask, nowhere: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        ask("segment", nowhere, b"", **arguments)


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
        # What a stream sends may be an asynchronous iterable too where the client is asynchronous.
        return [
            parameter.replace(annotation=inspect.Parameter.empty) if parameter.name == "slices" else parameter
            for parameter in inspect.signature(method).parameters.values()
        ]

    def signatures(client: type) -> dict[str, list[inspect.Parameter]]:
        methods = inspect.getmembers(client, inspect.isfunction)
        return {
            name: parameters(method)
            for name, method in methods
            if name == "__init__" or not name.startswith("_")
        }

    assert signatures(Client) == signatures(AsyncClient)


def test_another_service_at_the_address_is_a_server_error_with_its_code(ask: Ask) -> None:
    with ThreadPoolExecutor(1) as pool:
        other = grpc.server(pool)
        port = other.add_insecure_port("127.0.0.1:0")
        other.start()
        try:
            with pytest.raises(ServerError) as caught:
                ask("server_info", f"127.0.0.1:{port}")
        finally:
            other.stop(None).wait()
    assert caught.value.code == "UNIMPLEMENTED"
