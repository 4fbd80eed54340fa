"""Synthetic short-axis cine MR of the heart with exact contours, in the layout of the Sunnybrook data."""

from lvseg.data.phantom.writer import SIGNATURE, PhantomPatient, write_phantoms

__all__ = ["SIGNATURE", "PhantomPatient", "write_phantoms"]
