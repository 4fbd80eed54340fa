"""The bundle: the folder that export writes and the server loads. Needs neither torch nor onnx."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import BundleError
from lvseg_export.engines.base import Prediction

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
REFERENCE = "reference.npz"
PARITY = "parity.json"
CARD = "README.md"

_DIGEST = "manifest_sha256"
"""Key of the manifest's digest of itself, without this key."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Which model a bundle holds."""

    name: str
    version: str
    """The first twelve digits of the SHA-256 of the weights: equal weights, equal version."""
    architecture: str
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """What the graph expects of a slice."""

    channels: int
    working_spacing_mm: float
    """Side of a square pixel; every slice is resampled to it before and its probability back after."""


@dataclass(frozen=True, kw_only=True)
class EngineFile:
    """One file that a runtime can load."""

    file: str
    runtime: str
    """What reads the file: ``"onnx"`` for all that read ONNX."""
    precision: str
    """Arithmetic of the network's layers; how close it is to the trained model is in ``parity.json``."""
    examined: bool = True
    """Whether an engine was held to the trained model with it at export: false where none that runs it was there."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contract between training and serving, as ``manifest.json`` holds it."""

    schema_version: int = SCHEMA_VERSION
    model: ModelInfo
    input: InputContract
    labels: tuple[str, ...]
    training: Mapping[str, Any]
    """Data, recipe and metrics of the run, for people: nothing is computed from it."""
    engines: tuple[EngineFile, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digest of every other file of the folder, by name."""

    def to_json(self) -> str:
        """Return the text of ``manifest.json``, which ends with a digest of itself."""
        document = dataclasses.asdict(self)
        return json.dumps({**document, _DIGEST: _digest(document)}, indent=2) + "\n"


class Reference(NamedTuple):
    """Phantom slices, and what the trained model says of them."""

    pixels: NDArray[np.float32]
    """Shape (N, 1, H, W), on the working grid."""
    expected: Prediction


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose every file has been checked against its manifest."""

    folder: Path
    manifest: Manifest

    def path(self, file: str) -> Path:
        """Return where a file of the bundle lies."""
        return self.folder / file

    @cached_property
    def reference(self) -> Reference:
        """What an engine is held to: read once."""
        with np.load(self.path(REFERENCE), allow_pickle=False) as arrays:
            return Reference(arrays["pixels"], Prediction(arrays["mask"], arrays["probability"]))


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check its schema and every file's digest.

    Raises:
        BundleError: If the folder is not a bundle, its manifest is malformed or of another schema
            version, or a file that it lists is missing or has changed.
    """
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(
            f"{folder} is not a bundle (it holds no {MANIFEST}); write one with lvseg-export",
            reason="NOT_A_BUNDLE",
        )
    try:
        document = json.loads(manifest_path.read_bytes())
    except ValueError as error:
        raise _malformed(manifest_path, "is not JSON") from error
    manifest = _parse(document, manifest_path)
    for name, digest in manifest.sha256.items():
        _check_file(folder, name, digest)
    for file in (REFERENCE, *(engine.file for engine in manifest.engines)):
        if file not in manifest.sha256:
            raise _malformed(manifest_path, f"gives no SHA-256 of {file}")
    return Bundle(folder=folder, manifest=manifest)


def _malformed(path: Path, fault: str) -> BundleError:
    return BundleError(f"{path} {fault}; export the run again", reason="MALFORMED_MANIFEST")


def _check_file(folder: Path, name: str, digest: str) -> None:
    if Path(name).name != name:
        raise _malformed(folder / MANIFEST, f"names a file outside the bundle: {name!r}")
    path = folder / name
    if not path.is_file():
        raise BundleError(f"{path} is missing; copy the whole bundle or export again", reason="MISSING_FILE")
    found = sha256_of(path)
    if found != digest:
        raise BundleError(
            f"{path} has changed since export: SHA-256 {found[:12]}..., expected {digest[:12]}...; "
            "copy the bundle again or export again",
            reason="CHANGED_FILE",
            field=name,
            expected=digest,
        )


def _parse(document: Any, path: Path) -> Manifest:
    # The digest comes first among the checks of content: what it covers was written by Manifest.to_json.
    found = document.get("schema_version") if isinstance(document, dict) else None
    if found != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema version {found!r}, this lvseg reads version {SCHEMA_VERSION}; export the run again",
            reason="SCHEMA_VERSION",
            field="schema_version",
            expected=str(SCHEMA_VERSION),
        )
    values = dict(document)
    if values.pop(_DIGEST, None) != _digest(values):
        raise BundleError(
            f"{path} has changed since export; copy the bundle again or export again",
            reason="CHANGED_FILE",
            field=MANIFEST,
        )
    try:
        manifest = Manifest(
            **{
                **values,
                "model": ModelInfo(**values["model"]),
                "input": InputContract(**values["input"]),
                "labels": tuple(values["labels"]),
                "engines": tuple(EngineFile(**engine) for engine in values["engines"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise _malformed(
            path, f"does not have the fields of schema version {SCHEMA_VERSION} ({error})"
        ) from error
    spacing = manifest.input.working_spacing_mm
    if not (isinstance(spacing, float) and math.isfinite(spacing) and spacing > 0):
        raise _malformed(path, f"has input.working_spacing_mm {spacing!r}, expected a number above 0")
    if manifest.input.channels != 1:
        raise _malformed(path, f"has input.channels {manifest.input.channels!r}, expected 1")
    if not manifest.engines:
        raise _malformed(path, "lists no engine file")
    return manifest
