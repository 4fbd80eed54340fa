import dataclasses

import pytest

from lvseg.data.summary import summarise
from lvseg.data.sunnybrook import load_sunnybrook


def summary_of(tree):
    return summarise(load_sunnybrook(tree.root, tree.root).images)


def test_positions_are_slices_and_images_at_one_of_them_phases(tree):
    for number, position in ((20, 0.0), (27, 0.04), (40, 8.0)):
        tree.image(f"SC-N-2/IM-0004-{number:04d}.dcm", value=number, position=position)
        tree.contour("SC-N-2", number)
    summary = summary_of(tree)
    assert (summary.contours, summary.slices, summary.phases) == (3, 2, (1, 2))


def test_patients_do_not_share_positions(tree):
    tree.challenge("SC-N-2", 20)
    tree.challenge("SC-N-3", 20)
    summary = summary_of(tree)
    assert (summary.patients, summary.slices) == (("SC-N-2", "SC-N-3"), 2)


def test_geometry_times_and_areas_are_those_of_the_slices(tree):
    tree.challenge("SC-N-2", 20, 27)
    tree.contour("SC-N-2", 27, text="1 1\n4 1\n4 2\n1 2\n")
    summary = summary_of(tree)
    assert (summary.shapes, summary.pixel_spacings) == (((8, 10),), ((1.5, 2.0),))
    assert summary.trigger_times_ms == (2000.0, 2700.0)
    assert summary.areas_mm2 == (3 * 1 * 3.0, 3 * 3 * 3.0)
    # 4 x 2 and 4 x 4 of 80 pixels each.
    assert summary.shares == (0.1, 0.2)
    assert summary.share == pytest.approx(0.15)


def test_slices_are_unknown_where_an_image_does_not_tell_its_position(tree):
    tree.challenge("SC-N-2", 20, 27)
    images = load_sunnybrook(tree.root, tree.root).images
    lost = dataclasses.replace(images[0], slice=dataclasses.replace(images[0].slice, position_mm=None))
    summary = summarise([lost, images[1]])
    assert (summary.slices, summary.phases) == (None, None)


def test_nothing_cannot_be_summarised():
    with pytest.raises(ValueError, match="no slices"):
        summarise([])
