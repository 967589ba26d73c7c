"""The plots of a training: units, the best point, and a first value that does not hide the others."""

from __future__ import annotations

import numpy as np
from posemoe_edge.edge.training.curve_plot import curve_plots

CURVE: list[list[float | None]] = [[100, None, 300.0], [200, 0.4, 80.0], [300, 0.2, 70.0], [400, 0.1, 72.0]]


def test_the_best_validation_error_is_marked() -> None:
    _, validation = curve_plots(CURVE)
    assert validation.points == {"best: 70.0 mm at update 300": (300, 70)}


def test_axes_have_units() -> None:
    training, validation = curve_plots(CURVE)
    assert training.x_label == validation.x_label == "length of the training (updates)"
    assert training.y_label == "loss (weighted sum, no unit)" and validation.y_label == "MPJPE (mm)"


def test_an_axis_is_logarithmic_where_the_first_value_would_squeeze_the_rest() -> None:
    assert [plot.log for plot in curve_plots(CURVE)] == [True, True]
    assert [plot.log for plot in curve_plots([[1, -0.1, 64.0], [2, -0.2, 63.0]])] == [False, False]


def test_a_loss_that_is_not_known_yet_is_a_gap() -> None:
    training, _ = curve_plots(CURVE)
    np.testing.assert_array_equal(training.y["loss"], [np.nan, 0.4, 0.2, 0.1])


def test_without_validation_there_is_one_plot() -> None:
    assert len(curve_plots([[updates, loss, None] for updates, loss, _ in CURVE])) == 1
