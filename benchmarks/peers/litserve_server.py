"""LitServe around the same work: a process for each core, and as many for HTTP, which is its default.

Slices go one by one: batching gains nothing where a model has one thread of a processor, and its callers wait longer.
"""

import os
from typing import Annotated

import litserve
from fastapi import Body, Response
from peers.slice_work import Answer, SliceWork


class SegmentationApi(litserve.LitAPI):
    """DICOM as the request's body, JSON as the answer's."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the model."""
        self._work = SliceWork.from_environment()

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/dicom")]) -> bytes:
        """Return the file."""
        return request

    def predict(self, dicom: bytes) -> Answer:
        """Segment one slice."""
        return self._work(dicom)

    def encode_response(self, answer: Answer) -> Response:
        """Return the answer's JSON, ready to send: FastAPI would look at each number of a contour first."""
        return Response(answer.to_json(), media_type="application/json")


if __name__ == "__main__":
    server = litserve.LitServer(
        SegmentationApi(), accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]), timeout=60
    )
    server.run(
        host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning"
    )
