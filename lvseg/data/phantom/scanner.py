"""How the scanner turns a plane of tissue into an image: coils, off-resonance, k-space, noise, scaling."""

import numpy as np
from numpy.typing import NDArray

from lvseg.data.phantom.fields import Array, Grid, Point, turned
from lvseg.data.phantom.patient import FRONT, FieldOfView, Patient

BITS_STORED = 12
"""Bits of a stored pixel, without a sign."""

_FINER = 1.5  # the tissue is sampled this many times finer than the image, along both axes
_COIL_MM = 52.0  # how far a coil's element sees
_ON_CHEST_MM = (-90.0, -25.0, 45.0)  # elements along the front of the chest, from the body's centre
_AT_BACK_MM: tuple[Point, ...] = ((175.0, 30.0), (140.0, 130.0))


class Scanner:
    """The scanner as set up for one patient.

    Args:
        patient: Who is in it.
        size: Rows, and columns, of the images.
    """

    def __init__(self, patient: Patient, size: int) -> None:
        rng = patient.generator("coils")
        self.grid = Grid.square(patient.field_of_view_mm, round(_FINER * size))
        """Where the tissue is to be sampled."""
        self._patient = patient
        self._size = size
        self._coils = _place_coils(rng, patient)
        self._bands = _banding(rng, self.grid)
        self._window = _kspace_window(size, patient.phase_resolution)
        self._shift = _shift(size, len(self.grid.y))
        self._kept = _kept(patient.field_of_view, size)

    def sensitivity(self, z: float) -> Array:
        """Return by how much each cell of the grid is brighter in the plane ``z`` than the heart is."""
        total = np.zeros(self.grid.shape)
        for coil in self._coils:
            total += _seen_by(coil, self.grid.x, self.grid.y, z)
        middle = 0.4 * self._patient.heart.length_mm
        x, y = (np.array(place) for place in self._patient.axis_mm(middle))
        at_heart = sum(_seen_by(coil, x, y, middle) for coil in self._coils)
        shading: Array = (total / at_heart) ** (0.5 * self._patient.shading) * self._bands
        return shading

    def scan(self, tissue: Array, sensitivity: Array, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Return the stored image, ``(size, size)``, of a plane of tissue.

        Args:
            tissue: Signals as in :mod:`lvseg.data.phantom.tissue`, of the grid's shape.
            sensitivity: Of the plane, see :meth:`sensitivity`.
            rng: Where the noise comes from. The magnitude of signal and complex noise is Rician.
        """
        size, finer = self._size, len(tissue)
        spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(tissue * sensitivity)))
        first = finer // 2 - size // 2
        spectrum = spectrum[first : first + size, first : first + size] * self._shift * (size / finer) ** 2
        noise = rng.standard_normal((2, size, size)) * (self._patient.noise * size)
        spectrum = (spectrum + noise[0] + 1j * noise[1]) * self._window
        image = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum))))
        stored = np.minimum(np.rint(image * self._kept * self._patient.blood), 2**BITS_STORED - 1)
        pixels: NDArray[np.uint16] = stored.astype(np.uint16)
        return pixels


def _place_coils(rng: np.random.Generator, patient: Patient) -> list[tuple[float, float, float, float]]:
    """Return ``(x, y, z, gain)`` of the elements on the chest and behind the back, in the image's axes, mm."""
    coils = []
    away = patient.front_mm + 14.0
    for along in _ON_CHEST_MM:
        place = (FRONT[0] * away - FRONT[1] * along, FRONT[1] * away + FRONT[0] * along)
        z = patient.heart.length_mm * rng.uniform(0.7, 1.2)
        coils.append((place, z, rng.uniform(0.7, 1.3)))
    coils += [(place, rng.uniform(-40.0, 40.0), rng.uniform(0.4, 1.0)) for place in _AT_BACK_MM]
    in_image = []
    for (x, y), z, gain in coils:
        across, down = turned(np.array(x), np.array(y), -patient.turn)
        in_image.append((patient.centre_mm[0] + float(across), patient.centre_mm[1] + float(down), z, gain))
    return in_image


def _seen_by(coil: tuple[float, float, float, float], x: Array, y: Array, z: float) -> Array:
    distance = ((x - coil[0]) ** 2 + (y - coil[1]) ** 2 + (z - coil[2]) ** 2) / _COIL_MM**2
    seen: Array = coil[3] / (1.0 + distance) ** 2
    return seen


def _banding(rng: np.random.Generator, grid: Grid) -> Array:
    """Return the dark bands of a balanced sequence: where the field is half a cycle off, far from the centre."""
    u, v = grid.x / -grid.x[0, 0], grid.y / -grid.y[0, 0]
    tilt, bow = rng.normal(0.0, 0.07, 2), rng.uniform(0.2, 0.75)
    cycles = tilt[0] * u + tilt[1] * v + 0.5 * bow * (u**2 + v**2) ** 1.5
    signal: Array = 1.0 - 0.85 * np.exp(-((np.cos(np.pi * cycles) / 0.25) ** 2))
    return signal


def _kspace_window(size: int, phase_resolution: float) -> Array:
    """Return the weights of k-space: fewer lines along the phase (rows), and a gentle roll-off along both."""
    frequency = np.abs(np.arange(size) - size // 2) / (size / 2)
    read = 1.0 / (1.0 + np.exp((frequency - 0.70) / 0.07))
    phase = 1.0 / (1.0 + np.exp((frequency / phase_resolution - 0.84) / 0.07))
    window: Array = phase[:, np.newaxis] * read
    return window


def _shift(size: int, finer: int) -> NDArray[np.complex128]:
    """Return the phases that bring the origin of the finer grid's transform to that of the image's.

    The origin is a sample, which lies half a cell off the centre of a grid of an even number of cells.
    """
    apart = _off_centre(size) - _off_centre(finer)
    phase = np.exp(2j * np.pi * apart * (np.arange(size) - size // 2))
    shift: NDArray[np.complex128] = phase[:, np.newaxis] * phase
    return shift


def _off_centre(count: int) -> float:
    """Return how far a transform's origin is from the centre of ``count`` cells, as a share of the field."""
    return (count // 2 - (count - 1) / 2) / count


def _kept(field_of_view: FieldOfView, size: int) -> NDArray[np.bool_]:
    """Return which pixels the reconstruction keeps; the others are black."""
    grid = Grid.square(2.0, size)
    if field_of_view == "circle":
        return grid.x**2 + grid.y**2 < 0.85**2
    if field_of_view == "bowed":  # what correcting for the gradients' distortion leaves of a square
        return (np.abs(grid.x) < 0.80 + 0.20 * grid.y**2) & (grid.y < 0.985)
    return np.ones((size, size), dtype=np.bool_)
