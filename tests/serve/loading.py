"""How the tests of a running server load models."""

from lvseg_export.engines.plans import PlanOptions
from lvseg_serve.models import ModelLoader

LOADER = ModelLoader(
    runtime="onnxruntime",
    precision="auto",
    threads=1,
    plans=PlanOptions(),
    max_message_bytes=2**20,
    max_pending=64,
)
