import numpy as np
import pytest
from PIL import Image

from lvseg_serve.bench.plot import draw_latencies


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_any_number_of_calls_becomes_a_picture(make_row, stages, tmp_path, count):
    latencies = np.random.default_rng(0).lognormal(3, 0.3, count).tolist()
    rows = [
        make_row(*latencies),
        make_row(*latencies, batch=4),
        make_row(*[1e4] * count, stages=stages, loop="open 10/s"),
    ]
    path = tmp_path / "latencies.png"
    draw_latencies(rows, path, title="a model")
    with Image.open(path) as picture:
        assert (picture.format, picture.width) == ("PNG", 1575)
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # something is drawn
    assert [file.name for file in tmp_path.iterdir()] == ["latencies.png"]


def test_more_rows_make_a_higher_picture(make_row, tmp_path):
    heights = []
    for rows in (1, 12):
        draw_latencies([make_row(10.0, 12.0)] * rows, tmp_path / "a.png", title="a model")
        with Image.open(tmp_path / "a.png") as picture:
            heights.append(picture.height)
    assert heights[1] > heights[0] + 500
