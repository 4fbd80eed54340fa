"""The model that comes with lvseg, for whoever names no bundle. Research use only; its README.md is its model card."""

from pathlib import Path

from lvseg.cli import notice
from lvseg_export.bundle import Bundle, load_bundle

SHIPPED = Path(__file__).with_name("models") / "fcn8s-sunnybrook"
"""A bundle: FCN-8s by the default recipe, trained on the patients of the Sunnybrook data that its card names."""


def named_bundle(folder: Path | None) -> Bundle:
    """Load the bundle that a user named or, where none was named and saying so, the one that comes with lvseg.

    Raises:
        BundleError: If it is not a bundle, or not whole.
    """
    if folder is not None:
        return load_bundle(folder)
    bundle = load_bundle(SHIPPED)
    model, patients = bundle.manifest.model, bundle.manifest.training["training_patients"]
    notice(
        f"no bundle named: {model.name} {model.version}, which comes with lvseg; trained on {patients} patients, "
        "research use only"
    )
    return bundle
