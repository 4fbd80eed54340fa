"""The parts of :mod:`lvseg.dicom`, from the bytes of a file to the numbers of a slice."""
