"""What an observer is told of calls of the Open Inference Protocol."""

import queue

import numpy as np
import pytest
import tritonclient.grpc as triton

from lvseg_serve.observer import Call, Observer


class Recorder(Observer):
    """Keeps the calls that have ended."""

    def __init__(self) -> None:
        self.ended: queue.Queue[Call] = queue.Queue()

    def call_ended(self, call: Call) -> None:
        self.ended.put(call)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def client(serving_kserve, engine, recorder):
    with (
        serving_kserve(engine, guarded={"observer": recorder}) as address,
        triton.InferenceServerClient(address) as client,
    ):
        yield client


def test_a_slice_is_told_with_its_stages(client, recorder, as_input, dicom) -> None:
    client.infer("threshold-dicom", [as_input("dicom", np.array([dicom], dtype=object))])
    call = recorder.ended.get(timeout=60)
    assert (call.method, call.code) == ("inference.GRPCInferenceService/ModelInfer", "OK")
    assert call.slices == 1
    assert call.timings.total_ms > 0


def test_a_probe_is_told_by_its_name(client, recorder) -> None:
    assert client.is_server_live()
    assert recorder.ended.get(timeout=60).method == "inference.GRPCInferenceService/ServerLive"
