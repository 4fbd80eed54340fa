"""The model card: what a bundle says of itself to people, written from what its manifest holds."""

from lvseg_export.bundle import MANIFEST, REFERENCE, Manifest


def model_card(manifest: Manifest) -> str:
    """Return the Markdown of a bundle's README.md."""
    model, training = manifest.model, manifest.training
    trained_on = f"{training['training_slices']} slices of {_patients(training['training_patients'])}"
    validated_on = (
        f"{training['validation_slices']} whole slices of {_patients(training['validation_patients'])}"
    )
    engines = "\n".join(
        f"| `{engine.file}` | {engine.runtime} | {engine.precision} | {check} | {parity['slices']} | "
        f"{parity['differing_pixels']} of {parity['pixels']} | {parity['largest_probability_difference']:.1e} |"
        for engine in manifest.engines
        for check, parity in engine.parity.items()
    )
    return f"""# {model.name}, version {model.version}

Outlines the blood pool of the left ventricle on short-axis cardiac MR. Research use only: not a
medical device, and not to be used for diagnosis.

## Model

- Architecture: {model.architecture}, {", ".join(f"{name} {value}" for name, value in model.options.items())}.
- Input: one short-axis slice, MR pixel values as stored after the modality LUT, float32 (N, 1, H, W), resampled
  to square pixels of {manifest.input.working_spacing_mm} mm. Intensity normalisation is inside the graph.
- Output: mask uint8 (N, H, W), 1 = {manifest.labels[1]}; probability float32 (N, H, W). A slice's mask is its
  probability brought back to the slice's own grid, above 0.5.

## Training

- Trained on {trained_on}, split {training["split"]}.
- Validated on {validated_on}: mean Dice {training["val_dice"]:.4f}, pixel accuracy
  {training["val_accuracy"]:.4f} (epoch {training["best_epoch"]} of the {training["options"]["epochs"]} asked
  for, chosen on these slices, so a little flattering).
- Options, seeds and versions: `training` in `{MANIFEST}`.

## Agreement with the trained model

Against PyTorch in float32, mask pixels that differ:

| file | runtime | precision | slices from | slices | pixels that differ | largest difference in probability |
|---|---|---|---|---|---|---|
{engines}

`{REFERENCE}` holds the phantom slices and PyTorch's answers, to which an engine is held when it is loaded.

## Limits

Known to the authors of this file is what stands above and nothing else: slices of other scanners, sequences,
views and diseases than those trained on can fail without any sign of it. Look at the overlays.
"""


def _patients(count: int) -> str:
    return f"{count} patient{'s' * (count != 1)}"
