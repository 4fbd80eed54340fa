"""The model card: what a bundle says of itself to people, written from what its manifest holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from lvseg_export.bundle import MANIFEST, PARITY, REFERENCE, Manifest
from lvseg_export.cross_validation import CrossValidation
from lvseg_export.parity import LARGEST_DICE_LOSS, LARGEST_DIFFERING_SHARE
from lvseg_export.results import Result, to_markdown


def model_card(manifest: Manifest, results: Sequence[Result], notes: str = "") -> str:
    """Return the Markdown of a bundle's README.md.

    Args:
        manifest: What the bundle holds.
        results: What its files were held to.
        notes: Markdown of those who trained it, for a section of its own.
    """
    model, training = manifest.model, manifest.training
    trained_on = f"{training['training_slices']} slices of {_patients(training['training_patients'])}"
    written = f"## Notes of those who trained it\n\n{notes.strip()}\n\n" if notes.strip() else ""
    return f"""# {model.name}, version {model.version}

Outlines the blood pool of the left ventricle on short-axis cardiac MR. Research use only: not a
medical device, and not to be used for diagnosis.

## Model

- Architecture: {model.architecture}, {", ".join(f"{name} {value}" for name, value in model.options.items())}.
- Input: one short-axis slice, MR pixel values as stored after the modality LUT, float32 (N, 1, H, W), resampled
  to square pixels of {manifest.input.working_spacing_mm} mm. Intensity normalisation is inside the graph.
- Output: mask uint8 (N, H, W), 1 = {manifest.labels[1]}; probability float32 (N, H, W). A slice's mask is its
  probability brought back to the slice's own grid, above 0.5; of several parts the one that speaks most for it.

## Training

- Trained by the recipe {training["options"]["recipe"]} on {trained_on}, split {training["split"]}.
{_validation(training)}
- Options, seeds and versions: `training` in `{MANIFEST}`.

## Agreement with the trained model

Against PyTorch in float32, on the working grid; the Dice with labels on the slices' own:

{to_markdown(results)}

{_limits()}{_ranges(manifest)}
{_not_examined(manifest)}`{PARITY}` holds these figures and more.
`{REFERENCE}` holds the phantom slices and PyTorch's answers, to which an engine is held when it is loaded.

{written}## Limits

Known to the authors of this file is what stands above and nothing else: slices of other scanners, sequences,
views and diseases than those trained on can fail without any sign of it. Look at the overlays.
"""


def _validation(training: Mapping[str, Any]) -> str:
    """Return the lines of what the model, or its recipe, was seen to be worth."""
    epochs, dice = training["options"]["epochs"], f"mean Dice {training['val_dice']:.4f}"
    if training["options"]["leave_none_out"]:
        lines = f"""- Every slice was trained on, for {epochs} epochs, and none is left to judge it by:
  {dice} on those very slices says nothing of others."""
    else:
        slices = (
            f"{training['validation_slices']} whole slices of {_patients(training['validation_patients'])}"
        )
        lines = f"""- Validated on {slices}: {dice}, pixel accuracy
  {training["val_accuracy"]:.4f} (epoch {training["best_epoch"]} of the {epochs} asked
  for, chosen on these slices, so a little flattering)."""
    crossed = training["cross_validation"]
    return lines if crossed is None else f"{lines}\n{_crossed(CrossValidation(**crossed))}"


def _crossed(crossed: CrossValidation) -> str:
    apd = "-" if crossed.apd_mm is None else f"{crossed.apd_mm:.2f}"
    lowest, highest = f"{crossed.lowest_patient_dice:.3f}", f"{crossed.highest_patient_dice:.3f}"
    return f"""- Each of {_patients(crossed.patients)} left out in turn of a training by the same recipe on the
  others, and judged by it after its last epoch, on {crossed.slices} whole slices, every contour counted:
  mean Dice {crossed.dice:.3f} (a patient's own mean {lowest} to {highest}), average perpendicular distance {apd} mm,
  {crossed.good_percent:.0f}% good contours (below 5 mm)."""


def _patients(count: int) -> str:
    return f"{count} patient{'s' * (count != 1)}"


def _not_examined(manifest: Manifest) -> str:
    files = [f"`{engine.file}`" for engine in manifest.engines if not engine.examined]
    if not files:
        return ""
    return f"Examined by nothing, since no engine that was there at export runs it: {', '.join(files)}.\n"


def _ranges(manifest: Manifest) -> str:
    int8 = any(file.precision == "int8" for file in manifest.engines)
    if not (int8 and manifest.training["options"]["leave_none_out"]):
        return ""
    return "\nint8 took its ranges from slices of the training, and the labelled slices here are those of the training."


def _limits() -> str:
    shares = (
        f"{precision} by {100 * share:g}% of the pixels"
        for precision, share in LARGEST_DIFFERING_SHARE.items()
    )
    losses = (f"{precision} by {loss:g} of mean Dice" for precision, loss in LARGEST_DICE_LOSS.items())
    return f"What may differ: {', '.join((*shares, *losses))}."
