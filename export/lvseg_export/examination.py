"""The examination of an engine at export: everything that it is held to before a bundle may hold its file."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lvseg.data.labelled import LabelledImage
from lvseg.errors import EngineError
from lvseg.metrics import dice
from lvseg.resample import mask_from_working, to_working
from lvseg_export.engines.base import Engine, Prediction
from lvseg_export.gate import check_batches, check_finite, check_phantoms, check_shapes
from lvseg_export.parity import (
    LARGEST_DICE_LOSS,
    Pair,
    Parity,
    compare_predictions,
    require_finite,
    require_parity,
)
from lvseg_export.results import Result


class Examiner:
    """Holds engines to a trained model.

    Args:
        trained: The trained model in PyTorch, float32.
        phantoms: Slices (N, 1, H, W) on the working grid, N at least 2.
        images: Labelled slices; may be none.
        working_spacing_mm: Side of a pixel of the working grid.
    """

    def __init__(
        self,
        trained: Engine,
        *,
        phantoms: NDArray[np.float32],
        images: Sequence[LabelledImage],
        working_spacing_mm: float,
    ) -> None:
        self._trained = trained
        self._phantoms = phantoms
        self._spacing = working_spacing_mm
        self._images = images
        self._pixels = [
            to_working(image.slice.pixels, image.slice.pixel_spacing, working_spacing_mm)[
                np.newaxis, np.newaxis
            ]
            for image in images
        ]
        self.expected = trained.run(phantoms)
        """What the trained model says of the phantoms."""
        self._expected = [trained.run(pixels) for pixels in self._pixels]

    @property
    def shapes(self) -> set[tuple[int, ...]]:
        """The shapes (N, 1, H, W) that engines are examined on; others are no larger."""
        return {self._phantoms.shape, *(pixels.shape for pixels in self._pixels)}

    def examine(self, engine: Engine) -> list[Result]:
        """Return what each check found.

        Raises:
            EngineError: If the engine fails one; the message names it, the slice and the number.
        """
        check_finite(engine)
        results = [
            _result(engine, "phantoms", check_phantoms(engine, self._phantoms, self.expected, self._spacing)),
            _result(engine, "phantoms in batches", check_batches(engine, self._phantoms, self._spacing)),
            _result(
                engine,
                "phantoms of other shapes",
                check_shapes(engine, self._trained, self._phantoms, self._spacing),
            ),
        ]
        if self._images:
            results.append(self._labelled(engine))
        return results

    def _labelled(self, engine: Engine) -> Result:
        found = [engine.run(pixels) for pixels in self._pixels]
        pairs = map(Pair, found, self._expected, range(len(found)))
        parity = compare_predictions(pairs, working_spacing_mm=self._spacing)
        require_finite(parity, engine, "labelled slices")
        each, trained = self._dice_on_labels(found), self._dice_on_labels(self._expected)
        loss = float(np.mean(trained) - np.mean(each))
        if engine.precision not in LARGEST_DICE_LOSS:
            require_parity(parity, engine, "labelled slices")
        elif not abs(loss) <= LARGEST_DICE_LOSS[engine.precision]:
            worst = int(np.argmax(np.abs(np.subtract(trained, each))))
            raise EngineError(
                f"{engine.name} ({engine.precision}) has mean Dice {np.mean(each):.4f} with the experts' labels, the "
                f"trained model {np.mean(trained):.4f}, allowed is a difference of "
                f"{LARGEST_DICE_LOSS[engine.precision]:g}; it is largest on slice {worst} of {len(each)} "
                f"({each[worst]:.4f} and {trained[worst]:.4f}); take another precision"
            )
        return _result(
            engine,
            "labelled slices",
            parity,
            dice_on_labels=float(np.mean(each)),
            trained_dice_on_labels=float(np.mean(trained)),
        )

    def _dice_on_labels(self, predictions: Sequence[Prediction]) -> list[float]:
        return [
            dice(mask_from_working(prediction.probability[0], image.mask.shape), image.mask)
            for prediction, image in zip(predictions, self._images, strict=True)
        ]


def _result(engine: Engine, check: str, parity: Parity, **on_labels: float) -> Result:
    return Result(
        file=engine.file,
        precision=engine.precision,
        engine=engine.name,
        engine_version=engine.version,
        check=check,
        parity=parity,
        **on_labels,
    )
