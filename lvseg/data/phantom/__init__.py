"""Synthetic short-axis cine MR of the heart with exact contours, in the layout of the Sunnybrook data."""

from lvseg.data.phantom.writer import CONTOURS, IMAGES, LIMITS, SIGNATURE, PhantomPatient, write_phantoms

__all__ = ["CONTOURS", "IMAGES", "LIMITS", "SIGNATURE", "PhantomPatient", "write_phantoms"]
