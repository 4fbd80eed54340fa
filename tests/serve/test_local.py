"""The client without a server gives what a server would."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg_export.shipped import named_bundle
from lvseg_serve.answers import ContourForm, Output
from lvseg_serve.local import LocalClient


@pytest.fixture
def client(engine) -> Iterator[LocalClient]:
    """With the threshold engine in the place of the bundle's own."""
    with LocalClient(named_bundle(None), engine) as client:
        yield client


def test_every_output_that_is_asked_for_comes(
    client: LocalClient, dicom: bytes, ventricle: NDArray[np.bool_]
) -> None:
    answer = client.segment(dicom, pixel_spacing=None, outputs=list(Output))
    np.testing.assert_array_equal(answer.mask, answer.probability > 0.5)
    assert answer.mask.shape == ventricle.shape
    assert len(answer.boundaries) == 1
    np.testing.assert_array_equal(answer.boundaries[0].outer, answer.contour)


def test_an_experts_mask_is_compared(client: LocalClient, dicom: bytes, ventricle: NDArray[np.bool_]) -> None:
    answer = client.segment(dicom, contour=ventricle)
    assert answer.contour_form is ContourForm.MASK_PNG
    assert answer.agreement.dice > 0.9


def test_an_array_that_is_neither_points_nor_a_mask_is_a_value_error(
    client: LocalClient, dicom: bytes
) -> None:
    with pytest.raises(ValueError, match="points of shape"):
        client.segment(dicom, contour=np.zeros((3, 3)))
