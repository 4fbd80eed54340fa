"""A client without a server: the same calls, answered by an engine in the caller's own process."""

import asyncio
from collections.abc import Collection
from types import TracebackType
from typing import Self

from numpy.typing import ArrayLike

from lvseg_export.bundle import Bundle
from lvseg_export.engines.base import Engine
from lvseg_serve.answers import DEFAULT_OUTPUTS, Output, Segmentation
from lvseg_serve.info import model_identity
from lvseg_serve.reference import given
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.stages import SliceRequest


class LocalClient:
    """Segments slices here, as a server with this engine would; for one thread at a time.

    Args:
        bundle: The bundle that the engine runs a file of.
        engine: The engine.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self._segmenter = Segmenter(
            engine,
            model=model_identity(bundle, engine),
            working_spacing_mm=bundle.manifest.input.working_spacing_mm,
        )
        self._loop = asyncio.Runner()

    def segment(
        self,
        dicom: bytes,
        *,
        contour: ArrayLike | str | None = None,
        frame: int | None = None,
        pixel_spacing: tuple[float, float] | None = None,
        outputs: Collection[Output] = DEFAULT_OUTPUTS,
    ) -> Segmentation:
        """Segment one slice; the arguments are those of :meth:`lvseg_serve.client.Client.segment`.

        Raises:
            InputError: If the slice or the contour is refused.
            EngineError: If the engine fails.
            ValueError: If the contour is an array of neither points nor a mask.
        """
        request = SliceRequest(
            dicom=dicom,
            frame=frame,
            pixel_spacing=pixel_spacing,
            contour=None if contour is None else given(contour),
            outputs=frozenset(outputs),
        )
        return self._loop.run(self._segmenter.segment(request))

    def close(self) -> None:
        """End the threads."""
        self._loop.run(self._segmenter.close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
