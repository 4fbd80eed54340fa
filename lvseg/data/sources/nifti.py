"""NIfTI volumes with label volumes beside them, as ACDC, nnU-Net and the Medical Segmentation Decathlon have them.

A volume's slices are its planes along the third axis, the short-axis stack's. Of a plane ``volume[:, :, k]`` the
first axis runs along the rows of the slice and the second down its columns. Where the header says how the volume
lies in the patient, two things are set right, for image and label alike: a plane that converters such as
dcm2niix have mirrored is seen from the apex again, as scanners write them, and of the two ways to turn it the one
is taken whose rows run to the patient's left and back and whose columns run to the back and feet.
"""

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvseg.data.files import files_below
from lvseg.data.labelled import Index, LabelledImage, Problem
from lvseg.data.sources.places import Images, Place, no_image, says_label, settle, two_images
from lvseg.data.sources.values import (
    check_label,
    inside,
    other_shape,
    other_than_0,
    whole_numbers,
    with_mask,
)
from lvseg.dicom import Orientation, Position, Slice
from lvseg.errors import DatasetError, LabelError, OptionError

_ENDINGS = (".gz", ".nii")
_FIRST_CHANNEL = "_0000"
_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
_MS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}


@dataclass(frozen=True)
class VolumeSlice:
    """A plane of an image volume and the same plane of its label volume, not yet read."""

    patient: str
    """The file's name up to the first part with a number, parts ending at ``_``: ``patient001`` of
    ``patient001_frame01.nii.gz``, ``la_007`` of ``la_007.nii.gz``; of a name without a number the first folder."""
    name: str
    """Patient, the rest of the file's name and the plane, such as ``patient001/frame01-s05``; in a volume with
    several phases the phase too: ``-t12``."""
    number: int
    """The plane, from 1 (of the next phase, above that)."""
    image: Path
    label: Path
    plane: int
    """From 0."""
    phase: int
    """From 0."""
    value: int | None
    """Of the ventricle's pixels; ``None`` stands for all that are not 0."""
    epicardium: None = None

    def load(self) -> LabelledImage:
        """Decode image and label.

        Raises:
            LabelError: If a file cannot be read, or the two do not fit each other.
        """
        image, label = _volume(self.image), _volume(self.label)
        if image.shape != label.shape:
            raise other_shape(self.label, label.shape, image.shape)
        values = whole_numbers(image.oriented(label.values(self.plane, self.phase)), self.label)
        return with_mask(self, image.slice(self.plane, self.phase), inside(values, self.value))


def index_nifti(images: Path, labels: Path, *, label: int | None) -> Index[VolumeSlice]:
    """Pair every label volume below ``labels`` with its image; a :class:`lvseg.data.sources.Source`.

    A label is known by its name (``X_gt.nii.gz`` of the image ``X.nii.gz``) or its folder (``labelsTr``); in a
    folder without such, that is not the images' own, every volume is one. Its image has the same name, perhaps
    with nnU-Net's ``_0000``, the first channel.
    """
    _nibabel()
    image_tree = _volumes(images, "--images")
    label_tree = _volumes(labels, "--contours") if labels != images else image_tree
    drawn = {path: place for path, place in label_tree.items() if says_label(path, labels, place)}
    if not drawn and labels != images:
        drawn = label_tree
    if not drawn:
        raise DatasetError(
            f"{labels} holds no NIfTI labels; expected files named <image>_gt.nii.gz, or a folder labelsTr",
            reason="NO_LABELS",
            field="--contours",
        )
    pictures = {path: place for path, place in image_tree.items() if path not in drawn}
    if not pictures:
        raise DatasetError(
            f"{images} holds no NIfTI images beside the labels", reason="NO_IMAGES", field="--images"
        )
    known = Images(pictures.items())
    samples: list[VolumeSlice] = []
    problems: list[Problem] = []
    values: dict[Path, frozenset[int]] = {}
    planes = 0
    for path, place in drawn.items():
        wanted = place.without_label
        found = known.of(wanted, wanted.stem, wanted.stem + _FIRST_CHANNEL)
        if len(found) != 1:
            expected = f"{wanted.stem}.nii.gz or {wanted.stem}{_FIRST_CHANNEL}.nii.gz"
            problems.append(two_images(path, found) if found else no_image(path, expected, images))
            continue
        try:
            marked = _marked(found[0], path)
        except LabelError as error:
            problems.append(Problem(path, error.reason, str(error)))
            continue
        values[path] = frozenset[int]().union(*marked.values())
        planes += len(marked)
        samples += (
            _sample(wanted, found[0], path, plane, phase, label)
            for (plane, phase), present in marked.items()
            if (present if label is None else label in present)
        )
    check_label(values, label)
    settled, rivals = settle(samples)
    return Index(settled, (*problems, *rivals), planes - len(samples))


def _volumes(folder: Path, option: str) -> dict[Path, Place]:
    return {
        path: Place.of(path, folder, _ENDINGS)
        for path in files_below(folder, option)
        if path.name.lower().endswith((".nii", ".nii.gz"))
    }


def _marked(image: Path, label: Path) -> dict[tuple[int, int], frozenset[int]]:
    """Return the values other than 0 of every plane and phase of a label, after a look at the image's header."""
    volume, shape = _volume(label), _volume(image).shape
    if volume.shape != shape:
        raise other_shape(label, volume.shape, shape)
    return {
        (plane, phase): other_than_0(whole_numbers(volume.values(plane, phase), label))
        for phase in range(shape[3])
        for plane in range(shape[2])
    }


def _patient(place: Place) -> tuple[str, str]:
    """Return whose volume it is, and what else its name says; the first folder tells where no number does."""
    parts = place.stem.split("_")
    end = next((index for index, part in enumerate(parts, 1) if re.search(r"\d", part)), None)
    if end is None and place.folders:
        return place.folders[0], place.stem
    return "_".join(parts[:end]), "_".join(parts[end or len(parts) :])


def _sample(place: Place, image: Path, label: Path, plane: int, phase: int, value: int | None) -> VolumeSlice:
    patient, rest = _patient(place)
    volume = _volume(image)
    name = f"{patient}/{rest}{'-' if rest else ''}s{plane + 1:02d}"
    name += f"-t{phase + 1:02d}" if volume.shape[3] > 1 else ""
    return VolumeSlice(patient, name, phase * volume.shape[2] + plane + 1, image, label, plane, phase, value)


class _Volume:
    """A NIfTI file; its voxels are read when they are first asked for, and stay with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        nibabel = _nibabel()
        try:
            self._file: Any = nibabel.load(path)
            if not isinstance(self._file, nibabel.Nifti1Pair):
                raise ValueError("another format")
            header = self._file.header
            shape = tuple(map(int, self._file.shape))
            space, time = header.get_xyzt_units()
            zooms = [float(zoom) for zoom in header.get_zooms()]
        except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, KeyError) as error:
            raise _unreadable(path) from error
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if not 2 <= len(shape) <= 4 or 0 in shape:
            raise LabelError(
                f"{path}: {' x '.join(map(str, shape))} voxels, expected a stack of slices, or one for each phase",
                reason="OTHER_SHAPE",
                field="label",
            )
        self.shape: tuple[int, ...] = (*shape, 1, 1)[:4]
        """Columns, rows, slices, phases."""
        spacing = [zoom * _MM.get(space, 1.0) for zoom in (*zooms[:3], 0.0)[:3]]
        if not all(np.isfinite(value) and value > 0 for value in spacing[:2]):
            raise LabelError(
                f"{path}: pixdim is wrong; expected positive numbers, the mm between voxels",
                reason="INVALID_PIXEL_SPACING",
                field="pixdim",
            )
        self._spacing = spacing
        self._phase_ms = zooms[3] * _MS[time] if len(zooms) > 3 and time in _MS else None
        self._voxels: NDArray[Any] | None = None
        self._to_patient = self._placement()
        self._mirrored, self._turned = self._corrections()

    def values(self, plane: int, phase: int) -> NDArray[Any]:
        """Return a plane's values, scaled as the header says, first axis along the rows."""
        stored, proxy = self._stored()[:, :, plane, phase], self._file.dataobj
        plain = (proxy.slope, proxy.inter) == (1, 0)
        values: NDArray[Any] = stored if plain else stored.astype(np.float64) * proxy.slope + proxy.inter
        return values

    def _stored(self) -> NDArray[Any]:
        if self._voxels is None:
            try:
                voxels = np.asanyarray(self._file.dataobj.get_unscaled())
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise _unreadable(self._path) from error
            if voxels.dtype.kind not in "buif":
                raise LabelError(
                    f"{self._path}: voxels of the type {voxels.dtype}, expected one number each",
                    reason="UNSUPPORTED_PIXEL_FORMAT",
                    field="datatype",
                )
            self._voxels = voxels.reshape(self.shape, order="F")
        return self._voxels

    def oriented(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return a plane of this volume's grid as (rows, columns), the right way round."""
        rows = plane.T[::-1] if self._mirrored else plane.T
        return np.ascontiguousarray(rows[::-1, ::-1] if self._turned else rows)

    def slice(self, plane: int, phase: int) -> Slice:
        """Return a plane as a slice."""
        values = self.oriented(self.values(plane, phase))
        if not np.isfinite(values).all():
            raise LabelError(
                f"{self._path}: holds values that are infinite or no numbers, expected finite ones",
                reason="NOT_FINITE",
                field="label",
            )
        position, orientation = self._position(plane)
        return Slice(
            pixels=values.astype(np.float32),
            pixel_spacing=(self._spacing[1], self._spacing[0]),
            position_mm=position,
            orientation=orientation,
            slice_spacing_mm=self._spacing[2] if self._spacing[2] > 0 else None,
            trigger_time_ms=None if self._phase_ms is None else phase * self._phase_ms,
            instance_number=None,
            frame=plane + 1,
            sop_instance_uid="",
            series_instance_uid="",
            study_instance_uid="",
            frame_of_reference_uid="",
        )

    def _placement(self) -> NDArray[np.float64] | None:
        """Return the matrix (4, 4) from voxel to mm in DICOM's patient coordinates, where the header has one."""
        header = self._file.header
        if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
            return None
        affine = np.diag((-1.0, -1.0, 1.0, 1.0)) @ np.asarray(self._file.affine, dtype=np.float64)
        if not (np.isfinite(affine).all() and (np.linalg.norm(affine[:3, :2], axis=0) > 0).all()):
            return None
        return affine

    def _corrections(self) -> tuple[bool, bool]:
        """Return whether the rows are to be put in reverse order, and after that whether to turn by 180 degrees."""
        if self._to_patient is None:
            return False, False
        along, down = (axis / np.linalg.norm(axis) for axis in self._to_patient[:3, :2].T)
        # Away from a viewer who sees the heart from the apex is towards the right, back and head.
        mirrored = bool(np.cross(along, down) @ (-1.0, 1.0, 1.0) < 0)
        down = -down if mirrored else down
        return mirrored, bool(along @ (1.0, 1.0, 0.0) + down @ (0.0, 1.0, -1.0) < 0)

    def _position(self, plane: int) -> tuple[Position | None, Orientation | None]:
        if self._to_patient is None:
            return None, None
        columns, rows = self.shape[:2]
        along, down = (axis / np.linalg.norm(axis) for axis in self._to_patient[:3, :2].T)
        from_right, from_below = self._turned, self._mirrored != self._turned
        first = (columns - 1 if from_right else 0, rows - 1 if from_below else 0, plane, 1)
        x, y, z = (float(value) for value in (self._to_patient @ first)[:3])
        cosines = [
            float(value) for value in (*(-along if from_right else along), *(-down if from_below else down))
        ]
        return (x, y, z), (cosines[0], cosines[1], cosines[2], cosines[3], cosines[4], cosines[5])


def _volume(path: Path) -> _Volume:
    return _last_volumes(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _last_volumes(path: Path, _changed_ns: int) -> _Volume:
    """Keep an image and its label in memory, for their slices come one after the other."""
    return _Volume(path)


def _nibabel() -> Any:
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise OptionError(
            "nibabel, which reads NIfTI, is not installed; run: pip install 'lvseg[train]'",
            reason="MISSING_PACKAGE",
            field="--label-format",
        ) from error
    return nibabel


def _unreadable(path: Path) -> LabelError:
    return LabelError(
        f"{path}: cannot be read as NIfTI, expected a whole .nii or .nii.gz file",
        reason="NOT_NIFTI",
        field="label",
    )
