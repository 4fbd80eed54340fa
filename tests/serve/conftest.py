"""A slice whose answer is known, an engine that finds it, and servers to ask."""

import asyncio
import io
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from lvseg.errors import EngineError, WorkerLostError
from lvseg_export.bundle import EngineFile, InputContract, Manifest, ModelInfo, sha256_of
from lvseg_export.engines.base import Engine, Prediction
from lvseg_serve.answers import Limits, ModelIdentity, ServerInfo
from lvseg_serve.rpc.server import running_server
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.stages import MAX_WORKING_PIXELS

WORKING_SPACING_MM = 1.5
SERVE_OPTIONS = ("--engine", "onnxruntime", "--threads", "1")
SERVE = "from lvseg_serve.commands import serve; serve()"


class ThresholdEngine:
    """Finds what is brighter than 500, and fails when two threads call it at once."""

    name = "threshold-cpu"
    version = "1.0"
    file = "model.onnx"
    precision = "fp32"
    threads = concurrency = 1

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._alone = threading.Lock()

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        if not self._alone.acquire(blocking=False):
            raise EngineError("two threads at once")
        try:
            self.shapes.append(pixels.shape)
            mask = pixels[:, 0] > 500
            return Prediction(mask.astype(np.uint8), mask.astype(np.float32))
        finally:
            self._alone.release()


class GatedEngine(ThresholdEngine):
    """A threshold engine that waits inside each run until its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        self.entered.set()
        assert self.gate.wait(timeout=60)
        return super().run(pixels)


class FailingEngine(ThresholdEngine):
    """An engine that raises what it was given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def run(self, pixels: NDArray[np.float32]) -> Prediction:  # noqa: ARG002
        raise self._error


class LosingEngine(ThresholdEngine):
    """A threshold engine whose first calls end as those of a worker that is killed at its slice do."""

    def __init__(self) -> None:
        super().__init__()
        self.losses = 0
        """How many are to be lost."""
        self.rows: int | None = None
        """Of the slices that are; ``None``: any."""
        self.lost = 0

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        if self.lost < self.losses and self.rows in (None, pixels.shape[2]):
            self.lost += 1
            raise WorkerLostError("the worker that was at the slice was killed; send the slice again")
        return super().run(pixels)


@pytest.fixture
def losing_engine() -> LosingEngine:
    return LosingEngine()


@pytest.fixture
def engine() -> ThresholdEngine:
    return ThresholdEngine()


@pytest.fixture
def gated_engine() -> Iterator[GatedEngine]:
    engine = GatedEngine()
    yield engine
    engine.gate.set()


@pytest.fixture
def failing_engine() -> Callable[[Exception], FailingEngine]:
    return FailingEngine


@pytest.fixture
def make_dicom() -> Callable[..., bytes]:
    """Make the bytes of an MR image from unsigned pixels, by default with the working pixel spacing."""
    return write_dicom


def write_dicom(
    pixels: NDArray[np.integer], spacing: tuple[float, float] | None = (1.5, 1.5), **elements: object
) -> bytes:
    *frames, rows, columns = pixels.shape
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.5"
    dataset.Modality = "MR"
    dataset.PatientName = "Planted^Name"
    dataset.Rows, dataset.Columns = rows, columns
    if frames:
        dataset.NumberOfFrames = frames[0]
    if spacing is not None:
        dataset.PixelSpacing = list(spacing)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture
def ventricle() -> NDArray[np.bool_]:
    """Rows 20 to 39 and columns 30 to 49 of 64 x 72: 400 pixels, 900 mm² at 1.5 mm."""
    mask = np.zeros((64, 72), dtype=bool)
    mask[20:40, 30:50] = True
    return mask


@pytest.fixture
def dicom(ventricle: NDArray[np.bool_]) -> bytes:
    """A slice in which the threshold engine finds exactly ``ventricle``."""
    return write_dicom(np.where(ventricle, 1000, 100))


@pytest.fixture
def contour() -> NDArray[np.float64]:
    """The polygon around the pixels of ``ventricle``: filled, it is exactly that mask."""
    return np.array([(29.5, 19.5), (49.5, 19.5), (49.5, 39.5), (29.5, 39.5)])


@pytest.fixture
def model() -> ModelIdentity:
    return ModelIdentity(
        name="threshold",
        version="0123456789ab",
        sha256="ab" * 32,
        engine=ThresholdEngine.name,
        engine_version=ThresholdEngine.version,
        precision=ThresholdEngine.precision,
    )


@pytest.fixture
def info(model: ModelIdentity) -> ServerInfo:
    return ServerInfo(
        model=model,
        architecture="threshold",
        labels=("background", "left ventricle"),
        channels=1,
        working_spacing_mm=WORKING_SPACING_MM,
        training={"patients": ["SC-HF-I-1"], "dice": 0.5, "options": {"epochs": 3}},
        threads=1,
        limits=Limits(
            max_message_bytes=2**20,
            max_side=4096,
            max_working_pixels=MAX_WORKING_PIXELS,
            max_pending=64,
            max_stream_pending=4,
        ),
        versions={"lvseg": "0.1"},
    )


@pytest.fixture
def make_segmenter(model: ModelIdentity) -> Callable[..., Segmenter]:
    return partial(Segmenter, model=model, working_spacing_mm=WORKING_SPACING_MM)


@pytest.fixture
def serving(
    info: ServerInfo, make_segmenter: Callable[..., Segmenter]
) -> Callable[..., AbstractContextManager[str]]:
    """Run a server in a thread of its own, for tests that call it from ordinary code; gives its address.

    ``options`` are the segmenter's, ``guarded`` holds those of :func:`running_server`.
    """

    @contextmanager
    def serving(
        engine: Engine, *, listen: str = "127.0.0.1:0", guarded: Any = None, **options: Any
    ) -> Iterator[str]:
        ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def serve() -> None:
            stop = asyncio.Event()
            async with running_server(
                make_segmenter(engine, **options), info, listen=listen, **(guarded or {})
            ) as address:
                ready.set_result((address, asyncio.get_running_loop(), stop))
                await stop.wait()

        thread = threading.Thread(target=asyncio.run, args=[serve()])
        thread.start()
        address, loop, stop = ready.result(timeout=60)
        try:
            yield address
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    return serving


@pytest.fixture
def server(
    serving: Callable[[Engine], AbstractContextManager[str]], engine: ThresholdEngine
) -> Iterator[str]:
    """Address of a server with the threshold engine."""
    with serving(engine) as address:
        yield address


def _threshold_graph(limit: float) -> onnx.ModelProto:
    """The contract's graph for the simplest model: what is brighter than the limit is left ventricle."""
    constants = [("limit", np.float32(limit)), ("channel", np.array([1], dtype=np.int64))]
    graph = helper.make_graph(
        [
            helper.make_node("Squeeze", ["pixels", "channel"], ["grey"]),
            helper.make_node("Greater", ["grey", "limit"], ["bright"]),
            helper.make_node("Cast", ["bright"], ["mask"], to=TensorProto.UINT8),
            helper.make_node("Cast", ["bright"], ["probability"], to=TensorProto.FLOAT),
        ],
        "threshold",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [
            helper.make_tensor_value_info("mask", TensorProto.UINT8, ["N", "H", "W"]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", "H", "W"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def write_threshold_bundle(
    folder: Path, *, version: str = "0123456789ab", limit: float = 500, trained_limit: float | None = None
) -> Path:
    """Write a bundle of the simplest model, on pixels of 1.5 mm; with another trained limit it fails the gate."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(_threshold_graph(limit).SerializeToString())
    pixels = np.array([[[[100, 1000], [1000, 5000]]]], dtype=np.float32)
    mask = pixels[:, 0] > (trained_limit or limit)
    np.savez(
        folder / "reference.npz",
        pixels=pixels,
        mask=mask.astype(np.uint8),
        probability=mask.astype(np.float32),
    )
    manifest = Manifest(
        model=ModelInfo(name="threshold", version=version, architecture="threshold", options={}),
        input=InputContract(channels=1, working_spacing_mm=1.5),
        labels=("background", "left ventricle"),
        training={},
        engines=(EngineFile(file="model.onnx", runtime="onnx", precision="fp32"),),
        sha256={path.name: sha256_of(path) for path in folder.iterdir()},
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder


@pytest.fixture
def make_threshold_bundle() -> Callable[..., Path]:
    return write_threshold_bundle


@pytest.fixture
def threshold_bundle(tmp_path: Path) -> Path:
    """A bundle of the model that finds what is brighter than 500."""
    return write_threshold_bundle(tmp_path / "bundle")


class Running(NamedTuple):
    """A lvseg-serve that is ready."""

    process: subprocess.Popen[str]
    ready: str
    """The line that it printed."""

    @property
    def address(self) -> str:
        match = re.search(r"127\.0\.0\.1:[1-9][0-9]*", self.ready)
        assert match, self.ready
        return match[0]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, with a short name: the path of a socket, such as that between server and workers,
    has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lvseg-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
def serving_process(threshold_bundle: Path) -> Callable[..., AbstractContextManager[Running]]:
    """Run lvseg-serve as a process of its own until the block ends; a preamble may break its engine first."""

    @contextmanager
    def serving(*arguments: str, preamble: str = "") -> Iterator[Running]:
        code = f"{preamble}\n{SERVE}"
        command = [sys.executable, "-c", code, str(threshold_bundle), *SERVE_OPTIONS, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield Running(process, process.stdout.readline())
            finally:
                process.kill()

    return serving


class Authority:
    """Issues certificates as a hospital's authority would: ECDSA P-256, valid now unless asked otherwise."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = _pem(self._certificate(self._name, self._key, days=(-2, 9), extension=basic))

    def issue(
        self, folder: Path, name: str, *hosts: str, days: tuple[int, int] = (-1, 8)
    ) -> tuple[Path, Path]:
        """Write ``name.pem`` and ``name.key``, for these hosts, valid between two days from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        extension = x509.SubjectAlternativeName(names) if names else None
        certificate = self._certificate(subject, key, days=days, extension=extension)
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for path, content in zip(paths, (_pem(certificate), private), strict=True):
            replace_file(path, content)
        return paths

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: tuple[int, int],
        extension: x509.ExtensionType | None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
        )
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def replace_file(path: Path, content: bytes) -> None:
    """Put a file for its owner alone in the place of another at once, as those who rotate secrets do."""
    fresh = path.with_suffix(".fresh")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(path)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("hospital")


@pytest.fixture(scope="session")
def other_authority() -> Authority:
    """Nobody trusts it."""
    return Authority("elsewhere")


@pytest.fixture
def ca(tmp_path: Path, authority: Authority) -> Path:
    """File of the authority that both ends trust."""
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    return tmp_path / "ca.pem"


@pytest.fixture
def put() -> Callable[[Path, bytes], None]:
    return replace_file
