"""Weights that were trained before: read from Caffe's, torchvision's and lvseg's own files, and written."""

from lvseg.models.pretrained.load import Pretrained, load_pretrained
from lvseg.models.pretrained.save import save_as_caffemodel

__all__ = ["Pretrained", "load_pretrained", "save_as_caffemodel"]
