"""The servers that are compared: how each is started, called and understood."""

import base64
import json
import shlex
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from serving_bench.load import Client, grpc_client, http_client
from tritonclient.grpc import service_pb2

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.png import decode_mask

FOLDER = Path(__file__).parents[1]
SEGMENT = "/lvseg_api.v1.SegmentationService/Segment"


class Model(NamedTuple):
    """A model that every server serves."""

    name: str
    bundle: Path
    file: Path
    """The ONNX file of the bundle that is served."""
    precision: str
    working_spacing_mm: float
    beside_engine: bool
    """Whether the bare engine is measured beside: it tells nothing where it takes no time."""


class Said(NamedTuple):
    """A server's answer, in arrays."""

    mask: NDArray[np.bool_]
    contour: NDArray[np.float64]
    area_mm2: float


@dataclass(frozen=True, kw_only=True)
class Server:
    """One of the servers."""

    name: str
    protocol: str
    command: Callable[[Path, Model, int], list[str]]
    """Of its interpreter, the model and the port."""
    client: Callable[[int], Client]
    """Of a port."""
    request: Callable[[bytes], bytes]
    """The request that carries a DICOM file."""
    understand: Callable[[bytes], Said]
    requirements: tuple[str, ...] = ()
    """What its own environment needs beside the work; empty for what runs in this one."""
    packages: tuple[str, ...] = ()
    """Whose versions are told."""
    remark: str = ""


def lvseg_serve(options: str) -> Server:
    """Return lvseg-serve, with options beside those that say what it serves, as one would type them."""

    def command(python: Path, model: Model, port: int) -> list[str]:
        given = shlex.split(options)
        threads = [] if "--threads" in given else ["--threads", "1"]
        return [
            *(str(python.with_name("lvseg-serve")), str(model.bundle), "--listen", f"127.0.0.1:{port}"),
            *("--engine", "onnxruntime", "--precision", model.precision, *threads, *given),
        ]

    return Server(
        name=f"lvseg-serve {options}".strip(),
        protocol="gRPC",
        command=command,
        client=lambda port: lambda: grpc_client(port, SEGMENT),
        request=lambda dicom: pb.SegmentRequest(dicom=dicom).SerializeToString(),
        understand=_lvseg_answer,
        packages=("grpcio", "onnxruntime"),
    )


PLAIN = Server(
    name="plain grpcio",
    protocol="gRPC",
    command=lambda python, _model, _port: [str(python), str(FOLDER / "plain_server.py")],
    client=lambda port: lambda: grpc_client(port, SEGMENT),
    request=lambda dicom: pb.SegmentRequest(dicom=dicom).SerializeToString(),
    understand=lambda answer: _lvseg_answer(answer),
    packages=("grpcio", "onnxruntime"),
    remark="a thread for each CPU",
)


def _lvseg_answer(answer: bytes) -> Said:
    message = pb.SegmentResponse.FromString(answer)
    points = [(point.x, point.y) for point in message.contour.points]
    return Said(decode_mask(message.mask_png), np.array(points).reshape(-1, 2), message.area_mm2)


def _triton_request(dicom: bytes) -> bytes:
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="dicom", datatype="BYTES", shape=[1, 1])
    raw = struct.pack("<I", len(dicom)) + dicom
    request = service_pb2.ModelInferRequest(
        model_name="segmentation", inputs=[tensor], raw_input_contents=[raw]
    )
    return bytes(request.SerializeToString())


def _triton_answer(answer: bytes) -> Said:
    message = service_pb2.ModelInferResponse.FromString(answer)
    raw = {
        tensor.name: content
        for tensor, content in zip(message.outputs, message.raw_output_contents, strict=True)
    }
    contour = np.frombuffer(raw["contour"], "<f8").reshape(-1, 2)
    return Said(decode_mask(raw["mask_png"][4:]), contour, float(np.frombuffer(raw["area_mm2"], "<f8")[0]))


def _json_answer(answer: bytes) -> Said:
    said = json.loads(answer)
    contour = np.array(said["contour"], np.float64).reshape(-1, 2)
    return Said(decode_mask(base64.b64decode(said["mask_png"])), contour, said["area_mm2"])


PEERS = {
    "triton": Server(
        name="Triton, Python backend",
        protocol="gRPC",
        command=lambda python, _model, _port: [str(python), str(FOLDER / "peers" / "triton_server.py")],
        client=lambda port: lambda: grpc_client(port, "/inference.GRPCInferenceService/ModelInfer"),
        request=_triton_request,
        understand=_triton_answer,
        requirements=("nvidia-pytriton==0.7.0",),
        packages=("nvidia-pytriton", "numpy"),
        remark="an instance for each CPU, dynamic batching",
    ),
    "litserve": Server(
        name="LitServe",
        protocol="HTTP",
        command=lambda python, _model, _port: [str(python), str(FOLDER / "peers" / "litserve_server.py")],
        client=lambda port: lambda: http_client(port, "/predict"),
        request=bytes,
        understand=_json_answer,
        requirements=("litserve==0.2.19",),
        packages=("litserve", "uvicorn", "fastapi"),
        remark="a worker for each CPU, as many for HTTP",
    ),
    "bentoml": Server(
        name="BentoML",
        protocol="HTTP",
        command=lambda python, _model, port: [
            *(str(python.with_name("bentoml")), "serve", "peers.bentoml_service:SegmentationService"),
            *("--host", "127.0.0.1", "--port", str(port), "--working-dir", str(FOLDER)),
        ],
        client=lambda port: lambda: http_client(port, "/segment"),
        request=bytes,
        understand=_json_answer,
        requirements=("bentoml==1.4.40", "uvicorn[standard]"),
        packages=("bentoml", "uvicorn"),
        remark="a worker for each CPU",
    ),
}

THIS_PYTHON = Path(sys.executable)
