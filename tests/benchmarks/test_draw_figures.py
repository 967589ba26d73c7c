"""Every committed figure is drawn from kept measurements: with units, and with a key that names every curve and hides none."""

from __future__ import annotations

import importlib
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
DRAWN = (
    "chunks",
    "decoder",
    "drift",
    "forever",
    "gaps",
    "loader",
    "missing",
    "noise",
    "peers",
    "rates",
    "sigma",
    "state",
    "view",
)
OTHERS = {
    "real": "from footage that is not part of the repository",
    "walk": "lifted anew",
}
UNIT = re.compile(r"\([^()]+\)$")


LAID_OUT: dict[str, Any] = {}
"""The figures that were drawn already: laying one out takes a third of a second, and several tests look at it."""


@pytest.fixture(params=DRAWN)
def figure(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A figure as it would be saved, laid out but not rendered."""
    from matplotlib.figure import Figure

    if request.param not in LAID_OUT:
        saved: list[Any] = []
        monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: saved.append(self))
        importlib.import_module("draw_figures").FIGURES[request.param](tmp_path / "figure.png")
        (LAID_OUT[request.param],) = saved
        saved[0].draw_without_rendering()
    return LAID_OUT[request.param]


def plots_of(figure: Any) -> list[Any]:
    """The axes that show measurements; a picture of a person has no ticks."""
    return [axes for axes in figure.axes if len(axes.get_xticks())]


def test_every_figure_of_the_pages_is_drawn_by_the_command() -> None:
    committed = {path.stem for path in (ROOT / "docs" / "figures").glob("*.png")}
    drawn = set(importlib.import_module("draw_figures").FIGURES)
    assert drawn == {*DRAWN, "walk"} and committed >= drawn
    assert committed - drawn <= set(OTHERS)


def test_axes_have_units_and_figures_the_width_of_a_page(figure: Any) -> None:
    assert figure.get_figwidth() == 7.0
    for axes in plots_of(figure):
        names_only = not any(re.search(r"\d", label.get_text()) for label in axes.get_yticklabels()) or axes.containers
        shares_scale = axes.get_shared_y_axes().get_siblings(axes)[0] is not axes and not axes.get_ylabel()
        assert UNIT.search(axes.get_xlabel()), axes.get_xlabel()
        assert UNIT.search(axes.get_ylabel()) or names_only or shares_scale, axes.get_ylabel()


def test_the_key_names_every_curve_that_is_not_alone(figure: Any) -> None:
    keys = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    named = {text.get_text() for key in keys for text in key.get_texts()}
    for axes in plots_of(figure):
        names = axes.get_legend_handles_labels()[1]
        assert set(names) <= named or len(names) == 1


def tick_boxes(axis: Any) -> list[Any]:
    """The boxes of an axis's tick labels. Matplotlib also has labels of ticks beyond its ends, which it does not draw."""
    low, high = sorted(axis.get_view_interval())
    room = 1e-6 * (high - low)
    shown = [tick for tick in axis.get_major_ticks() if low - room <= tick.get_loc() <= high + room]
    return [tick.label1.get_window_extent() for tick in shown if tick.label1.get_text() and tick.label1.get_visible()]


def test_nothing_is_cut_off_and_no_tick_labels_overlap(figure: Any) -> None:
    whole = figure.bbox
    for axes in figure.axes:
        texts = [text for text in (axes.xaxis.label, axes.yaxis.label, axes._left_title) if text.get_text()]
        across, up = tick_boxes(axes.xaxis), tick_boxes(axes.yaxis)
        for box in (*(text.get_window_extent() for text in texts), *across, *up):
            assert box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 and box.y1 <= whole.y1
        assert all(a.x1 < b.x0 for a, b in pairwise(sorted(across, key=lambda box: float(box.x0))))
        assert all(a.y1 <= b.y0 for a, b in pairwise(sorted(up, key=lambda box: float(box.y0))))


def test_a_key_covers_no_axes(figure: Any) -> None:
    keys = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    for key in keys:
        for axes in figure.axes:
            # The edge of an axis is a line of its own.
            assert not key.get_window_extent().padded(-2).overlaps(axes.get_window_extent())


def test_chunks_draws_points_where_there_is_one_measurement() -> None:
    plot = importlib.import_module("chunks").plot
    rows = [{"weights": "dssm", "mean_latency_ms": 0.0, "mpjpe_mm": 89.0}]
    rows += [{"weights": "retention", "mean_latency_ms": ms, "mpjpe_mm": mm} for ms, mm in ((0.0, 88.7), (80.0, 87.5))]
    lines = plot(rows)
    assert str(lines.y["dssm"]) == "[89.0, nan]" and lines.y["retention"] == [88.7, 87.5]


def test_rates_has_one_scale_and_the_colour_of_a_network_once() -> None:
    rates = importlib.import_module("rates")
    rows = json.loads((ROOT / "benchmarks" / "results" / "rates.json").read_text())["rows"]
    plot = rates.plot(rows)
    assert plot.like["frame-dssm-s, without dt"] == "frame-dssm-s, with dt" and "frame-attention-s, without dt" not in plot.like
    at = {name: dict(zip(plot.x, values, strict=True)) for name, values in plot.y.items()}
    assert list(plot.x_ticks.values()) == ["50", "25", "12.5", "6.25", "irregular"]
    for row in rows:
        place = list(rates.CAMERAS).index(row["camera"])
        assert at[f"{row['weights']}, without dt"][place] == row["without_dt_mm"]
