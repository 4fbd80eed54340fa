"""What names of files and folders tell: which image a label belongs to, and whose it is."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lvseg.data.files import distinct
from lvseg.data.labelled import Problem, Sample
from lvseg.data.layout import case_folder, case_name, case_order

S = TypeVar("S", bound=Sample)

_IMAGE_FOLDER = re.compile(r"(dicoms?|dcm|images?|img)(tr|ts)?", re.IGNORECASE)
_LABEL_FOLDER = re.compile(r"(labels?|masks?|segs?|segmentations?|gt)(tr|ts)?", re.IGNORECASE)
"""Such folders say what kind of file they hold and nothing else; nnU-Net's end in Tr and Ts."""
_LABEL_STEM = re.compile(r"[-_](gt|labels?|mask|seg|segmentation)$", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where a file lies: what a label and its image have in common."""

    folders: tuple[str, ...]
    """Below the folder that was named, from the outside in, without those that only say ``images`` or so."""
    stem: str
    """The name without endings such as ``.nii.gz`` and ``_gt``."""

    @classmethod
    def of(cls, path: Path, root: Path, endings: Iterable[str]) -> "Place":
        """Return the place of a file below ``root``; ``endings`` are taken off its name in turn."""
        folders = path.relative_to(root).parts[:-1]
        stem = path.name
        for ending in endings:
            stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
        return cls(_named(folders), stem)

    @property
    def without_label(self) -> "Place":
        """The same without an ending of the stem that says ``label``."""
        return Place(self.folders, _LABEL_STEM.sub("", self.stem))


def says_label(path: Path, root: Path, place: Place) -> bool:
    """Tell a label's file by its name (``_gt``) or by a folder's (``labelsTr``), ``root`` included."""
    folders = (root.absolute().name, *path.relative_to(root).parts[:-1])
    return _LABEL_STEM.search(place.stem) is not None or any(
        _LABEL_FOLDER.fullmatch(folder) for folder in folders
    )


def _named(folders: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that say more than what kind of file they hold."""
    return tuple(
        folder
        for folder in folders
        if not (_IMAGE_FOLDER.fullmatch(folder) or _LABEL_FOLDER.fullmatch(folder))
    )


class Images:
    """Images by their place."""

    def __init__(self, places: Iterable[tuple[Path, Place]]) -> None:
        self._by_stem: defaultdict[str, list[tuple[Path, Place]]] = defaultdict(list)
        for path, place in places:
            self._by_stem[place.stem.lower()].append((path, place))

    def of(self, label: Place, *stems: str) -> list[Path]:
        """Return the images of a label, without copies of one: one if all is well.

        An image has one of the ``stems`` (the label's own, if none is given), and its folders end as the
        label's do, or the other way round: ``A/x`` belongs to ``x``, ``study/A/x`` and ``A/x``, not to
        ``B/x``. Those in the same folders are preferred, then those with the most in common.
        """
        found = [image for stem in stems or (label.stem,) for image in self._by_stem.get(stem.lower(), ())]
        ranks = [
            (place.folders == label.folders, min(len(place.folders), len(label.folders)))
            for _, place in found
            if _ends_alike(place.folders, label.folders)
        ]
        fitting = [path for path, place in found if _ends_alike(place.folders, label.folders)]
        return distinct(path for path, rank in zip(fitting, ranks, strict=True) if rank == max(ranks))


def _ends_alike(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    shared = min(len(first), len(second))
    return first[len(first) - shared :] == second[len(second) - shared :]


def patient_and_name(path: Path, root: Path, place: Place) -> tuple[str, str]:
    """Return whose image it is, and a name for it that starts with that.

    The patient is the nearest folder that is named as Sunnybrook names its cases, or else the first folder
    below ``root``, or else ``root`` itself: never what the file says, for that may be a person's name.
    """
    case = case_folder(path)
    if case is not None:
        above = len(case.parts) - len(root.absolute().parts)
        inner = list(_named(path.relative_to(root).parts[max(0, above) : -1]))
        patient = case_name(case.name)
    elif place.folders:
        patient, *inner = place.folders
    else:
        patient, inner = root.absolute().name, []
    return patient, "/".join((patient, *inner, place.stem))


def number_of(stem: str) -> int:
    """Return the last number in a stem, 0 where there is none."""
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1]) if numbers else 0


def settle(samples: Iterable[S]) -> tuple[tuple[S, ...], list[Problem]]:
    """Return samples in order, each name once, and a problem for each name that several claim."""
    named: defaultdict[str, list[S]] = defaultdict(list)
    for sample in samples:
        named[sample.name].append(sample)
    settled: list[S] = []
    problems: list[Problem] = []
    for rivals in named.values():
        labels = distinct({rival.label for rival in rivals})
        images = distinct({rival.image for rival in rivals})
        copies = len({rival.label for rival in rivals}) == len(rivals)
        if len(images) == len(labels) == 1 and copies:
            settled.append(rivals[0])
        elif len(images) > 1:
            problems.append(two_images(labels[0], images))
        else:
            others = " and ".join(map(str, labels)) if len(labels) > 1 else "all of them in this file"
            problems.append(
                Problem(
                    labels[0],
                    "TWO_LABELS",
                    f"{labels[0]}: {len(rivals)} labels of one image, keep one: {others}",
                )
            )
    settled.sort(key=lambda sample: (*case_order(sample.patient), sample.number, sample.name))
    return tuple(settled), problems


def no_image(label: Path, expected: str, folder: Path) -> Problem:
    """Return the problem of a label without an image."""
    return Problem(label, "NO_IMAGE", f"{label}: no image {expected} below {folder}")


def two_images(label: Path, found: Iterable[Path]) -> Problem:
    """Return the problem of a label that may belong to several images."""
    named = " and ".join(map(str, found))
    return Problem(label, "TWO_IMAGES", f"{label}: different images match, keep one: {named}")
