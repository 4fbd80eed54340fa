"""How much arithmetic a bundle's graph does for one slice. Needs onnx, which the serving half does without."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import shape_inference

from lvseg.errors import BundleError

_Shape = Sequence[int]
"""0 where a length is not known."""


def flops_of_slice(path: Path, rows: int, columns: int) -> int:
    """Return the floating-point operations that a graph needs for one slice of its working grid.

    A multiplication and an addition count as one each. Convolutions and transposed convolutions are counted,
    where the time goes; normalisation, pooling, activations and biases are not, nor are zeros of the padding
    left out. So it is a property of the model and the size, and not of what a runtime makes of the graph.

    Args:
        path: An ONNX file of the bundle's contract.
        rows: Of the slice on the working grid.
        columns: Likewise.

    Raises:
        BundleError: If the sizes inside the graph do not follow from the slice's.
    """
    model = onnx.load(path)
    sizes = (1, 1, rows, columns)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        dimension.dim_value = size
    shapes = _shapes(shape_inference.infer_shapes(model, data_prop=True))
    flops = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        # Each place of the grid that the kernel is laid on meets every weight once: of the output's grid, or
        # of the input's where the convolution is transposed. Groups have fewer weights by as much.
        grid = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())[2:]
        weight = shapes.get(node.input[1], ())
        if not grid or not weight or 0 in (*grid, *weight):
            raise BundleError(
                f"{path}: the size of {node.op_type} {node.name or node.output[0]} does not follow from a slice of "
                f"{rows} x {columns}; export the run again",
                reason="UNKNOWN_SIZE",
            )
        flops += 2 * math.prod(grid) * math.prod(weight)
    return flops


def _shapes(model: onnx.ModelProto) -> Mapping[str, _Shape]:
    graph = model.graph
    values = (*graph.value_info, *graph.input, *graph.output)
    of_values = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in values
    }
    return {**of_values, **{weight.name: list(weight.dims) for weight in graph.initializer}}
