"""Rows as lvseg-bench measures them."""

from collections.abc import Callable

import pytest

from lvseg_export.engines.base import Split
from lvseg_serve.bench.rows import Row, Stages, Subject

MakeRow = Callable[..., Row]


@pytest.fixture
def make_row() -> MakeRow:
    """Make a row of one batch size from its latencies; what else is given is known of the subject."""

    def make(
        *latencies_ms: float,
        stages: Stages | None = None,
        split: Split | None = None,
        errors: dict[str, int] | None = None,
        ratio: float | None = 1.0,
        **known: object,
    ) -> Row:
        names = {"engine": "onnxruntime-cpu", "precision": "fp32", "batch": 1, "threads": 2}
        return Row(
            subject=Subject(**{**names, **known}),
            latencies_ms=latencies_ms,
            calls_per_s=len(latencies_ms) / sum(latencies_ms) * 1e3,
            ratio=ratio,
            stages=stages,
            split=split,
            errors=errors or {},
        )

    return make


@pytest.fixture
def stages() -> Stages:
    return Stages(decode_ms=1, resample_ms=2, inference_ms=15, postprocess_ms=4, rest_ms=8)
