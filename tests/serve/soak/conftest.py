"""A server of its own process under load, and what its processes take."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lvseg_serve.processes import descendants

SECONDS = float(os.environ.get("LVSEG_SOAK_S", "60"))
"""How long each of the tests that go on for a while does so."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("soak")


class Numbered:
    """Slices of which each has an area of its own, so that an answer tells which slice it is for."""

    def __init__(self, make_dicom: Callable[..., bytes], count: int = 32) -> None:
        self.dicoms: list[bytes] = []
        for number in range(count):
            pixels = np.full((64, 72), 100)
            pixels[20:30, 30 : 31 + number] = 1000
            self.dicoms.append(make_dicom(pixels))

    def area_mm2(self, number: int) -> float:
        """Ten rows of ``number + 1`` columns, pixels of 1.5 mm."""
        return 10 * (number + 1) * 1.5**2


@pytest.fixture
def numbered(make_dicom: Callable[..., bytes]) -> Numbered:
    return Numbered(make_dicom)


def family(pid: int) -> list[int]:
    """Return a process and all below it; without those that end meanwhile."""
    return [pid, *descendants(pid)]


def memory_mib(pid: int) -> float:
    """Return what a process and all below it have for themselves: memory of no file, shared pages counted once."""

    def own_kib(member: int) -> int:
        listed = Path(f"/proc/{member}/smaps_rollup").read_text()
        return sum(map(int, re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+)", listed, re.MULTILINE)))

    return sum(own_kib(member) for member in family(pid)) / 1024
