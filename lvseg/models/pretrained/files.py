"""Weights in any kind of file, under the published names of their layers."""

import json
import pickle
import re
import zipfile
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from lvseg.errors import WeightsError
from lvseg.models.options import Normalisation
from lvseg.models.pretrained.caffemodel import CaffeModel, read_caffemodel
from lvseg.models.pretrained.torchvision import published_names

Weights = Mapping[str, NDArray[Any]]

# As the run folder has them (lvseg.train.run), which may import this package but not the other way round.
_RUN_OPTIONS = "options.json"
_RUN_BEST = Path("checkpoints/best.ckpt")

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_WRITTEN_BY_LVSEG = "lvseg "
_PREFIXES = re.compile(r"^(?:module\.|model\.|_orig_mod\.|network\.)+")


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """What a file holds, whatever its format."""

    path: Path
    kind: str
    """What it is, for a person: ``"Caffe"``, ``"torchvision"``, ``"lvseg"`` or ``"PyTorch"``."""
    layers: Mapping[str, Weights]
    """By layer: its ``weight``, ``bias`` and so on."""
    normalisations: tuple[Normalisation, ...]
    """Those that its weights were trained with, the usual one first; empty where nothing tells."""


def read_weights(path: Path) -> WeightsFile:
    """Read a .caffemodel, a PyTorch state dict, safetensors, a checkpoint of lvseg or a run folder.

    The kind is told from the file's first bytes. No code in the file is executed.

    Raises:
        WeightsError: If the file is missing, broken, or of no such kind.
    """
    if path.is_dir():
        if not (path / _RUN_BEST).is_file():
            raise _refused(
                path, f"a folder without {_RUN_BEST}", "give a run that has been validated, or a file"
            )
        return read_weights(path / _RUN_BEST)
    if not path.is_file():
        raise _refused(path, "not there", "give a file of weights or a run folder")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_HDF5):
        raise _refused(path, "HDF5", "have Caffe write it with snapshot_format: BINARYPROTO")
    if start.startswith((_ZIP, _PICKLE)):
        return _from_state_dict(path, _read_torch(path), normalisation=_recorded_normalisation(path))
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        weights, metadata = _read_safetensors(path)
        return _from_state_dict(path, weights, normalisation=metadata.get("normalisation"))
    return _from_caffe(path, read_caffemodel(path))


def _refused(path: Path, found: str, remedy: str) -> WeightsError:
    return WeightsError(f"{path} is {found}; {remedy}", reason="BROKEN_WEIGHTS")


def _read_torch(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise _refused(
            path,
            "a pickle that holds more than weights, or a broken one; nothing of it was run",
            "save the model's state_dict() alone",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(
            path, "no file that torch.save has written, or a broken one", "get it again"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise _refused(path, "no state dict", "save the model's state_dict()")
    return {str(name): _array(value) for name, value in state.items() if isinstance(value, torch.Tensor)}


def _read_safetensors(path: Path) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: _array(file.get_tensor(name)) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise _refused(path, f"a broken safetensors file ({error})", "get it again") from error


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    values: NDArray[Any] = tensor.detach().to(torch.float32).numpy()
    return values


def _recorded_normalisation(path: Path) -> str | None:
    """Return the normalisation of the run whose checkpoint this is; ``None`` where it lies in no run folder."""
    options = path.absolute().parent.parent / _RUN_OPTIONS
    if path.parent.name != _RUN_BEST.parent.name or not options.is_file():
        return None
    try:
        network = json.loads(options.read_bytes())["options"]["network"]
        # Runs of the first version do not say: there was one.
        return str(network.get("normalisation", "z-score"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(options, "not the options of a run", "give another run, or a file") from error


def _from_state_dict(path: Path, weights: Weights, *, normalisation: str | None) -> WeightsFile:
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in weights.items():
        layer, parameter = _split(_PREFIXES.sub("", name))
        layers.setdefault(layer, {})[parameter] = values
    names = published_names(layers)
    if names is not None:
        return WeightsFile(
            path=path,
            kind="torchvision",
            layers={names[layer]: values for layer, values in layers.items()},
            normalisations=("imagenet",),
        )
    known = _known(normalisation)
    return WeightsFile(path=path, kind="lvseg" if known else "PyTorch", layers=layers, normalisations=known)


def _known(normalisation: str | None) -> tuple[Normalisation, ...]:
    return tuple(known for known in get_args(Normalisation) if known == normalisation)


def _split(name: str) -> tuple[str, str]:
    layer, _, parameter = name.partition(".norm.")
    if parameter:
        return layer, f"norm.{parameter}"
    layer, _, parameter = name.rpartition(".")
    return layer, parameter


def _from_caffe(path: Path, model: CaffeModel) -> WeightsFile:
    layers: dict[str, Weights] = {
        _published_name(name, model.layers): dict(zip(("weight", "bias"), blobs, strict=False))
        for name, blobs in model.layers.items()
    }
    if model.name.startswith(_WRITTEN_BY_LVSEG):
        known = _known(model.name.split()[-1])
        return WeightsFile(path=path, kind="lvseg", layers=layers, normalisations=known)
    vgg = "conv1_1" in layers
    normalisations: tuple[Normalisation, ...] = (
        ("bgr-means",) if vgg else ("grey-116", "bgr-means", "raw-116")
    )
    return WeightsFile(path=path, kind="Caffe", layers=layers, normalisations=normalisations)


def _published_name(layer: str, layers: Container[str]) -> str:
    """Return a layer's name without what a lab's prototxt or Caffe's own net surgery hung on to it."""
    name = re.sub(r"(_\d+classes|-conv)$", "", layer)
    return layer if name in layers else name


def net_name(architecture: str, normalisation: Normalisation) -> str:
    """Return the name that lvseg gives to a net that it writes; it tells a reader the normalisation."""
    return f"{_WRITTEN_BY_LVSEG}{architecture} {normalisation}"
