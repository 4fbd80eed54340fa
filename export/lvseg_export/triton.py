"""A bundle as a model repository of NVIDIA's Triton Inference Server.

Triton knows neither DICOM nor millimetres: whoever calls it brings slices to the working grid, and the probability
back, with ``lvseg.resample``.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvseg_export.bundle import MANIFEST, Bundle, EngineFile

SIGNATURE = "lvseg-bundle.json"
"""The bundle's manifest, by which the repository is known for one of ours."""

MAX_BATCH = 16
_MAX_DELAY_US = 2000
_WARM_UP = "phantom"


@dataclass(frozen=True, kw_only=True)
class TritonModel:
    """One model of a repository."""

    name: str
    """Of the model and of its folder."""
    engine: EngineFile
    tensorrt: bool
    """Whether ONNX Runtime hands the graph to TensorRT, which needs a GPU."""


def triton_models(bundle: Bundle) -> Iterator[TritonModel]:
    """Give the models that a repository of the bundle holds: each ONNX file on ONNX Runtime and on TensorRT in it.

    Not bf16, which ONNX Runtime does not read: it has no such convolution.
    """
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", bundle.manifest.model.name)
    for engine in bundle.manifest.engines:
        if engine.precision == "bf16":
            continue
        name = f"{base}-{engine.precision}"
        yield TritonModel(name=name, engine=engine, tensorrt=False)
        yield TritonModel(name=f"{name}-tensorrt", engine=engine, tensorrt=True)


def write_repository(bundle: Bundle, folder: Path) -> None:
    """Write the repository into an empty folder.

    Each model batches dynamically, for any size of slice, and is warmed up with a phantom slice at start.
    """
    phantom = bundle.reference.pixels[0].astype("<f4")  # (1, H, W)
    for model in triton_models(bundle):
        (folder / model.name / "1").mkdir(parents=True)
        (folder / model.name / "warmup").mkdir()
        shutil.copy(bundle.path(model.engine.file), folder / model.name / "1" / "model.onnx")
        (folder / model.name / "warmup" / _WARM_UP).write_bytes(phantom.tobytes())
        (folder / model.name / "config.pbtxt").write_text(_config(model, phantom.shape))
    shutil.copy(bundle.path(MANIFEST), folder / SIGNATURE)
    (folder / "README.md").write_text(_readme(bundle))


def _config(model: TritonModel, warm_up: tuple[int, ...]) -> str:
    kind = "KIND_GPU" if model.tensorrt else "KIND_AUTO"
    text = f"""name: {json.dumps(model.name)}
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
input [
  {{ name: "pixels" data_type: TYPE_FP32 dims: [ 1, -1, -1 ] }}
]
output [
  {{ name: "mask" data_type: TYPE_UINT8 dims: [ -1, -1 ] }},
  {{ name: "probability" data_type: TYPE_FP32 dims: [ -1, -1 ] }}
]
dynamic_batching {{ max_queue_delay_microseconds: {_MAX_DELAY_US} }}
instance_group [
  {{ count: 1 kind: {kind} }}
]
model_warmup [
  {{
    name: "one phantom slice"
    batch_size: 1
    inputs {{
      key: "pixels"
      value {{ data_type: TYPE_FP32 dims: [ {", ".join(map(str, warm_up))} ] input_data_file: "{_WARM_UP}" }}
    }}
  }}
]
"""
    if not model.tensorrt:
        return text
    precision = model.engine.precision.upper()
    return (
        text
        + f"""optimization {{
  execution_accelerators {{
    gpu_execution_accelerator [
      {{
        name: "tensorrt"
        parameters {{ key: "precision_mode" value: "{precision}" }}
      }}
    ]
  }}
}}
"""
    )


def _readme(bundle: Bundle) -> str:
    manifest, spacing_mm = bundle.manifest, bundle.manifest.input.working_spacing_mm
    models = "\n".join(f"- `{model.name}`" for model in triton_models(bundle))
    return f"""# {manifest.model.name}, version {manifest.model.version}, for Triton

    tritonserver --model-repository=THIS_FOLDER

{models}

Those that end in `-tensorrt` need a GPU; without one, start the others by name: `--model-control-mode=explicit
--load-model=NAME`.

Input `pixels` (batch, 1, height, width) float32: a slice's pixels after the modality LUT, resampled to square
pixels of {spacing_mm:g} mm (`lvseg.resample.to_working`). Intensity normalisation is inside. Outputs `mask`
(uint8) and `probability` (float32), both (batch, height, width); `lvseg.resample.mask_from_working` brings a
probability back to the slice's own grid. Triton batches slices of one shape only.
"""
