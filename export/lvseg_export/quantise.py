"""A float32 graph as an int8 one: Q/DQ nodes around its convolutions, which every runtime reads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_static

from lvseg_export.quiet import quiet

# A few pixels of metal or fat are a hundred times brighter than blood: ranges that held them would leave
# the ventricle a handful of levels.
_PERCENTILE = 99.99


class Quantiser:
    """Writes int8 graphs of one float32 graph, whose ranges are measured once.

    Weights are symmetric, each output channel with a scale of its own; activations are symmetric and
    signed, because TensorRT takes no zero points. The convolutions that score the classes stay float32:
    they are next to no work, and decide.

    Args:
        source: The float32 graph, of the bundle's contract.
        slices: Pixels (H, W) on the working grid to measure ranges on: of the training, never of those
            that the result is judged by.
        scratch: An empty folder for the ranges, once measured.

    Raises:
        ValueError: If there are no slices.
    """

    def __init__(self, source: Path, slices: Sequence[NDArray[np.float32]], *, scratch: Path) -> None:
        if not slices:
            raise ValueError("expected slices to measure ranges on, got none")
        self._source = source
        self._slices = slices
        graph = onnx.load(source).graph
        classes = {weight.name for weight in graph.initializer if weight.dims[:1] == [2]}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        self._scores = [node.name for node in convolutions if classes & set(node.input)]
        self.convolutions = [node.name for node in convolutions if node.name not in self._scores]
        """Those that can be int8, from the input on."""
        self._ranges = scratch / "ranges.json"

    def write(self, target: Path, *, float_layers: int) -> None:
        """Write the int8 graph whose first ``float_layers`` convolutions stay float32."""
        with quiet(""):
            quantize_static(
                self._source,
                target,
                _Reader(self._slices),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=[*self._scores, *self.convolutions[:float_layers]],
                calibrate_method=CalibrationMethod.Percentile,
                calibration_cache_path=self._ranges,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "CalibPercentile": _PERCENTILE,
                    # One slice at a time: they differ in size, and all activations of all take gigabytes.
                    "CalibStridedMinMax": 1,
                },
            )


class _Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    def __init__(self, slices: Sequence[NDArray[np.float32]]) -> None:
        self._slices = slices
        self._left = iter(slices)

    def __len__(self) -> int:
        return len(self._slices)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._slices[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        pixels = next(self._left, None)
        return None if pixels is None else {"pixels": pixels[np.newaxis, np.newaxis]}
