"""show(pose): the figures hold the joints where they are, and notebooks get what they can display."""

from __future__ import annotations

import html
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.plotting import PoseFigure, show
from posemoe_edge.runtime.errors import MissingError, UsageError
from posemoe_edge.runtime.plotting.figure import GUESSED, LEFT, RIGHT, TORSO
from posemoe_edge.runtime.plotting.moments import moments_of
from posemoe_edge.runtime.plotting.static_poses import MOST_PANELS
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.pose.types import Pose

PNG = b"\x89PNG"
SEEN_FROM = {"left": LEFT, "right": RIGHT, "trunk": TORSO, "guessed": GUESSED}


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As on a machine on which the package is not installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(
        "posemoe_edge.runtime.plotting.show.find_spec", lambda name: None if name == package else find_spec(name)
    )


# Pictures.


@pytest.fixture
def need_matplotlib() -> None:
    pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("need_matplotlib")
def test_a_picture_holds_every_bone_in_its_colour(make_pose: Callable[..., Pose]) -> None:
    pose = make_pose(joint_m=(0.1, 0.8, 0.2), unseen=[13])
    (axes,) = show(pose, interactive=False).figure.axes
    xyz_m = moments_of(pose).all[0].people[0].xyz_m
    assert len(axes.lines) == len(H36M17.bones)
    for line, (a, b) in zip(axes.lines, H36M17.bones, strict=True):
        np.testing.assert_allclose(np.stack(line.get_data_3d(), axis=1), xyz_m[[a, b]], atol=1e-6)
        side = "guessed" if 13 in (a, b) else "left" if b in H36M17.left else "right" if b in H36M17.right else "trunk"
        assert line.get_color() == SEEN_FROM[side]


@pytest.mark.usefixtures("need_matplotlib")
def test_a_metre_is_as_long_along_each_axis_of_a_picture(make_pose: Callable[..., Pose]) -> None:
    clip = [make_pose(t_s=0.0, joint_m=(0.1, 0.8, 0.2)), make_pose(t_s=1.0, joint_m=(0.9, 0.2, 0.0))]
    figure = show(clip, interactive=False).figure
    scales = []
    for axes in figure.axes:
        limits = np.array([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()])
        scales.append(axes._box_aspect / (limits[:, 1] - limits[:, 0]))
    np.testing.assert_allclose(scales, scales[0][0])  # of all axes and of both panels


@pytest.mark.usefixtures("need_matplotlib")
def test_balls_have_the_standard_deviation_as_their_radius_and_are_left_out_without_one(
    make_pose: Callable[..., Pose], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mpl_toolkits.mplot3d import art3d

    drawn = []

    class Recorded(art3d.Poly3DCollection):  # type: ignore[misc]
        def __init__(self, vertices: np.ndarray, **style: Any) -> None:
            drawn.append(vertices)
            super().__init__(vertices, **style)

    monkeypatch.setattr(art3d, "Poly3DCollection", Recorded)
    show(make_pose(sigma=False), interactive=False)
    assert drawn == []
    show(make_pose(), interactive=False)
    (discs,) = drawn
    xyz_m = moments_of(make_pose()).all[0].people[0].xyz_m
    np.testing.assert_allclose(np.linalg.norm(discs - xyz_m[:, None], axis=-1), 0.05, atol=1e-6)


@pytest.mark.usefixtures("need_matplotlib")
def test_a_clip_is_some_moments_side_by_side(make_pose: Callable[..., Pose]) -> None:
    figure = show([make_pose(t_s=k / 10) for k in range(41)], interactive=False).figure
    assert [axes.get_title() for axes in figure.axes] == [f"t = {t_s:.2f} s" for t_s in range(MOST_PANELS)]


@pytest.mark.usefixtures("need_matplotlib")
def test_a_notebook_gets_a_png_of_a_picture_and_of_a_pose(
    make_pose: Callable[..., Pose], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = show(make_pose(), interactive=False)
    png = shown._repr_png_()
    assert png is not None and png.startswith(PNG) and shown._repr_html_() is None
    png = make_pose()._repr_png_()
    assert png is not None and png.startswith(PNG)
    assert make_pose(joint_m=(np.nan, 0, 0))._repr_png_() is None
    without(monkeypatch, "matplotlib")
    assert make_pose()._repr_png_() is None  # then its text is shown
    with pytest.raises(MissingError, match=r"matplotlib.*pip install \"posemoe-edge\[plot\]\""):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        show(make_pose(), interactive=False)


# Interactive figures.


@pytest.fixture
def need_plotly() -> None:
    pytest.importorskip("plotly")


def parsed(shown: PoseFigure) -> dict[str, Any]:
    """The figure as Plotly's library gets it."""
    figure: dict[str, Any] = json.loads(shown.figure.to_json(engine="json"))
    return figure


def points(trace: dict[str, Any]) -> np.ndarray:
    """(N, 3) of a trace; Plotly writes arrays as base64."""
    import base64

    columns = []
    for axis in "xyz":
        column = trace.get(axis, [])
        if isinstance(column, dict):
            column = np.frombuffer(base64.b64decode(column["bdata"]), np.dtype(column["dtype"]))
        columns.append(np.array(column, np.float64))
    return np.stack(columns, axis=1)


@pytest.mark.usefixtures("need_plotly")
def test_an_interactive_figure_holds_every_joint_and_bone(make_pose: Callable[..., Pose]) -> None:
    pose = make_pose(joint_m=(0.1, 0.8, 0.2), unseen=[13])
    xyz_m = moments_of(pose).all[0].people[0].xyz_m
    traces = {trace["name"]: trace for trace in parsed(show(pose, interactive=True))["data"]}
    np.testing.assert_allclose(points(traces["joints"]), xyz_m, atol=1e-6)
    assert traces["joints"]["text"][13] == "person 0: left wrist, ± 0.050 m<br>score 0.00, guessed"
    assert traces["joints"]["marker"]["color"][13] == GUESSED and traces["joints"]["marker"]["color"][16] != GUESSED
    bones = {"left": [], "right": [], "trunk": [], "guessed": []}  # type: dict[str, list[Any]]
    for a, b in H36M17.bones:
        side = "left" if b in H36M17.left else "right" if b in H36M17.right else "trunk"
        bones["guessed" if 13 in (a, b) else side].append(xyz_m[[a, b]])
    for name, expected in bones.items():
        drawn = points(traces[name]).reshape(-1, 3, 3)
        np.testing.assert_allclose(drawn[:, :2], expected, atol=1e-6)
        assert np.isnan(drawn[:, 2]).all() and traces[name]["line"]["color"] == SEEN_FROM[name]  # a gap after each bone


@pytest.mark.usefixtures("need_plotly")
def test_the_balls_of_an_interactive_figure_are_closed_and_as_large_as_the_standard_deviation(
    make_pose: Callable[..., Pose],
) -> None:
    (mesh,) = [trace for trace in show(make_pose(), interactive=True).figure.data if trace.type == "mesh3d"]
    vertices = np.stack([mesh.x, mesh.y, mesh.z], axis=1).reshape(17, -1, 3)
    xyz_m = moments_of(make_pose()).all[0].people[0].xyz_m
    np.testing.assert_allclose(np.linalg.norm(vertices - xyz_m[:, None], axis=-1), 0.05, atol=1e-5)
    triangles = np.stack([mesh.i, mesh.j, mesh.k], axis=1)
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # each edge is of two triangles
    assert (triangles // 42 == triangles[:, :1] // 42).all()  # and no triangle of two balls


@pytest.mark.usefixtures("need_plotly")
def test_a_metre_is_as_long_along_each_axis_of_an_interactive_figure(make_pose: Callable[..., Pose]) -> None:
    scene = parsed(show(make_pose(joint_m=(0.1, 0.8, 3.0)), interactive=True))["layout"]["scene"]
    ranges = {axis: np.ptp(scene[f"{axis}axis"]["range"]) for axis in "xyz"}
    scales = [scene["aspectratio"][axis] / ranges[axis] for axis in "xyz"]
    np.testing.assert_allclose(scales, scales[0])
    assert scene["aspectmode"] == "manual" and scene["zaxis"]["title"]["text"] == "up (m)"


@pytest.mark.usefixtures("need_plotly")
def test_a_clip_plays_at_its_own_speed_and_each_frame_has_its_own_joints(make_pose: Callable[..., Pose]) -> None:
    clip = [{0: make_pose(t_s=0.0)}, {0: make_pose(t_s=0.04, joint_m=(0, 0, 1)), 1: make_pose(person=1, t_s=0.04)}]
    figure = parsed(show(clip, interactive=True))
    first, second = figure["frames"]
    kinds = [(trace["type"], trace.get("name")) for trace in figure["data"]]
    for frame, moment in zip((first, second), moments_of(clip).all, strict=True):
        assert len(frame["data"]) == len(kinds)
        joints = frame["data"][[name for _, name in kinds].index("joints")]
        np.testing.assert_allclose(points(joints), np.concatenate([person.xyz_m for person in moment.people]), atol=1e-6)
        assert frame["layout"]["title"]["text"] == f"t = {moment.t_s:.2f} s"
    assert second["data"][-1]["text"] == ["0", "1"]  # ids, where there are several people
    sizes = [len(points(frame["data"][[kind for kind, _ in kinds].index("mesh3d")])) for frame in (first, second)]
    assert sizes == [2 * 17 * 42] * 2  # the triangles of the first frame are those of all
    layout = figure["layout"]
    assert layout["updatemenus"][0]["buttons"][0]["args"][1]["frame"]["duration"] == pytest.approx(40)
    assert [step["label"] for step in layout["sliders"][0]["steps"]] == ["0.00", "0.04"]


@pytest.mark.usefixtures("need_plotly")
def test_a_long_clip_is_thinned_out_and_still_lasts_as_long(
    make_pose: Callable[..., Pose], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posemoe_edge.runtime.plotting.interactive_poses.MOST_FRAMES", 5)
    figure = show([make_pose(t_s=k / 50) for k in range(9)], interactive=True).figure
    assert len(figure.frames) == 5
    assert figure.layout.updatemenus[0].buttons[0].args[1]["frame"]["duration"] == pytest.approx(40)


@pytest.mark.usefixtures("need_plotly")
def test_a_notebook_gets_a_page_that_needs_no_network(make_pose: Callable[..., Pose], tmp_path: Path) -> None:
    shown = show(make_pose())
    page = shown._repr_html_()
    assert shown.interactive and shown._repr_png_() is None and page is not None
    assert page.startswith("<iframe srcdoc=") and "script src=" not in html.unescape(page)
    shown.save(tmp_path / "pose.html")
    text = (tmp_path / "pose.html").read_text()
    assert "Plotly.newPlot" in text and "script src=" not in text
    with pytest.raises(UsageError, match=r"pose\.png cannot be written.*ends with \.html, or interactive=False"):
        shown.save(tmp_path / "pose.png")


def test_without_plotly_a_picture_is_shown_and_an_interactive_figure_names_the_extra(
    make_pose: Callable[..., Pose], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    without(monkeypatch, "plotly")
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    shown = show(make_pose())
    assert not shown.interactive
    shown.save(tmp_path / "pose.png")
    assert (tmp_path / "pose.png").read_bytes().startswith(PNG)
    with pytest.raises(UsageError, match=r"ends with \.png, or interactive=True"):
        shown.save(tmp_path / "pose.html")
    with pytest.raises(MissingError, match=r"plotly.*pip install \"posemoe-edge\[notebook\]\""):
        show(make_pose(), interactive=True)
