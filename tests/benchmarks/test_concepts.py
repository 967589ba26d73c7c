"""What the figures of the concepts are drawn from, measured on a tiny model and walkers."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.runtime import GapPolicy, Model, UsageError, load

NOTHING = Namespace(certified=None)


@pytest.fixture
def concepts() -> Any:
    return importlib.import_module("concepts")


@pytest.fixture
def model(retention_artefact: Path) -> Iterator[Model]:
    with closing(load(retention_artefact, gaps=GapPolicy(reset_after_s=60))) as model:
        yield model


@pytest.fixture
def clips(make_walker_clip: Callable[..., Clip]) -> list[Clip]:
    return [make_walker_clip("a", 60, seed=1), make_walker_clip("b", 60, seed=2)]


def test_a_disturbance_is_the_distance_from_the_undisturbed_stream(
    concepts: Any, model: Model, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concepts, "BEFORE_S", 0.4)
    monkeypatch.setattr(concepts, "AFTER_S", 0.8)
    result = concepts.measure_state(NOTHING, model, clips)
    assert result["clips"] == 2 and len(result["outlier_mm"]) == len(result["late_mm"]) == 40
    assert max(result["outlier_mm"][:3]) > max(result["outlier_mm"][20:]) and result["late_mm"][0] > 0
    with pytest.raises(UsageError, match="no clip is long enough"):
        monkeypatch.setattr(concepts, "AFTER_S", 8.0)
        concepts.measure_state(NOTHING, model, clips)


def test_a_state_is_told_the_gap_or_not_or_cleared(
    concepts: Any, model: Model, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"GAPS_S": (0.02, 0.2), "RUN_IN_S": 0.5, "SHOWN_BEFORE_S": 0.1, "SHOWN_AFTER_S": 0.2}.items():
        monkeypatch.setattr(concepts, name, value)
    shorter, longer = concepts.measure_gaps(NOTHING, model, clips)["gaps"]
    assert shorter["tried"] == longer["tried"] == 2 and len(longer["before_mm"]) == 5 and len(longer["reset_mm"]) == 10
    names = ("kept_mm", "faded_mm", "reset_mm", "no_gap_mm")
    assert len({tuple(longer[name]) for name in names}) == len(names), "each is lifted in its own way"


def test_the_gap_of_no_frame_changes_nothing(
    concepts: Any, model: Model, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"GAPS_S": (0.0,), "RUN_IN_S": 0.5, "SHOWN_BEFORE_S": 0.1, "SHOWN_AFTER_S": 0.2}.items():
        monkeypatch.setattr(concepts, name, value)
    (row,) = concepts.measure_gaps(NOTHING, model, clips)["gaps"]
    assert row["kept_mm"] == row["faded_mm"] == pytest.approx(row["no_gap_mm"], abs=0.01) != row["reset_mm"]


def test_two_cameras_at_one_place_give_one_view(concepts: Any, model: Model, clips: list[Clip]) -> None:
    result = concepts.measure_view(NOTHING, model, clips)
    pixels = [np.array(row["pixels"]) for row in result["cameras"]]
    assert result["views_differ_by"] < 1e-3 and np.abs(pixels[0] - pixels[1]).max() > 100
    view = np.array(result["cameras"][1]["view"])
    head, ankles = view[10], view[[3, 6]]
    assert head[1] < 0 < ankles[:, 1].min() and abs(head[0]) < 0.5, "the person stands upright in the middle"


@pytest.mark.parametrize(("pitch_deg", "down"), [(0.0, 0.0), (30.0, 0.5)])
def test_a_camera_that_is_pitched_down_looks_down_whatever_its_roll(concepts: Any, pitch_deg: float, down: float) -> None:
    axes = concepts.camera_axes(20.0, pitch_deg, 40.0)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1) and axes[2, 2] == pytest.approx(-down)


def test_drift_without_a_certificate_is_an_error(concepts: Any, model: Model, clips: list[Clip]) -> None:
    with pytest.raises(UsageError, match="--certified ARTEFACT"):
        concepts.measure_drift(NOTHING, model, clips)
