"""How training windows vary: the numbers alone, which a run records."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training windows vary. Every number is a limit; what happens within is drawn evenly."""

    window: int = 160
    """Side of the square window in pixels of the working grid."""
    centred_share: float = 0.7
    """Share of the windows that lie around the ventricle. The rest lie anywhere: a network that only
    ever saw hearts finds one in every corner of a whole slice."""
    shift: float = 1 / 3
    """How far a window around the ventricle is off its centre, as a share of the window's side."""
    rotation_deg: float = 30.0
    scale: float = 1.2
    """Between 1/scale and scale."""
    gamma: float = 1.35
    """Exponent of the grey scale, between 1/gamma and gamma."""
    noise: float = 0.1
    """Standard deviation of Gaussian noise, in units of the slice's own deviation."""
