from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.edge.intervals import crossed_interval, interval, paired_interval
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
    assert lead.high < 0 and lead.mean == pytest.approx(-2, abs=0.5)
    assert interval(ours, frames).high > interval(theirs, frames).low  # unpaired, the two overlap


def test_two_models_on_different_clips_are_refused() -> None:
    with pytest.raises(UsageError, match="different clips"):
        paired_interval({"a": 1.0}, {"b": 1.0}, {"a": 1, "b": 1})
    with pytest.raises(UsageError, match="no clips"):
        interval({}, {})


def test_rows_and_columns_are_both_drawn_so_that_what_a_row_has_in_common_does_not_look_certain() -> None:
    rng, covered, by_cell = np.random.default_rng(1), 0, 0
    for _ in range(100):
        table = 5 + rng.normal(0, 2, (12, 1)) + rng.normal(0, 2, (1, 12)) + rng.normal(0, 1, (12, 12))
        found = crossed_interval(table)
        flat = interval({str(i): float(x) for i, x in enumerate(table.ravel())}, {str(i): 1 for i in range(144)})
        covered += found.low <= 5 <= found.high
        by_cell += flat.low <= 5 <= flat.high
    assert covered >= 85 and by_cell < 60


def test_cells_without_a_measurement_have_no_part() -> None:
    table = np.array([[1.0, 3.0], [np.nan, 2.0]])
    found = crossed_interval(table)
    assert found.mean == pytest.approx(2) and (found.low, found.high) == (1, 3)
    with pytest.raises(UsageError, match="over nothing"):
        crossed_interval(np.full((2, 2), np.nan))
