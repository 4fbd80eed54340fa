import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.overlay import CONTOUR_COLOUR, MASK_COLOUR
from lvseg.train.views import side_by_side, spread_over_areas, ventricle_view


@pytest.fixture(scope="module")
def images(phantom: Path) -> tuple[LabelledImage, ...]:
    return load_all(index_sunnybrook(phantom, phantom).samples[:9]).images


def moved(image: LabelledImage, columns: int, rows: int) -> LabelledImage:
    shifted = np.roll(image.slice.pixels, (rows, columns), axis=(0, 1))
    return dataclasses.replace(
        image,
        slice=dataclasses.replace(image.slice, pixels=shifted),
        contour=image.contour + np.array((columns, rows)),
        mask=np.roll(image.mask, (rows, columns), axis=(0, 1)),
    )


def test_the_smallest_the_median_and_the_largest_ventricle_are_chosen(images):
    areas = sorted(image.area_mm2 for image in images)
    chosen = [image.area_mm2 for image in spread_over_areas(images[::-1])]
    assert chosen == [areas[0], areas[4], areas[-1]]


@pytest.mark.parametrize(("count", "chosen"), [(1, 1), (2, 2), (3, 3)])
def test_few_slices_are_chosen_once_each(images, count, chosen):
    assert len({image.name for image in spread_over_areas(images[:count])}) == chosen


def share_of(picture: Image.Image, colour: tuple[int, int, int]) -> float:
    distance = np.abs(np.asarray(picture, dtype=float) - colour).sum(axis=2)
    return float(np.mean(distance < 90))


def test_a_view_shows_mask_and_contour(images):
    image = spread_over_areas(images)[1]
    empty = ventricle_view(image, np.zeros_like(image.mask))
    assert share_of(empty, MASK_COLOUR) == 0
    assert share_of(empty, CONTOUR_COLOUR) > 0.002
    beside = np.roll(image.mask, 15, axis=1)
    assert share_of(ventricle_view(image, beside), MASK_COLOUR) > 0.002


@pytest.mark.parametrize("corner", ["top left", "bottom right"])
def test_a_ventricle_at_the_edge_of_its_slice_has_a_view(images, corner):
    image = images[0]
    low, high = image.contour.min(axis=0), image.contour.max(axis=0)
    rows, columns = image.mask.shape
    by = -np.floor(low) if corner == "top left" else np.array((columns - 1, rows - 1)) - np.ceil(high)
    at_edge = moved(image, *by.astype(int).tolist())
    assert share_of(ventricle_view(at_edge, np.zeros_like(at_edge.mask)), CONTOUR_COLOUR) > 0.002


def test_pictures_stand_side_by_side():
    row = side_by_side([Image.new("RGB", (10, 20), "white"), Image.new("RGB", (30, 5), "white")], gap=2)
    assert row.size == (42, 20)
    assert np.asarray(row.convert("L")).astype(bool).sum() == 10 * 20 + 30 * 5
