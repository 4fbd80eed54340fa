"""A trained model as one ONNX file."""

import hashlib
from pathlib import Path

import onnx
import torch

from lvseg.models import SegmentationModel
from lvseg.models.folding import fold_batch_norm, fold_planes
from lvseg_export.engines.base import LARGEST_SIDE, SMALLEST_SIDE
from lvseg_export.graph import ServedModel
from lvseg_export.quiet import quiet

OPSET = 20
_BFLOAT16_OPSET = 22
"""The first whose convolutions take bfloat16."""


def weights_version(model: SegmentationModel) -> str:
    """Return twelve hexadecimal digits that stand for a model's weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def write_onnx(model: SegmentationModel, path: Path, *, layers: torch.dtype = torch.float32) -> None:
    """Write a model as an ONNX graph of the bundle's contract, weights inside.

    Input ``pixels`` float32 (batch, 1, height, width) of any size; outputs ``mask`` uint8 and
    ``probability`` float32, both (batch, height, width), whatever the arithmetic of the layers between.
    Normalisation and decision are in the graph; batch normalisation is folded into the convolutions
    before their weights are rounded, and planes that hold the same values into one.

    Args:
        model: The trained model.
        path: The file to write.
        layers: Type of the network's weights and sums: float32, float16 or bfloat16.
    """
    batch = torch.export.Dim("batch", min=1)
    height = torch.export.Dim("height", min=SMALLEST_SIDE, max=LARGEST_SIDE)
    width = torch.export.Dim("width", min=SMALLEST_SIDE, max=LARGEST_SIDE)
    # Sizes of no special form, so that the exporter takes none of them for a constant.
    example = torch.rand(2, 1, 93, 107)
    with quiet("torch.onnx"):
        program = torch.onnx.export(
            ServedModel(fold_batch_norm(fold_planes(model)), layers).eval(),
            (example,),
            dynamo=True,
            input_names=["pixels"],
            output_names=["mask", "probability"],
            dynamic_shapes=({0: batch, 2: height, 3: width},),
            opset_version=_BFLOAT16_OPSET if layers == torch.bfloat16 else OPSET,
            external_data=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    graph = program.model_proto
    _clean(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def _clean(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes (stack traces with paths) and give the outputs the input's sizes.

    The exporter derives the outputs' sizes as formulas such as ``8*ceil(height/8)`` cut to
    ``height``; after the cut they are the input's.
    """
    for holder in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
    ):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dimension, name in zip(
            output.type.tensor_type.shape.dim, ("batch", "height", "width"), strict=True
        ):
            dimension.dim_param = name
