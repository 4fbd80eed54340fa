"""The bundle's own tensors as a model: slices on the working grid in, masks and probabilities out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import InputError
from lvseg_export.engines.base import LARGEST_SIDE, SMALLEST_SIDE
from lvseg_export.triton import MAX_BATCH
from lvseg_serve.rpc.kserve.spec import ANY, Answer, TensorSpec
from lvseg_serve.segmenter import Segmenter

MAX_PIXELS = 4 * 1024 * 1024
"""Pixels of one request, all its slices together: request and answer fit into messages of the default size."""


class PixelsModel:
    """Whoever calls it brings slices to the working grid, and the probability back, with ``lvseg.resample``."""

    max_batch = MAX_BATCH
    inputs = (TensorSpec(name="pixels", datatype="FP32", shape=(ANY, 1, ANY, ANY)),)
    outputs = (
        TensorSpec(name="mask", datatype="UINT8", shape=(ANY, ANY, ANY)),
        TensorSpec(name="probability", datatype="FP32", shape=(ANY, ANY, ANY)),
    )

    def __init__(self, name: str, segmenter: Segmenter) -> None:
        self.name = name
        self._segmenter = segmenter

    async def infer(self, inputs: Mapping[str, NDArray[Any]], wanted: frozenset[str]) -> Answer:
        """Run the engine on the slices as they are."""
        pixels = inputs["pixels"]
        _check_size(pixels.shape)
        if not np.isfinite(pixels).all():
            raise InputError(
                "input 'pixels' holds values that are not finite; send grey values as the modality LUT gives them",
                reason="NOT_FINITE",
                field="pixels",
                expected="finite values",
            )
        prediction, model = await self._segmenter.infer(pixels)
        tensors = prediction._asdict()
        return Answer({name: tensors[name] for name in wanted}, slices=len(pixels), model=model)


def _check_size(shape: tuple[int, ...]) -> None:
    slices, _, height, width = shape
    if slices > MAX_BATCH:
        raise _wrong_size(shape, f"at most {MAX_BATCH} slices", "send the rest in a request of their own")
    if min(height, width) < SMALLEST_SIDE or max(height, width) > LARGEST_SIDE:
        raise _wrong_size(shape, f"sides of {SMALLEST_SIDE} to {LARGEST_SIDE}", "pad or crop the slice")
    if slices * height * width > MAX_PIXELS:
        raise _wrong_size(shape, f"at most {MAX_PIXELS} pixels in all", "send fewer slices a request")


def _wrong_size(shape: tuple[int, ...], expected: str, remedy: str) -> InputError:
    return InputError(
        f"input 'pixels' has shape {list(shape)}, expected {expected}; {remedy}",
        reason="WRONG_SIZE",
        field="pixels",
        expected=expected,
    )
