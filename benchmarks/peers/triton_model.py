"""The same work as a model of NVIDIA Triton's own Python backend: Triton runs this file in a process for each core."""

import os
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)  # Triton's interpreter does not look there itself
from peers.slice_work import Answer, SliceWork  # noqa: E402


class TritonPythonModel:
    """What the Python backend looks for in a model's file."""

    def initialize(self, args: dict[str, Any]) -> None:  # noqa: ARG002
        """Load the model."""
        self._work = SliceWork.from_environment()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer what the dynamic batcher hands over, slice by slice."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        (dicom,) = triton.get_input_tensor_by_name(request, "dicom").as_numpy()[:, 0]
        return triton.InferenceResponse(output_tensors=_tensors(self._work(dicom)))


def _tensors(answer: Answer) -> list[Any]:
    return [
        triton.Tensor("mask_png", np.array([[answer.mask_png]], dtype=np.object_)),
        triton.Tensor("contour", answer.contour[np.newaxis]),
        triton.Tensor("area_mm2", np.array([[answer.area_mm2]])),
    ]
