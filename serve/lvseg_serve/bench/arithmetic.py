"""How much arithmetic a slice costs, as far as this installation can tell."""

from lvseg.cli import notice
from lvseg.errors import missing_extra
from lvseg_export.bundle import Bundle


def gflop_of_slice(bundle: Bundle, rows: int, columns: int) -> float | None:
    """Return the operations that a bundle's float32 graph does for one slice, in 10⁹.

    ``None`` where onnx, which reads the graph, is not installed, or the bundle holds no such graph: a server
    does without the library, and the figure does not depend on the machine.

    Args:
        bundle: A checked bundle.
        rows: Of the slice on the working grid.
        columns: Likewise.

    Raises:
        BundleError: If the graph's sizes cannot be derived.
    """
    float32 = [
        file.file for file in bundle.manifest.engines if (file.runtime, file.precision) == ("onnx", "fp32")
    ]
    if not float32:
        return None
    try:
        from lvseg_export.flops import flops_of_slice
    except ModuleNotFoundError as error:
        notice(f"GFLOP/s are not told: {missing_extra(error.name, 'export')}")
        return None
    return flops_of_slice(bundle.path(float32[0]), rows, columns) / 1e9
