"""NVIDIA Triton with its own Python backend, as the wheel of nvidia-pytriton brings it, around the same work."""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from pytriton.utils.distribution import get_libs_path, get_root_module_path, get_stub_path

CONFIGURATION = """
name: "segmentation"
backend: "python"
max_batch_size: 16
input [{{ name: "dicom", data_type: TYPE_STRING, dims: [1] }}]
output [
  {{ name: "mask_png", data_type: TYPE_STRING, dims: [1] }},
  {{ name: "contour", data_type: TYPE_FP64, dims: [-1, 2] }},
  {{ name: "area_mm2", data_type: TYPE_FP64, dims: [1] }}
]
instance_group [{{ kind: KIND_CPU, count: {workers} }}]
dynamic_batching {{ }}
"""


def main() -> None:
    """Write a model repository and become Triton."""
    server = get_root_module_path() / "tritonserver"
    folder = Path(tempfile.mkdtemp(prefix="triton-"))
    shutil.copytree(server / "backends", folder / "backends")
    version = "{}.{}".format(*sys.version_info)
    shutil.copy(get_stub_path(version), folder / "backends" / "python")
    model = folder / "models" / "segmentation"
    (model / "1").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("triton_model.py"), model / "1" / "model.py")
    (model / "config.pbtxt").write_text(CONFIGURATION.format(workers=os.environ["WORKERS"]))
    # The stub shall find this interpreter and its packages, not the system's.
    os.environ["LD_LIBRARY_PATH"] = f"{sysconfig.get_config_var('LIBDIR')}:{get_libs_path()}"
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={model.parent}",
        f"--backend-directory={folder / 'backends'}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={os.environ['PORT']}",
        "--allow-http=false",
        "--allow-metrics=false",
        "--log-info=false",
    ]
    os.execv(command[0], command)  # noqa: S606 - the server of the wheel


if __name__ == "__main__":
    main()
