"""Many streams together are what each of them would be alone, and the benchmark would notice if they were not."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")


@pytest.fixture
def soak() -> Any:
    return importlib.import_module("soak_streams")


def test_streams_that_nothing_goes_right_for_are_the_same_alone(soak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "ODDS", {**dict.fromkeys(soak.ODDS, 0.02), "leaves": 0.004})
    result = soak.measure(600, streams=4, replayed=1.0)
    counts = result["counts"]
    assert 600 <= result["frames"] < 610 and counts["joined"] == counts["lifted again"] > 4
    assert counts["poses compared"] + counts["refused frames"] == result["frames"] and counts["refused frames"] > 0
    assert all(counts[kind] > 0 for kind in ("gap", "outlier", "hidden", "swapped", "nobody", "refused", "model"))
    assert counts.get("other refusals", 0) == 0
    assert result["differences_mm"]["fp32"]["max"] < 0.01 and result["differences_mm"]["fp16"]["max"] < 5


def test_streams_that_are_fed_something_else_are_seen(soak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "ODDS", {**dict.fromkeys(soak.ODDS, 0.0), "leaves": 0.01})
    lift = soak.Soak._lift

    def nearer(self: Any, number: int, frames: Any, t_s: float) -> Any:
        return lift(self, number, {stream: keypoints * np.float32(0.9) for stream, keypoints in frames.items()}, t_s)

    monkeypatch.setattr(soak.Soak, "_lift", nearer)
    assert soak.measure(100, streams=2, replayed=1.0)["differences_mm"]["fp32"]["max"] > 1
