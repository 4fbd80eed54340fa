"""How training windows vary: the numbers alone, which a run records."""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training windows vary. Every number is a limit; what happens within is drawn evenly."""

    window: int | None = 128
    """Side of the square window in pixels of the working grid; ``None``: whole slices, each in the
    middle of the smallest square that holds every one of them."""
    centred_share: float = 0.7
    """Share of the windows that lie around the ventricle. The rest lie anywhere: a network that only
    ever saw hearts finds one in every corner of a whole slice."""
    shift: float = 1 / 3
    """How far a window around the ventricle is off its centre, as a share of the window's side."""
    rotation_deg: float = 40.0
    any_turn_share: float = 0.4
    """Share of the windows turned by any angle: some stacks are planned with the feet to the left."""
    scale: float = 1.4
    """Between 1/scale and scale."""
    stretch: float = 1.12
    """Of each axis on its own, between 1/stretch and stretch."""
    elastic_mm: float = 3.0
    """Standard deviation of a smooth displacement."""
    cavity_share: float = 0.7
    """Share of the windows in which the cavity is deformed inside its wall."""
    cavity_smallest: float = 0.3
    """Radius of a deformed cavity, as a share of what it was; what it loses, the wall gains."""
    cavity_largest: float = 1.2
    muscles_share: float = 0.4
    """Share of the windows in which papillary muscles are painted into the cavity."""
    muscles: int = 3
    """The most that are painted."""
    muscle_mm: float = 7.0
    """Largest half axis of one."""
    gamma: float = 1.5
    """Exponent of the grey scale, between 1/gamma and gamma."""
    curve: float = 0.5
    """How uneven a random monotone grey-scale curve is: standard deviation of its slopes' logarithm."""
    shading: float = 0.6
    """Standard deviation of the logarithm of a smooth factor, as of a coil's sensitivity."""
    blur_mm: float = 1.0
    """Standard deviation of a Gaussian blur."""
    blurred_share: float = 0.3
    """Share of the windows that are blurred."""
    noise: float = 0.15
    """Standard deviation of Gaussian noise, in units of the slice's own deviation."""


NO_AUGMENTATION = Augmentation(
    window=None,
    rotation_deg=0.0,
    any_turn_share=0.0,
    scale=1.0,
    stretch=1.0,
    elastic_mm=0.0,
    cavity_share=0.0,
    muscles_share=0.0,
    gamma=1.0,
    curve=0.0,
    shading=0.0,
    blurred_share=0.0,
    noise=0.0,
)
"""Whole slices as they are."""

LIGHT_AUGMENTATION = replace(
    NO_AUGMENTATION,
    window=128,
    rotation_deg=30.0,
    scale=1.2,
    gamma=1.35,
    noise=0.1,
)
"""For a short training on patients who resemble those to come."""

AUGMENTATIONS: Mapping[str, Augmentation] = {
    "none": NO_AUGMENTATION,
    "light": LIGHT_AUGMENTATION,
    "full": Augmentation(),
}
