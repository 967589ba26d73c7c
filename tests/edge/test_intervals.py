from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.edge.intervals import interval, paired_interval
from posemoe_edge.runtime.errors import UsageError


def test_the_mean_is_over_frames_and_lies_within_its_interval() -> None:
    values, frames = {"a": 10.0, "b": 20.0}, {"a": 300, "b": 100}
    found = interval(values, frames)
    assert found.mean == pytest.approx(12.5) and found.low == 10.0 and found.high == 20.0


def test_an_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        values = {str(i): float(x) for i, x in enumerate(rng.normal(5, 2, 40))}
        found = interval(values, dict.fromkeys(values, 100))
        covered += found.low <= 5 <= found.high
    assert 180 <= covered <= 199


def test_pairing_finds_a_small_lead_that_clips_of_unequal_difficulty_hide() -> None:
    rng = np.random.default_rng(0)
    theirs = {str(i): float(x) for i, x in enumerate(rng.uniform(30, 150, 50))}
    ours = {name: value - 2 + float(rng.normal(0, 1)) for name, value in theirs.items()}
    frames = dict.fromkeys(theirs, 100)
    lead = paired_interval(ours, theirs, frames)
    assert lead.excludes_zero and lead.mean == pytest.approx(-2, abs=0.5)
    assert interval(ours, frames).high > interval(theirs, frames).low  # unpaired, the two overlap


def test_two_models_on_different_clips_are_refused() -> None:
    with pytest.raises(UsageError, match="different clips"):
        paired_interval({"a": 1.0}, {"b": 1.0}, {"a": 1, "b": 1})
    with pytest.raises(UsageError, match="no clips"):
        interval({}, {})
