"""One plane of the body, with all that its painters need."""

from dataclasses import dataclass

from lvseg.data.phantom.fields import Array
from lvseg.data.phantom.patient import FRONT


@dataclass(frozen=True, eq=False)
class Plane:
    """Coordinates and random detail of one plane; arrays of one shape, that of the image's cells."""

    x: Array
    """mm from the heart's axis towards the back of the left side, already bent at random."""
    y: Array
    """mm from the heart's axis towards the feet, bent likewise."""
    z: float
    """mm from the mitral ring towards the apex."""
    towards_apex: float
    """0 at the mitral ring, 1 at the apex."""
    edge: float
    """How wide edges are, mm."""
    fine: Array
    """Detail of 3 mm."""
    twigs: Array
    """Detail of 3 mm, independent, and different in every slice."""
    veins: Array
    """Detail of 1 cm."""
    coarse: Array
    """Detail of some cm."""

    @property
    def along(self) -> Array:
        """Distance along the front of the chest from where it is nearest to the heart, upwards, mm."""
        return self.y * FRONT[0] - self.x * FRONT[1]
