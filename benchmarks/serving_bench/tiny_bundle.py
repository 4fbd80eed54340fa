"""A bundle whose model takes next to no time, so that what is measured is the server around it.

The model draws a disc of a ventricle's size into the middle of any slice: mask, contour and PNG are like those of a
real one, and so is the work of making them.
"""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from lvseg_export.bundle import (
    MANIFEST,
    REFERENCE,
    Bundle,
    EngineFile,
    InputContract,
    Manifest,
    ModelInfo,
    load_bundle,
    sha256_of,
)

MODEL = "model.onnx"
RADIUS_PX = 27.0
_REFERENCE_SIDE = 96


def write_tiny_bundle(folder: Path, working_spacing_mm: float) -> Bundle:
    """Write the bundle into a folder that exists.

    Args:
        folder: Where to.
        working_spacing_mm: Of the model that is measured beside, so that slices are resampled alike.
    """
    onnx.save(_disc_model(), folder / MODEL)
    pixels = np.random.default_rng(0).random((2, 1, _REFERENCE_SIDE, _REFERENCE_SIDE), dtype=np.float32)
    session = ort.InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
    mask, probability = session.run(None, {"pixels": pixels})
    np.savez(folder / REFERENCE, pixels=pixels, mask=mask, probability=probability)
    manifest = Manifest(
        model=ModelInfo(name="disc", version=sha256_of(folder / MODEL)[:12], architecture="disc", options={}),
        input=InputContract(channels=1, working_spacing_mm=working_spacing_mm),
        labels=("background", "left ventricle"),
        training={},
        engines=(EngineFile(file=MODEL, runtime="onnx", precision="fp32"),),
    )
    digests = {name: sha256_of(folder / name) for name in (MODEL, REFERENCE)}
    (folder / MANIFEST).write_text(dataclasses.replace(manifest, sha256=digests).to_json())
    return load_bundle(folder)


def _disc_model() -> onnx.ModelProto:
    """Return a graph of the bundle's contract; its probability falls from 1 to 0 within ten pixels of the edge."""
    constants = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "half": np.float32(0.5),
        "slope": np.float32(0.1),
        "height": np.float32(0.5 + 0.1 * RADIUS_PX),
        "rows_axis": np.array([0, 2], np.int64),
        "columns_axis": np.array([0, 1], np.int64),
        "low": np.float32(0.0),
        "high": np.float32(1.0),
    }
    nodes = [
        helper.make_node("Shape", ["pixels"], ["batch"], start=0, end=1),
        helper.make_node("Shape", ["pixels"], ["plane"], start=2, end=4),
        helper.make_node("Concat", ["batch", "plane"], ["shape"], axis=0),
    ]
    for axis, index in (("rows", 2), ("columns", 3)):
        nodes += [
            helper.make_node("Shape", ["pixels"], [f"{axis}_1"], start=index, end=index + 1),
            helper.make_node("Squeeze", [f"{axis}_1"], [f"{axis}_count"]),
            helper.make_node("Range", ["zero", f"{axis}_count", "one"], [f"{axis}_index"]),
            helper.make_node("Cast", [f"{axis}_index"], [f"{axis}_position"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [f"{axis}_count"], [f"{axis}_length"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{axis}_length", "half"], [f"{axis}_middle"]),
            helper.make_node("Sub", [f"{axis}_position", f"{axis}_middle"], [f"{axis}_offset"]),
            helper.make_node("Mul", [f"{axis}_offset", f"{axis}_offset"], [f"{axis}_square"]),
            helper.make_node("Unsqueeze", [f"{axis}_square", f"{axis}_axis"], [f"{axis}_plane"]),
        ]
    nodes += [
        helper.make_node("Add", ["rows_plane", "columns_plane"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["distance"]),
        helper.make_node("Mul", ["distance", "slope"], ["fall"]),
        helper.make_node("Sub", ["height", "fall"], ["cone"]),
        helper.make_node("Clip", ["cone", "low", "high"], ["disc"]),
        helper.make_node("Expand", ["disc", "shape"], ["probability"]),
        helper.make_node("Greater", ["probability", "half"], ["inside"]),
        helper.make_node("Cast", ["inside"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "disc",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [
            helper.make_tensor_value_info("mask", TensorProto.UINT8, ["N", "H", "W"]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", "H", "W"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
