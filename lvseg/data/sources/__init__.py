"""Labels as people have them, each kind through a reader of its own."""

from lvseg.data.sources.formats import LABEL_FORMATS, Source, index_labels, load_labelled

__all__ = ["LABEL_FORMATS", "Source", "index_labels", "load_labelled"]
