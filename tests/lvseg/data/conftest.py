"""Small data sets of real files, in both layouts of Sunnybrook."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SQUARE = "2.00 2.00\n5.00 2.00\n5.00 5.00\n2.00 5.00\n"
"""Encloses the 4 x 4 pixel centres (2, 2) to (5, 5): area 3 x 3 pixels, mask of 16."""


class Tree:
    """Writes images of 8 x 10 pixels, spaced 1.5 x 2 mm, and contours below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def image(self, path: str, *, value: int = 0, position: float = 0.0) -> Path:
        file = self._new(path)
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
        uid = generate_uid(entropy_srcs=[path, str(value)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
        dataset.Modality = "MR"
        dataset.Rows, dataset.Columns = 8, 10
        dataset.PixelSpacing = [1.5, 2.0]
        dataset.ImagePositionPatient = [0.0, 0.0, position]
        dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        dataset.TriggerTime = 100.0 * value
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.PixelData = (np.arange(80, dtype="<u2") + value).tobytes()
        dataset.save_as(file, enforce_file_format=True)
        return file

    def contour(self, case: str, number: int, kind: str = "i", text: str = SQUARE) -> Path:
        folder = f"contours/{case}/contours-manual/IRCCI-expert"
        return self.text(f"{folder}/IM-0001-{number:04d}-{kind}contour-manual.txt", text)

    def text(self, path: str, text: str) -> Path:
        file = self._new(path)
        file.write_text(text)
        return file

    def challenge(self, case: str, *numbers: int, series: int = 4) -> None:
        """Write images and i-contours of one case in the challenge's layout."""
        for number in numbers:
            self.image(f"images/{case}/IM-{series:04d}-{number:04d}.dcm", value=number)
            self.contour(case, number)

    def _new(self, path: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)
