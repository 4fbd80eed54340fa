import dataclasses
import math

import numpy as np
from google.protobuf import json_format

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.answers import ServerInfo
from lvseg_serve.rpc.converters import to_polygon, to_server_info_response


def test_a_training_figure_that_is_no_number_becomes_null(info: ServerInfo) -> None:
    training = {"dice": math.nan, "per_patient": [{"apd_mm": math.inf, "slices": 18}], "model": "fcn-8s"}
    message = to_server_info_response(dataclasses.replace(info, training=training))
    assert json_format.MessageToDict(message.training) == {
        "dice": None,
        "per_patient": [{"apd_mm": None, "slices": 18}],
        "model": "fcn-8s",
    }


def test_a_polygon_holds_its_points_as_they_are() -> None:
    points = np.array([(106.5, 109.0), (-0.0, 1e-300), (0.1, -7.25)])
    expected = pb.Polygon(points=[pb.Point(x=x, y=y) for x, y in points.tolist()])
    # Every field is written, 0 as well, so that messages are compared and not bytes.
    assert to_polygon(points) == expected


def test_a_polygon_of_no_points_is_empty() -> None:
    assert to_polygon(np.empty((0, 2))) == pb.Polygon()
