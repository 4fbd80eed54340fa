from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.data.phantom.patient import Patient, draw_patient
from lvseg.data.phantom.scanner import Scanner

FIELD_MM = 96.0
EVEN = 1.0  # sensitivity


def patient(noise: float, blood: float = 1000.0) -> Patient:
    drawn = draw_patient(seed=1, number=3, slices=9)  # the third has a whole field of view
    return replace(drawn, field_of_view_mm=FIELD_MM, noise=noise, blood=blood)


def scan(subject: Patient, size: int, signal: float, x_mm: float, y_mm: float) -> NDArray[np.uint16]:
    """Scan a round blob of 6 mm at a point."""
    scanner = Scanner(subject, size)
    tissue = signal * np.exp(-((scanner.grid.x - x_mm) ** 2 + (scanner.grid.y - y_mm) ** 2) / (2 * 6.0**2))
    return scanner.scan(tissue, np.full(tissue.shape, EVEN), np.random.default_rng(0))


@pytest.mark.parametrize("size", [64, 65, 96])
def test_a_blob_appears_where_it_is_with_pixel_centres_at_integers(size: int) -> None:
    image = scan(patient(noise=0.0), size, 1.0, x_mm=10.0, y_mm=-7.0).astype(np.float64)
    rows, columns = np.indices(image.shape)
    pixel = FIELD_MM / size

    assert (columns * image).sum() / image.sum() == pytest.approx(10.0 / pixel + (size - 1) / 2, abs=0.03)
    assert (rows * image).sum() / image.sum() == pytest.approx(-7.0 / pixel + (size - 1) / 2, abs=0.03)


def test_a_signal_keeps_its_value_at_any_size() -> None:
    peaks = [int(scan(patient(noise=0.0), size, 0.5, 0.0, 0.0).max()) for size in (64, 128)]

    assert peaks == pytest.approx([500, 500], abs=10)


def test_negative_fat_is_as_bright_as_positive_water() -> None:
    water, fat = (scan(patient(noise=0.0), 64, signal, 3.0, 3.0) for signal in (0.8, -0.8))

    assert np.array_equal(water, fat)


def test_air_is_rayleigh_distributed_as_the_magnitude_of_complex_noise_is() -> None:
    air = scan(patient(noise=0.1), 256, 0.0, 0.0, 0.0).astype(np.float64)

    assert air.mean() / air.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.03)


def test_the_brightest_signal_is_clipped_to_the_bits_stored() -> None:
    assert scan(patient(noise=0.0), 64, 50.0, 0.0, 0.0).max() == 4095
