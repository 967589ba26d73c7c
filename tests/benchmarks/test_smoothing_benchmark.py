"""benchmarks/smoothing.py: trembling and accuracy are right on cases made by hand, and smoothing trembles less."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.evaluation import stream_sequence
from posemoe_edge.runtime import load
from posemoe_edge.runtime.pose.smoothing import SMOOTHING


@pytest.fixture
def smoothing() -> Any:
    return importlib.import_module("smoothing")


def test_trembling_is_the_second_difference_of_the_error(smoothing: Any) -> None:
    truth = np.random.default_rng(0).normal(size=(9, 17, 3))
    assert smoothing.acceleration_error_mm(truth + np.array([1, 2, 3]), truth) == pytest.approx(0, abs=1e-9)  # hips are aligned
    steady = truth.copy()
    steady[:, 5] += np.arange(9)[:, None] * (0.01, 0, 0)  # a drift trembles no more
    assert smoothing.acceleration_error_mm(steady, truth) == pytest.approx(0, abs=1e-9)
    nodding = truth.copy()
    nodding[::2, 5, 0] += 0.001  # second differences of 2 mm, of one joint in 17
    assert smoothing.acceleration_error_mm(nodding, truth) == pytest.approx(2 / 17)


def test_a_filter_that_passes_everything_changes_nothing(smoothing: Any, make_walker_clip: Callable[..., Clip]) -> None:
    sequence = smoothing.part_of(smoothing.evaluation_sequences([make_walker_clip("a", 60, seed=1)], noisy=True)[0], 0, 20)
    assert {len(sequence.keypoints), len(sequence.pose_m), len(sequence.dt_s), len(sequence.intrinsics)} == {20}
    model, through = load(), smoothing.SmoothingLevel(smoothing.NONE, smoothing.NONE)
    plain, passed = smoothing.lift(model, sequence, None), smoothing.lift(model, sequence, through)
    np.testing.assert_array_equal(plain, stream_sequence(model, sequence)[..., :3])  # as evaluations feed the model
    np.testing.assert_allclose(passed, plain, atol=1e-4)
    smoothed = smoothing.lift(model, sequence, SMOOTHING["strong"])
    trembling = [smoothing.acceleration_error_mm(poses, sequence.pose_m) for poses in (smoothed, plain)]
    assert trembling[0] < 0.7 * trembling[1]


def test_the_command_has_a_row_for_each_level(
    smoothing: Any,
    tmp_path: Path,
    make_walker_clip: Callable[..., Clip],
    write_motion_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_motion_file([make_walker_clip("a", 60, seed=1, split="val"), make_walker_clip("b", 60, seed=2)])
    arguments = ["--data", data, "--clips", 1, "--seconds", 0.5, "--json", tmp_path / "s.json"]
    monkeypatch.setattr(sys, "argv", ["smoothing.py", *map(str, arguments)])
    smoothing.main()
    result = json.loads((tmp_path / "s.json").read_text())
    assert (result["split"], result["clips"]) == ("val", 1)
    rows = {row["level"]: row for row in result["rows"]}
    assert list(rows) == ["off", "light", "strong"]
    assert rows["strong"]["acceleration_error_mm"] < rows["off"]["acceleration_error_mm"]
    assert all(20 < row["mpjpe_mm"] < 400 for row in rows.values())
