"""BentoML around the same work: a process for each core, slices one by one.

Batching gains nothing where a model has one thread of a processor, and its callers wait longer.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from peers.slice_work import SliceWork
from starlette.responses import Response


@bentoml.service(
    workers=int(os.environ["WORKERS"]), traffic={"timeout": 60}, logging={"access": {"enabled": False}}
)
class SegmentationService:
    """DICOM as the request's body, which BentoML hands over as a file; JSON as the answer's."""

    def __init__(self) -> None:
        self._work = SliceWork.from_environment()

    @bentoml.api
    def segment(self, dicom: Annotated[Path, ContentType("application/dicom")], /) -> Any:
        """Segment one slice."""
        return Response(self._work(dicom.read_bytes()).to_json(), media_type="application/json")
