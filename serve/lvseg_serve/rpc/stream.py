"""A series of slices over one call: each is answered when it is ready, and none ends the stream."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable

import grpc
from google.protobuf.message import DecodeError

from lvseg.errors import InputError, OverloadError, StoppingError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.answers import Limits, Segmentation
from lvseg_serve.rpc.calls import note_slice
from lvseg_serve.rpc.converters import segment_response, to_request, to_series_summary
from lvseg_serve.rpc.status import to_status
from lvseg_serve.rpc.uploads import Refused, Uploads, Whole
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.series import Series
from lvseg_serve.stages import SliceRequest

_ENVELOPE_BYTES = 1024
"""What an answer's id and framing take at most."""


class _CallerLeft(Exception):  # noqa: N818  no error of anyone's
    """An answer could not be written: nobody can be told anything any more."""


class SliceStream:
    """One call of ``SegmentStream``.

    Nothing is read while too many slices, or too many bytes of them, are under way: taken, and their answers
    not written yet; nor while the files of all callers fill the segmenter's room. gRPC's flow control then makes
    the caller wait, so that neither a fast caller nor one that does not read its answers fills the memory. When
    the call is cancelled, so is every slice of it.

    Args:
        segmenter: Does the work.
        limits: What may be under way, and how large a file may be.
        write: Sends one message to the caller.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        limits: Limits,
        write: Callable[[pb.SegmentStreamResponse], Awaitable[None]],
    ) -> None:
        self._segmenter = segmenter
        self._limits = limits
        self._write = write
        self._one_writer = asyncio.Lock()  # gRPC takes one message at a time
        self._series = Series()
        self._ids: set[str] = set()
        self._slices = 0
        self._bytes = 0
        self._freed = asyncio.Event()

    async def run(self, messages: AsyncIterable[pb.SegmentStreamRequest]) -> None:
        """Answer all that comes; ends with the summary once the caller has closed its side.

        Raises:
            InputError: If a message cannot be read; nothing is known of its slice, and the stream ends.
            StoppingError: What ``messages`` raise when the server is told to stop, once all that was taken is answered.
            CancelledError: If the caller has left, also where gRPC has not cancelled the call yet.
        """
        stopping: StoppingError | None = None
        try:
            async with asyncio.TaskGroup() as under_way:
                try:
                    await self._read(messages, under_way)
                except StoppingError as error:
                    stopping = error
            if stopping is not None:
                raise stopping
            await self._send(pb.SegmentStreamResponse(summary=to_series_summary(self._series.summary())))
        except _CallerLeft:
            raise asyncio.CancelledError from None
        except ExceptionGroup as errors:
            if errors.subgroup(_CallerLeft) is not None:
                raise asyncio.CancelledError from None
            raise errors.exceptions[0] from None

    async def _read(
        self, messages: AsyncIterable[pb.SegmentStreamRequest], under_way: asyncio.TaskGroup
    ) -> None:
        uploads = Uploads(max_bytes=self._limits.max_message_bytes, under_way=self._ids)
        try:
            await self._room()
            async for message in messages:
                for arrived in uploads.take(message):
                    await self._take(arrived, under_way)
                await self._room()
        except DecodeError as error:
            raise InputError(
                "a message is no SegmentStreamRequest, so the stream ends here; compare the .proto files",
                reason="MALFORMED_MESSAGE",
                expected="a SegmentStreamRequest",
            ) from error
        for refused in uploads.end():
            await self._take(refused, under_way)

    async def _take(self, arrived: Whole | Refused, under_way: asyncio.TaskGroup) -> None:
        if isinstance(arrived, Refused):
            await self._send(self._failure(arrived.id, arrived.error))
            return
        size = len(arrived.request.dicom)
        self._ids.add(arrived.id)
        self._slices += 1
        self._bytes += size
        under_way.create_task(self._answer(arrived, size))

    async def _room(self) -> None:
        await asyncio.sleep(0)  # what was taken begins, and counts
        limits = self._limits
        while self._slices >= limits.max_stream_pending or self._bytes > limits.max_message_bytes:
            self._freed.clear()
            await self._freed.wait()
        await self._segmenter.room_for_files()

    async def _answer(self, whole: Whole, size: int) -> None:
        with self._segmenter.hold(
            size
        ):  # and no longer: a caller who reads no answer would hold up all others
            answer = await self._outcome(whole)
        self._ids.discard(whole.id)  # before the answer goes out: whoever has it may use the id again
        await self._send(answer)
        self._slices -= 1
        self._bytes -= size
        self._freed.set()

    async def _outcome(self, whole: Whole) -> pb.SegmentStreamResponse:
        try:
            request = to_request(whole.request)
            whole.request.ClearField("dicom")  # held once
            answer = await self._segment(request)
            note_slice(answer.timings)
            message = await segment_response(
                answer,
                request.outputs,
                max_message_bytes=self._limits.max_message_bytes - _ENVELOPE_BYTES,
            )
        except Exception as error:  # noqa: BLE001  a slice's error is its answer
            return self._failure(whole.id, error)
        self._series.add(answer)
        return pb.SegmentStreamResponse(id=whole.id, segmentation=message)

    async def _segment(self, request: SliceRequest) -> Segmentation:
        """Segment a slice, waiting where a unary call would be refused: its bytes are here already."""
        while True:
            try:
                return await self._segmenter.segment(request, held=True)
            except OverloadError as error:
                await asyncio.sleep(error.retry_after_s)

    def _failure(self, id_: str, error: Exception) -> pb.SegmentStreamResponse:
        self._series.add_failure()
        return pb.SegmentStreamResponse(id=id_, error=to_status(error))

    async def _send(self, message: pb.SegmentStreamResponse) -> None:
        async with self._one_writer:
            try:
                await self._write(message)
            except grpc.aio.UsageError:
                raise
            except grpc.aio.BaseError as error:  # the caller's end is gone, or the server was told to stop
                raise _CallerLeft from error
