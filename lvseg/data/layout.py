"""The two layouts of the Sunnybrook Cardiac Data, as far as names of files and folders go.

The challenge of 2009::

    <anywhere>/SC-HF-I-1/IM-<series>-<number>.dcm
    <anywhere>/SC-HF-I-1/contours-manual/IRCCI-expert/IM-0001-<number>-icontour-manual.txt

The Cardiac Atlas Project, which names the folders of images by another identifier and has a table from
that to the case::

    SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-<number>.dcm
    SCD_ManualContours/SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-<number>-icontour-manual.txt
    scd_patientdata.csv

In both, a contour belongs to the image of the same case and number. The series in a contour's name says
nothing: it is always 0001.
"""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvseg.errors import DatasetError

PATIENT_TABLE = "scd_patientdata.csv"

_EXPERT_FOLDER = "contours-manual"
_SUNNYBROOK_CASE = re.compile(r"SC(?:-[A-Z]+)+-\d+")
_ATLAS_PATIENT = re.compile(r"SCD\d+")
_LEADING_ZEROS = re.compile(r"(?<=-)0+(?=\d+$)")
_CONTOUR = re.compile(r"IM-\d+-(?P<number>\d+)-(?P<kind>[io])contour-manual\.txt", re.IGNORECASE)
_IMAGE = re.compile(r"IM-(?P<series>\d+)-(?P<number>\d+)(?:\.dcm)?", re.IGNORECASE)


def case_name(name: str) -> str:
    """Return the one way to write a case: ``SC-HF-I-01`` and ``sc-hf-i-1`` give ``SC-HF-I-1``."""
    return _LEADING_ZEROS.sub("", name.strip().upper())


def case_order(case: str) -> tuple[str, int]:
    """Return a key that sorts normalised cases as people do: ``SC-N-9`` before ``SC-N-10``."""
    group, _, number = case.rpartition("-")
    return (group, int(number)) if number.isdigit() else (case, 0)


@dataclass(frozen=True)
class ContourFile:
    """A file with an expert's contour."""

    path: Path
    case: str | None
    """``None`` where no folder above the file tells."""
    number: int
    kind: str
    """``"i"``: endocardium, the label; ``"o"``: epicardium."""


@dataclass(frozen=True)
class ImageFile:
    """A file with an image of a known case."""

    path: Path
    case: str
    number: int
    series: tuple[Path, int]
    """The folder, and the series in the file's name: both tell series apart."""


def contour_files(files: Iterable[Path]) -> list[ContourFile]:
    """Return the i- and o-contours among ``files``; p-contours (papillary muscles) are no labels."""
    return [
        ContourFile(path, _case_of_contour(path), int(match["number"]), match["kind"].lower())
        for path in files
        if (match := _CONTOUR.fullmatch(path.name))
    ]


def _case_of_contour(path: Path) -> str | None:
    """Return the case whose ``contours-manual`` holds the file, else the nearest folder of such a name."""
    folders = path.absolute().parents
    for folder in folders:
        if folder.name.lower() == _EXPERT_FOLDER:
            return case_name(folder.parent.name) or None
    named = case_folder(path)
    return case_name(named.name) if named else None


def case_folder(path: Path) -> Path | None:
    """Return the nearest folder above a file, however far up, that is named as Sunnybrook names its cases."""
    folders = path.absolute().parents
    return next((folder for folder in folders if _SUNNYBROOK_CASE.fullmatch(case_name(folder.name))), None)


def image_files(files: Iterable[Path], cases: Collection[str], table: Mapping[str, str]) -> list[ImageFile]:
    """Return the images among ``files`` that belong to one of ``cases``.

    Args:
        files: Files of any kind.
        cases: Normalised names of the cases of interest.
        table: From the Cardiac Atlas Project's PatientID to the normalised case.
    """
    found = []
    case_of_folder: dict[Path, str | None] = {}
    for path in files:
        match = _IMAGE.fullmatch(path.name)
        if match is None:
            continue
        folder = path.parent
        if folder not in case_of_folder:
            case_of_folder[folder] = _known_case(folder, cases, table)
        case = case_of_folder[folder]
        if case is not None:
            found.append(ImageFile(path, case, int(match["number"]), (folder, int(match["series"]))))
    return found


def _known_case(folder: Path, cases: Collection[str], table: Mapping[str, str]) -> str | None:
    """Return the case of the nearest folder, upwards, that is named after a case or a patient."""
    absolute = folder.absolute()
    for written in (absolute.name, *(parent.name for parent in absolute.parents)):
        name = case_name(written)
        case = table.get(name, name)
        if case in cases:
            return case
        if _SUNNYBROOK_CASE.fullmatch(case) or _ATLAS_PATIENT.fullmatch(case):
            return None  # somebody else's images, whatever the folders above are called
    return None


def patient_table(roots: Iterable[Path], files: Iterable[Path]) -> dict[str, str]:
    """Read the Cardiac Atlas Project's table, if there is one among ``files`` or in a folder above ``roots``.

    Returns:
        From PatientID (upper case) to normalised case; empty where there is no table, as in the
        challenge's layout.

    Raises:
        DatasetError: If a table lacks a column, or gives one patient two cases.
    """
    above = (parent / PATIENT_TABLE for root in roots for parent in root.absolute().parents)
    tables = dict.fromkeys(
        path.resolve()
        for path in (*(file for file in files if file.name.lower() == PATIENT_TABLE), *above)
        if path.is_file()
    )
    case_of_patient: dict[str, str] = {}
    for path in tables:
        for patient, case in _read_table(path):
            if case_of_patient.setdefault(patient, case) != case:
                raise DatasetError(
                    f"{path}: {patient} is {case}, but was {case_of_patient[patient]}; keep one row of it",
                    reason="BAD_PATIENT_TABLE",
                    field="PatientID",
                )
    return case_of_patient


def _read_table(path: Path) -> Iterator[tuple[str, str]]:
    # The identifiers are ASCII; the other columns may be in any encoding, and are not used.
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        missing = {"PatientID", "OriginalID"} - set(reader.fieldnames or ())
        if missing:
            raise DatasetError(
                f"{path} has no column {' and no column '.join(sorted(missing))}; expected the table of the "
                "Cardiac Atlas Project, from PatientID to OriginalID",
                reason="BAD_PATIENT_TABLE",
                field=min(missing),
                expected="the columns PatientID and OriginalID",
            )
        for row in reader:
            patient, case = ((row[column] or "").strip() for column in ("PatientID", "OriginalID"))
            if patient and case:
                yield case_name(patient), case_name(case)
