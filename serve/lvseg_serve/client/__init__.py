"""The client: what an integrator imports to send slices to a server. Needs neither torch nor an engine.

>>> from lvseg_serve.client import Client
>>> with Client("127.0.0.1:50051") as client:  # doctest: +SKIP
...     answer = client.segment(Path("slice.dcm").read_bytes())
...     print(answer.area_mm2)
"""

from lvseg_serve.answers import (
    ContourForm,
    Limits,
    ModelIdentity,
    Output,
    Segmentation,
    SeriesSummary,
    ServerInfo,
    StageTimings,
)
from lvseg_serve.client.asynchronous import AsyncClient
from lvseg_serve.client.asynchronous_stream import AsyncSegmentStream
from lvseg_serve.client.conversation import SeriesSlice
from lvseg_serve.client.security import Tls
from lvseg_serve.client.synchronous import Client
from lvseg_serve.client.synchronous_stream import SegmentStream

__all__ = [
    "AsyncClient",
    "AsyncSegmentStream",
    "Client",
    "ContourForm",
    "Limits",
    "ModelIdentity",
    "Output",
    "SegmentStream",
    "Segmentation",
    "SeriesSlice",
    "SeriesSummary",
    "ServerInfo",
    "StageTimings",
    "Tls",
]
