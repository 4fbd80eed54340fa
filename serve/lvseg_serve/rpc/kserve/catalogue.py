"""The models that are offered, by name and version."""

from collections.abc import Iterator

from lvseg.errors import UnknownModelError
from lvseg_serve.rpc.kserve.pixels import PixelsModel
from lvseg_serve.rpc.kserve.slices import DicomModel
from lvseg_serve.rpc.kserve.spec import VERSION, Model
from lvseg_serve.segmenter import Segmenter


class Catalogue:
    """The bundle's model under its own name for tensors, and as ``NAME-dicom`` for DICOM files."""

    def __init__(self, name: str, segmenter: Segmenter) -> None:
        models: tuple[Model, ...] = (
            PixelsModel(name, segmenter),
            DicomModel(f"{name}-dicom", segmenter),
        )
        self._models = {model.name: model for model in models}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def find(self, name: str, version: str) -> Model:
        """Return the model of a name; an empty version takes the one that there is.

        Raises:
            UnknownModelError: If there is no such model, or not in that version.
        """
        model = self._models.get(name)
        if model is None:
            offered = ", ".join(self._models)
            raise UnknownModelError(
                f"this model is not served here, expected one of {offered}; ask for one of them",
                reason="UNKNOWN_MODEL",
                field="model_name",
                expected=offered,
            )
        if version not in ("", VERSION):
            raise UnknownModelError(
                f"model {model.name!r} is not served in this version, expected {VERSION!r}; ask for that or for none",
                reason="UNKNOWN_VERSION",
                field="model_version",
                expected=VERSION,
            )
        return model
