"""Write a phantom's slices as MR Image Storage objects: DICOM PS3.3, A.4 "MR Image IOD"."""

import uuid
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from lvseg.data.phantom.patient import Patient
from lvseg.data.phantom.scanner import BITS_STORED

_ROOT = uuid.UUID("b1c1b7a0-3f3c-4c07-9a39-6c51cf1f4f0e")
_STUDY_DATE = "20000101"  # of no meaning, but many programs sort by it
_ECHO_TIME_MS = 1.6
_FIRST_SERIES = 100
# From base to apex, in the patient's axes (left, back, head): to the left, the front and the feet.
_TO_APEX = (0.65, -0.62, -0.35)
_MITRAL_RING_MM = (25.0, -10.0, 20.0)


@dataclass(frozen=True)
class Frame:
    """Which image of a patient's stack this is.

    Args:
        slice_index: From 0 at the base.
        phase: From 1; the last one is end-diastole.
        phases: How many there are.
    """

    slice_index: int
    phase: int
    phases: int

    @property
    def number(self) -> int:
        """The image's number in the challenge's file names, from 1."""
        return self.slice_index * self.phases + self.phase


def series_number(patient: Patient) -> int:
    """Return the number of the patient's only series, which is in the images' file names."""
    return _FIRST_SERIES + patient.number


def encode(pixels: NDArray[np.uint16], patient: Patient, frame: Frame) -> bytes:
    """Return a DICOM file, explicit VR little endian; the same bytes for the same arguments.

    Args:
        pixels: Shape ``(rows, columns)``.
        patient: Who was scanned.
        frame: Where and when.
    """
    study = f"{patient.seed}/{patient.number}/{patient.slices}/{frame.phases}/{pixels.shape[0]}"
    dataset = Dataset()
    _identify(dataset, patient, frame, study)
    _describe_acquisition(dataset, patient, frame)
    _place(dataset, pixels.shape, patient, frame)
    _store(dataset, pixels)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = _uid("implementation")
    dataset.file_meta.ImplementationVersionName = "LVSEG_PHANTOM"
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _uid(name: str) -> UID:
    """Return the UID of a name, under the root for UUIDs (PS3.5, B.2): decimal, without leading zeros."""
    return UID(f"2.25.{uuid.uuid5(_ROOT, name).int}")


def _identify(dataset: Dataset, patient: Patient, frame: Frame, study: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = _uid(f"{study}/{frame.number}")
    dataset.StudyDate, dataset.StudyTime = _STUDY_DATE, "120000"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "MR"
    dataset.Manufacturer = "lvseg"
    dataset.ManufacturerModelName = "lvseg-phantom"
    dataset.SeriesDescription = "CINE SAX, synthetic"
    dataset.BodyPartExamined = "HEART"
    dataset.PatientName, dataset.PatientID = f"Phantom^{patient.number}", patient.name
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyInstanceUID = _uid(study)
    dataset.SeriesInstanceUID = _uid(f"{study}/series")
    dataset.FrameOfReferenceUID = _uid(f"{study}/frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.StudyID = str(patient.number)
    dataset.SeriesNumber = series_number(patient)
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = frame.number
    dataset.QualityControlImage = "YES"
    dataset.ImageComments = "Synthetic phantom: no patient was scanned"


def _describe_acquisition(dataset: Dataset, patient: Patient, frame: Frame) -> None:
    beat_ms = 60_000 / patient.heart_rate
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "SS"
    dataset.ScanOptions = "CG"
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = _decimal(2 * _ECHO_TIME_MS)
    dataset.EchoTime = _decimal(_ECHO_TIME_MS)
    dataset.EchoTrainLength = 1
    dataset.FlipAngle = "45"
    dataset.MagneticFieldStrength = "1.5"
    dataset.ImagedNucleus = "1H"
    dataset.InPlanePhaseEncodingDirection = "COL"
    dataset.PatientPosition = "HFS"
    dataset.TriggerTime = _decimal((frame.phase - 1) * beat_ms / frame.phases)
    dataset.NominalInterval = round(beat_ms)
    dataset.HeartRate = patient.heart_rate
    dataset.CardiacNumberOfImages = frame.phases


def _place(dataset: Dataset, shape: tuple[int, ...], patient: Patient, frame: Frame) -> None:
    """Set where the pixels are in the patient."""
    to_apex = np.array(_TO_APEX) / np.linalg.norm(_TO_APEX)
    across = np.cross((0.0, 0.0, -1.0), -to_apex)
    across /= np.linalg.norm(across)
    down = np.cross(-to_apex, across)
    cos, sin = np.cos(patient.turn), np.sin(patient.turn)
    along_row, along_column = cos * across - sin * down, sin * across + cos * down
    spacing = patient.field_of_view_mm / shape[0]
    z = patient.slice_mm(frame.slice_index)
    middle = np.array(_MITRAL_RING_MM) + z * to_apex
    first = middle - (shape[1] - 1) / 2 * spacing * along_row - (shape[0] - 1) / 2 * spacing * along_column
    dataset.PixelSpacing = [_decimal(spacing, 6)] * 2
    dataset.SliceThickness = _decimal(patient.slice_thickness_mm)
    dataset.SpacingBetweenSlices = _decimal(patient.slice_spacing_mm)
    dataset.ImagePositionPatient = [_decimal(value) for value in first]
    dataset.ImageOrientationPatient = [_decimal(value, 8) for value in (*along_row, *along_column)]
    dataset.SliceLocation = _decimal(z)


def _store(dataset: Dataset, pixels: NDArray[np.uint16]) -> None:
    rows, columns = pixels.shape
    low, high = np.percentile(pixels, (1.0, 99.0))
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS_STORED, BITS_STORED - 1
    dataset.PixelRepresentation = 0
    dataset.WindowCenter = _decimal((low + high) / 2)
    dataset.WindowWidth = _decimal(max(1.0, high - low))
    dataset.PixelData = pixels.astype("<u2").tobytes()


def _decimal(value: float, digits: int = 4) -> str:
    """Return a decimal string of at most 16 characters, as the value representation DS wants it."""
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
