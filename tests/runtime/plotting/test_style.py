"""The style of figures: colours for every reader, keys that cover nothing, numbers that are read at a glance."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.runtime.plotting import LEFT, RIGHT, Cell, Lines, Verdict
from posemoe_edge.runtime.plotting.figure import (
    BAD,
    DASHES,
    GOOD,
    HATCHES,
    MARKERS,
    SERIES,
    WIDTH_IN,
    new_figure,
    plain_number,
    series_style,
)
from posemoe_edge.runtime.plotting.lines import draw_on_axes
from posemoe_edge.runtime.plotting.table import draw_table

pytest.importorskip("matplotlib")

DISTINCT = 12.0  # of a distance in CIELAB; a just noticeable difference is about 2
READABLE = 4.5  # contrast of text on white, as WCAG's level AA demands

# Linear RGB as people without the middle-wave cones see it (Machado, Oliveira and Fernandes, 2009, severity 1).
DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
XYZ_OF_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear_rgb(colour: str) -> NDArray[Any]:
    encoded = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def lab(linear: NDArray[Any]) -> NDArray[Any]:
    """CIELAB of a colour in linear RGB."""
    x, y, z = np.cbrt(np.maximum(XYZ_OF_RGB @ np.clip(linear, 0, 1) / XYZ_OF_RGB.sum(axis=1), 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", [np.eye(3), DEUTERANOPIA], ids=["all cones", "deuteranopia"])
@pytest.mark.parametrize("colours", [SERIES, (LEFT, RIGHT), (GOOD, BAD)], ids=["series", "sides", "verdicts"])
def test_colours_differ_for_every_reader(colours: tuple[str, ...], eye: NDArray[Any]) -> None:
    seen = {colour: lab(eye @ linear_rgb(colour)) for colour in colours}
    for a, b in combinations(colours, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > DISTINCT, (a, b)


def test_the_simulation_sees_what_deuteranopes_confuse() -> None:
    """Along the direction that the matrix nearly removes lie a reddish and a greenish grey."""
    confused = np.linalg.svd(DEUTERANOPIA)[2][-1]
    red, green = (0.3 + sign * 0.2 * confused for sign in (1, -1))
    assert np.linalg.norm(lab(red) - lab(green)) > 3 * DISTINCT
    assert np.linalg.norm(lab(DEUTERANOPIA @ red) - lab(DEUTERANOPIA @ green)) < DISTINCT


@pytest.mark.parametrize("colour", [GOOD, BAD])
def test_a_verdict_can_be_read_on_white_and_white_on_it(colour: str) -> None:
    assert 1.05 / (float(XYZ_OF_RGB[1] @ linear_rgb(colour)) + 0.05) > READABLE


def test_verdicts_differ_without_their_colour() -> None:
    passed, failed = Verdict(True).text, Verdict(False).text
    assert "passed" in passed and "FAILED" in failed and passed[0] != failed[0]


def test_series_differ_in_black_and_white() -> None:
    for marks in (DASHES, MARKERS, HATCHES):
        assert len(set(marks)) == len(SERIES)
    assert series_style(0, measured=False)["linestyle"] != series_style(1, measured=False)["linestyle"]
    assert series_style(0, measured=True)["marker"] != series_style(1, measured=True)["marker"]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (50_000, "50,000"), (1e-5, "0.00001"), (0.25, "0.25"), (-3, "-3"), (12.5, "12.5")]
)
def test_ticks_are_plain_numbers(value: float, text: str) -> None:
    assert plain_number(value) == text


def drawn(plot: Lines) -> Any:
    """The axes of a plot, laid out but not rendered."""
    figure = new_figure(WIDTH_IN, 3.0)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    draw_on_axes(axes, plot)
    figure.draw_without_rendering()
    return axes


MANY = {f"a curve with a long name, number {i}": np.arange(5) + i for i in range(5)}


def test_the_key_names_every_curve_and_limit_above_the_axes() -> None:
    axes = drawn(Lines(x=np.arange(5), y=MANY, title="t", limits={"budget": 2}, behind=[next(iter(MANY))]))
    key, edges = axes.get_legend(), axes.get_window_extent()
    assert {text.get_text() for text in key.get_texts()} == {*MANY, "budget"}
    assert key.get_window_extent().y0 >= edges.y1 and key.get_window_extent().x1 <= axes.figure.bbox.x1
    assert axes._left_title.get_window_extent().y0 >= key.get_window_extent().y1 - 1  # a pixel of rounding


def test_a_key_of_several_columns_is_read_row_by_row() -> None:
    axes = drawn(Lines(x=np.arange(2), y={name: [0, 1] for name in ("a", "b", "c")}, title="t"))
    left = {text.get_text(): text.get_window_extent().x0 for text in axes.get_legend().get_texts()}
    assert left["a"] < left["b"] < left["c"]
    axes = drawn(Lines(x=np.arange(5), y=dict(list(MANY.items())[:4]), title="t"))
    places = {text.get_text(): text.get_window_extent() for text in axes.get_legend().get_texts()}
    first, second, third, _ = (places[name] for name in list(MANY)[:4])
    assert second.x0 > first.x0 and second.y0 == first.y0 and third.y0 < first.y0


@pytest.mark.parametrize(("joined", "line"), [(True, "-"), (False, "None")])
def test_only_measurements_that_are_neighbours_are_joined_by_a_line(joined: bool, line: str) -> None:
    nan = np.nan
    y = {"points": [1, nan, 2], "one": [nan, nan, 3], "line": [1, 2, nan]}
    plot = Lines(x=[0, 1, 2], y=y, title="t", measured=True, joined=joined)
    assert {curve.get_label(): curve.get_linestyle() for curve in drawn(plot).lines} == {
        "points": "None",
        "one": "None",
        "line": line,
    }


def test_a_curve_that_is_like_another_has_its_colour_and_another_dash() -> None:
    plot = Lines(
        x=[0, 1], y={"a": [0, 1], "b": [1, 0], "a, told less": [2, 1]}, like={"a, told less": "a"}, title="t", measured=True
    )
    a, b, less = drawn(plot).lines
    assert a.get_color() == less.get_color() != b.get_color() and a.get_linestyle() != less.get_linestyle()


@pytest.mark.parametrize(
    ("y", "labels"),
    [([1e-5, 0.2], ["0.00001", "1"]), ([50, 280], ["50", "100", "200"]), ([0.14, 0.36], ["0.15", "0.2", "0.3"])],
)
def test_a_logarithmic_axis_names_its_powers_or_what_lies_between_them(y: list[float], labels: list[str]) -> None:
    axes = drawn(Lines(x=[0, 1], y={"a": y}, title="t", log=True))
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert set(labels) <= set(shown)


def test_the_best_point_is_a_star_that_the_key_names() -> None:
    axes = drawn(Lines(x=[0, 10], y={"a": [3, 1]}, title="t", points={"best: 1 mm at update 10": (10, 1)}))
    assert axes.lines[-1].get_marker() == "*" and axes.lines[-1].get_xydata().tolist() == [[10, 1]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "best: 1 mm at update 10"]


@pytest.mark.parametrize("engine", ["", " tensorrt-rtx 11.4 of an NVIDIA RTX 5090"])
def test_columns_of_a_table_do_not_overlap_and_fit(engine: str) -> None:
    figure = new_figure(WIDTH_IN, 3.0)
    columns = ["", "verdict", "mean\n(mm)", "growth in 1,000\nframes (mm)", "frames until an outlier\nis forgotten (PyTorch)"]
    rows: list[list[Cell]] = [
        [name + engine, Verdict(name == "fp32"), "0.00011", "+5e-06 ± 3e-06", "> 497 (92)"] for name in ("fp32", "int8")
    ]
    draw_table(figure, [columns, *rows], top_in=0.2)
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in figure.texts]
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    for a, b in combinations(boxes, 2):
        assert not a.overlaps(b)
