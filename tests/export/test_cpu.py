import os

import pytest

from lvseg_export import cpu


@pytest.mark.parametrize(("processors", "threads", "runs"), [(8, 1, 8), (8, 3, 2), (8, 8, 1), (2, 16, 1)])
def test_every_thread_of_the_runs_at_once_has_a_processor(monkeypatch, processors, threads, runs):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    assert cpu.runs_at_once(threads) == runs
