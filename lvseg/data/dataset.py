"""Torch data sets over labelled slices that are decoded and in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from monai.transforms import AdjustContrast, Affine
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lvseg.contour import Points, contour_to_mask
from lvseg.data.augmentation import Augmentation
from lvseg.data.sunnybrook import LabelledImage
from lvseg.models.normalise import Normalise
from lvseg.resample import to_working


def contour_on_grid(contour: Points, shape: Sequence[int], grid_shape: Sequence[int]) -> Points:
    """Return a slice's contour in pixels of another grid over the same extent."""
    scale = np.array([grid_shape[1] / shape[1], grid_shape[0] / shape[0]])
    scaled: Points = (contour + 0.5) * scale - 0.5
    return scaled


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
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self._augmentation = augmentation
        self._seed = seed
        self._normalise = Normalise()
        self._slices = [_on_working_grid(image, working_spacing_mm) for image in images]

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return normalised pixels float32 (1, S, S) and label float32 (1, S, S) of a window of side S."""
        epoch, sample = key
        random = np.random.default_rng((self._seed, epoch, sample))
        pixels, mask = self._slices[sample]
        options = self._augmentation
        gamma = _between(random, 1 / options.gamma, options.gamma)
        image = _plain(AdjustContrast(gamma)(torch.from_numpy(pixels)[None]))
        image = self._normalise(image[None])[0]  # (1, H, W)
        slice_and_mask = torch.cat((image, torch.from_numpy(mask)[None].to(torch.float32)))
        window = _plain(self._window(random, mask)(slice_and_mask, mode="bilinear"))  # (2, S, S)
        image, label = window[:1], (window[1:] > 0.5).to(torch.float32)
        noise = random.standard_normal(image.shape, dtype=np.float32) * np.float32(
            random.uniform(0, options.noise)
        )
        return image + torch.from_numpy(noise), label

    def _window(self, random: np.random.Generator, mask: NDArray[np.bool_]) -> Affine:
        options = self._augmentation
        scale = _between(random, 1 / options.scale, options.scale)
        centre = (np.array(mask.shape) - 1) / 2
        if random.random() < options.centred_share:
            reach = options.shift * options.window
            target = np.argwhere(mask).mean(axis=0) + random.uniform(-reach, reach, size=2)
        else:
            target = random.uniform((0, 0), mask.shape)
        angle = np.deg2rad(random.uniform(-options.rotation_deg, options.rotation_deg))
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        to_slice = np.eye(3)
        to_slice[:2, :2], to_slice[:2, 2] = turn, target - centre
        # Outside the slice is zero, the mean, as a convolution's own padding is.
        return Affine(
            affine=to_slice,
            spatial_size=(options.window, options.window),
            padding_mode="zeros",
            image_only=True,
        )


def _between(random: np.random.Generator, low: float, high: float) -> float:
    """Draw a factor whose logarithm is even between two limits."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _plain(image: object) -> Tensor:
    """Return MONAI's result as a tensor without metadata, which every later operation would carry along."""
    plain: Tensor = convert_to_tensor(image, track_meta=False)
    return plain


def _on_working_grid(
    image: LabelledImage, working_spacing_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    pixels = to_working(image.slice.pixels, image.slice.pixel_spacing, working_spacing_mm)
    contour = contour_on_grid(image.contour, image.slice.pixels.shape, pixels.shape)
    return pixels, contour_to_mask(contour, pixels.shape)


class EpochSampler(Sampler[tuple[int, int]]):
    """Draw every sample once an epoch, in an order that is a function of seed and epoch alone.

    Lightning calls :meth:`set_epoch` before each epoch, after a resumption too.
    """

    def __init__(self, length: int, *, seed: int) -> None:
        self._length = length
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        return ((self._epoch, int(sample)) for sample in order)
