import dataclasses
import math

from google.protobuf import json_format

from lvseg_serve.answers import ServerInfo
from lvseg_serve.rpc.converters import to_server_info_response


def test_a_training_figure_that_is_no_number_becomes_null(info: ServerInfo) -> None:
    training = {"dice": math.nan, "per_patient": [{"apd_mm": math.inf, "slices": 18}], "model": "fcn-8s"}
    message = to_server_info_response(dataclasses.replace(info, training=training))
    assert json_format.MessageToDict(message.training) == {
        "dice": None,
        "per_patient": [{"apd_mm": None, "slices": 18}],
        "model": "fcn-8s",
    }
