"""Torch data sets over labelled slices that are decoded and in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from lvseg.contour import Points, contour_to_mask
from lvseg.data.augmentation import Augmentation
from lvseg.data.cavity import Cavity, Places, deform_cavity
from lvseg.data.intensities import GreyLevels, vary_intensities
from lvseg.data.muscles import paint_muscles
from lvseg.data.placement import place_window
from lvseg.data.sunnybrook import LabelledImage
from lvseg.models.normalise import Normalise
from lvseg.models.options import NetworkOptions
from lvseg.resample import from_working, to_working


def contour_on_grid(contour: Points, shape: Sequence[int], grid_shape: Sequence[int]) -> Points:
    """Return a slice's contour in pixels of another grid over the same extent."""
    scale = np.array([grid_shape[1] / shape[1], grid_shape[0] / shape[0]])
    scaled: Points = (contour + 0.5) * scale - 0.5
    return scaled


@dataclass(frozen=True, eq=False)
class _WorkingSlice:
    """A labelled slice on the working grid."""

    pixels: NDArray[np.float32]
    mask: NDArray[np.bool_]
    cavity: Cavity
    grey: GreyLevels

    @classmethod
    def of(cls, image: LabelledImage, working_spacing_mm: float) -> Self:
        pixels = to_working(image.slice.pixels, image.slice.pixel_spacing, working_spacing_mm)
        contour = contour_on_grid(image.contour, image.slice.pixels.shape, pixels.shape)
        if np.array_equal(image.mask, contour_to_mask(image.contour, image.mask.shape)):
            mask = contour_to_mask(contour, pixels.shape)
        else:  # a label of several parts, or with holes, is more than its outline
            mask = from_working(image.mask.astype(np.float32), pixels.shape) > 0.5
        return cls(pixels, mask, Cavity.of(contour), GreyLevels.of(pixels))


def _sample(image: Tensor, places: tuple[Places, Places]) -> Tensor:
    """Take (1, C, H, W) at rows and columns (S, S), linearly: (C, S, S).

    Outside the slice is zero, as what a convolution pads with.
    """
    rows, columns = image.shape[-2:]
    # grid_sample counts from the outer edges of the first and last pixel, -1 to 1, x first.
    down, right = (2 * places[0] + 1) / rows - 1, (2 * places[1] + 1) / columns - 1
    grid = torch.from_numpy(np.stack((right, down), axis=-1).astype(np.float32))[None]
    return functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


class TrainingWindows(Dataset[tuple[Tensor, Tensor]]):
    """Augmented windows of labelled slices, each a function of seed, epoch and sample alone.

    Indexed by ``(epoch, sample)``, as :class:`EpochSampler` draws them, so that neither the number
    of loading processes nor an interruption changes what a training sees.

    A slice is normalised whole, as the served graph does it, and cut afterwards.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        *,
        working_spacing_mm: float,
        network: NetworkOptions,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self._augmentation = augmentation
        self._working_spacing_mm = working_spacing_mm
        self._seed = seed
        self._normalise = Normalise(network)
        self._slices = [_WorkingSlice.of(image, working_spacing_mm) for image in images]
        self._side = augmentation.window or max(max(slice_.mask.shape) for slice_ in self._slices)

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return normalised planes float32 (C, S, S) and label float32 (1, S, S) of a window of side S."""
        epoch, sample = key
        random = np.random.default_rng((self._seed, epoch, sample))
        slice_ = self._slices[sample]
        options = self._augmentation
        planes = self._normalise(torch.from_numpy(self._vary(slice_, random))[None, None])  # (1, C, H, W)
        unit = planes.std() * random.uniform(0, options.noise)
        mask = torch.from_numpy(slice_.mask)[None, None].to(torch.float32)
        window = _sample(torch.cat((planes, mask), dim=1), self._places(slice_, random))  # (C + 1, S, S)
        noise = torch.from_numpy(random.standard_normal((1, self._side, self._side), dtype=np.float32))
        return window[:-1] + unit * noise, (window[-1:] > 0.5).to(torch.float32)

    def _vary(self, slice_: _WorkingSlice, random: np.random.Generator) -> NDArray[np.float32]:
        options, pixels = self._augmentation, slice_.pixels
        if options.gamma > 1 or options.curve > 0 or options.shading > 0:
            pixels = vary_intensities(slice_.grey, random, options)
        if random.random() < options.muscles_share:
            pixels = paint_muscles(
                pixels, slice_.cavity, random, options, working_spacing_mm=self._working_spacing_mm
            )
        if random.random() < options.blurred_share:
            pixels = gaussian_filter(pixels, random.uniform(0, options.blur_mm) / self._working_spacing_mm)
        return pixels

    def _places(self, slice_: _WorkingSlice, random: np.random.Generator) -> tuple[Places, Places]:
        """Draw where in a slice the pixels of a window lie: rows and columns, each (S, S)."""
        options = self._augmentation
        ventricle = slice_.cavity.centre[::-1]
        places = place_window(
            slice_.mask.shape,
            ventricle,
            random,
            options,
            side=self._side,
            working_spacing_mm=self._working_spacing_mm,
        )
        if random.random() < options.cavity_share:
            places = deform_cavity(
                places, slice_.cavity, random, options, working_spacing_mm=self._working_spacing_mm
            )
        return places


class EpochSampler(Sampler[tuple[int, int]]):
    """Draw every sample once an epoch, in an order that is a function of seed and epoch alone.

    Of several processes each draws its own part of every batch, in their order, so that the parts together
    are the batch that one process would draw. Where the last batch cannot be shared evenly, its last sample
    is drawn more than once, and those beyond the batch's length are not to count.

    Lightning calls :meth:`set_epoch` before each epoch.

    Args:
        length: Number of samples.
        seed: Of the order.
        batch_size: Samples a batch, over all processes, of which it is a multiple.
        processes: Number of processes.
        rank: This process's number, from 0.
    """

    def __init__(
        self, length: int, *, seed: int, batch_size: int = 1, processes: int = 1, rank: int = 0
    ) -> None:
        self._length = length
        self._seed = seed
        self._batch_size = batch_size
        self._processes = processes
        self._rank = rank
        self.epoch = 0
        """The epoch, from 0, that the next iteration draws."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self.epoch = epoch

    def batches(self) -> Iterator[list[int]]:
        """Yield the samples of the epoch's batches, each over all processes."""
        order = np.random.default_rng((self._seed, self.epoch)).permutation(self._length).tolist()
        return (order[start : start + self._batch_size] for start in range(0, self._length, self._batch_size))

    def __len__(self) -> int:
        full, rest = divmod(self._length, self._batch_size)
        return full * self._share(self._batch_size) + self._share(rest)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        for batch in self.batches():
            share = self._share(len(batch))
            padded = batch + batch[-1:] * (share * self._processes - len(batch))
            for sample in padded[self._rank * share : (self._rank + 1) * share]:
                yield epoch, sample

    def _share(self, length: int) -> int:
        return -(-length // self._processes)
