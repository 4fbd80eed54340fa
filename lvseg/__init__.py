"""Left-ventricle segmentation on cardiac MR: what a slice, a contour, a metric and a model are."""

__version__ = "0.1.0.dev0"
