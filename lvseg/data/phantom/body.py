"""The body around the heart, in any short-axis plane.

The plane is oblique: the front of the chest runs from the left of the image up to its upper right, the
back of the ribs down its right side; the right ventricle leans against the front, and the left one rests
on the diaphragm, below which lies the abdomen. Towards the apex the chest's wall and the diaphragm close
in on the heart.
"""

import numpy as np

from lvseg.data.phantom.abdomen import Abdomen
from lvseg.data.phantom.chest import Chest
from lvseg.data.phantom.fields import Array, Grid, SmoothField, soft_minimum, turned
from lvseg.data.phantom.heart import profile
from lvseg.data.phantom.patient import FRONT, Patient
from lvseg.data.phantom.plane import Plane

_EDGE_MM = 2.6  # organs cross a thick slice at a slant: none has an edge sharper than this


class Body:
    """One patient's body; made once for all slices."""

    def __init__(self, patient: Patient) -> None:
        rng = patient.generator("body")
        self._patient = patient

        def field(scale_mm: float, across_mm: float) -> SmoothField:
            return SmoothField.draw(
                rng,
                side_mm=patient.field_of_view_mm,
                depth_mm=patient.depth_mm,
                scale_mm=scale_mm,
                across_mm=across_mm,
            )

        self._bends = field(45.0, 70.0), field(45.0, 70.0)
        self._ripples = field(13.0, 25.0), field(13.0, 25.0)
        self._fine, self._twigs = field(3.2, 14.0), field(2.6, 7.0)
        self._veins, self._coarse = field(9.0, 16.0), field(24.0, 40.0)
        self._back = (rng.uniform(0.05, 0.45), rng.uniform(135.0, 180.0))
        self._belly = (rng.uniform(-0.2, 0.15), rng.uniform(132.0, 165.0))
        self._floor_mm = patient.heart.outer_radius_mm + rng.uniform(6.0, 10.0)
        self._chest = Chest(patient, rng)
        self._abdomen = Abdomen(rng)

    def paint(self, grid: Grid, z: float) -> tuple[Array, Array]:
        """Return the signal of a plane without the heart, and the depth inside the chest in mm.

        Args:
            grid: Cells of the image; both arrays have its shape.
            z: The plane: mm from the mitral ring towards the apex.
        """
        plane = self._plane(grid, z)
        depth = self._depth(plane)
        above = self._diaphragm(plane) - plane.y
        signal = np.zeros(grid.shape)
        cavity = self._chest.paint(signal, plane, depth, above)
        self._abdomen.paint(signal, plane, np.minimum(-above, cavity + 3.0))
        return signal, np.minimum(cavity, above)

    def _plane(self, grid: Grid, z: float) -> Plane:
        bend, ripple = ([field.at(grid, z) for field in pair] for pair in (self._bends, self._ripples))
        centre = self._patient.centre_mm
        x, y = turned(grid.x - centre[0], grid.y - centre[1], self._patient.turn)
        return Plane(
            x=x + 4.5 * bend[0] + 0.9 * ripple[0],
            y=y + 4.5 * bend[1] + 0.9 * ripple[1],
            z=z,
            towards_apex=z / self._patient.heart.length_mm,
            edge=max(grid.step, _EDGE_MM),
            fine=self._fine.at(grid, z),
            twigs=self._twigs.at(grid, z),
            veins=self._veins.at(grid, z),
            coarse=self._coarse.at(grid, z),
        )

    def _depth(self, plane: Plane) -> Array:
        """Return the depth below the skin in mm: front, back and belly, with rounded corners."""
        patient = self._patient
        closer = 0.6 * patient.heart.outer_radius_mm * (1.0 - profile(plane.towards_apex))
        front = patient.front_mm - closer - (plane.x * FRONT[0] + plane.y * FRONT[1])
        front = front - plane.along**2 / (2 * 330.0)  # the chest is round
        lean, away = self._back
        back = (away - 5.0 * plane.towards_apex) * patient.size
        back = back - (plane.x * np.cos(lean) + plane.y * np.sin(lean))
        lean, away = self._belly
        belly = (away - 40.0 * plane.towards_apex) * patient.size
        belly = belly + (plane.x * np.cos(lean) + plane.y * np.sin(lean))
        return soft_minimum(soft_minimum(front, back, 45.0), belly, 60.0)

    def _diaphragm(self, plane: Plane) -> Array:
        """Return the height (y) of the diaphragm: domes of liver and stomach beside a dip under the heart."""
        closer = 0.8 * self._patient.heart.outer_radius_mm * (1.0 - profile(plane.towards_apex))
        right = 5.0 * np.exp(-(((plane.x + 58.0) / 30.0) ** 2))
        left = 8.0 * np.exp(-(((plane.x - 55.0) / 26.0) ** 2))
        sides: Array = 0.0016 * (plane.x + 12.0) ** 2
        return self._floor_mm - closer + sides - right - left
