"""What a server says of the bundle and the engine that it runs."""

import platform
from importlib.metadata import version

from lvseg.dicom import LARGEST_SIDE
from lvseg_export.bundle import Bundle
from lvseg_export.engines.base import Engine
from lvseg_serve import defaults
from lvseg_serve.answers import Limits, ModelIdentity, ServerInfo
from lvseg_serve.stages import MAX_WORKING_PIXELS

_PACKAGES = ("lvseg", "grpcio", "numpy", "protobuf", "pydicom", "scipy")


def model_identity(bundle: Bundle, engine: Engine) -> ModelIdentity:
    """Return which model of ``bundle`` it is that ``engine`` runs."""
    manifest = bundle.manifest
    return ModelIdentity(
        name=manifest.model.name,
        version=manifest.model.version,
        sha256=manifest.sha256[engine.file],
        engine=engine.name,
        engine_version=engine.version,
        precision=engine.precision,
    )


def server_info(bundle: Bundle, engine: Engine, *, max_message_bytes: int, max_pending: int) -> ServerInfo:
    """Return what a server that runs ``engine`` with a file of ``bundle`` says of itself."""
    manifest = bundle.manifest
    return ServerInfo(
        model=model_identity(bundle, engine),
        architecture=manifest.model.architecture,
        labels=manifest.labels,
        channels=manifest.input.channels,
        working_spacing_mm=manifest.input.working_spacing_mm,
        training=manifest.training,
        threads=engine.threads,
        limits=Limits(
            max_message_bytes=max_message_bytes,
            max_side=LARGEST_SIDE,
            max_working_pixels=MAX_WORKING_PIXELS,
            max_pending=max_pending,
            max_stream_pending=defaults.MAX_STREAM_PENDING,
        ),
        versions={"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
    )
