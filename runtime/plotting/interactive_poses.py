"""Poses to turn, zoom and play: a figure of Plotly, which is a page of its own and needs no server."""

from __future__ import annotations

import functools
import html
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32
from ..errors import missing_extra
from ..pose.skeleton import H36M17
from .figure import GUESSED, INK, LEFT, RIGHT, TORSO
from .moments import Moment, Moments
from .skeletons import BALL

MOST_FRAMES = 150
"""A longer clip is thinned out evenly, since every frame is part of the page."""

_HEIGHT_PX = 560
_PLAYER_PX = 90  # a clip is higher by its slider
Trace = dict[str, Any]
"""Plotly's description of one kind of marks. A plain dictionary, which Plotly checks once and not twice."""

_SIDES = {"left": LEFT, "right": RIGHT, "trunk": TORSO}


def draw_interactive(moments: Moments) -> Any:
    """A Plotly figure: one moment, or a clip with a slider and a button that plays it as fast as it was.

    Raises:
        MissingError: Plotly is not installed.
    """
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise missing_extra("plotly", "notebook", "an interactive figure") from None
    shown = moments.spread(MOST_FRAMES)
    figure = go.Figure(data=_traces(shown.all[0], shown))
    if len(shown) > 1:
        figure.frames = [
            go.Frame(data=_traces(moment, shown), name=str(k), layout={"title": {"text": _time(moment)}})
            for k, moment in enumerate(shown.all)
        ]
    figure.update_layout(**_layout(shown))
    return figure


def as_html(figure: Any) -> str:
    """The figure in a frame of its own, with Plotly's library in it: it works offline, and in every notebook alike."""
    page = figure.to_html(full_html=True, include_plotlyjs=True, auto_play=False, config={"displaylogo": False})
    style = f"width:100%;height:{figure.layout.height + 40}px;border:0"
    return f'<iframe srcdoc="{html.escape(page)}" style="{style}" scrolling="no" title="poses in 3D"></iframe>'


def _traces(moment: Moment, moments: Moments) -> list[Trace]:
    """Always the same traces in the same order, so that a frame replaces those of the one before."""
    bones: dict[str, list[F32]] = {name: [] for name in (*_SIDES, "guessed")}
    for person in moment.people:
        for a, b in H36M17.bones:
            side = "left" if b in H36M17.left else "right" if b in H36M17.right else "trunk"
            name = "guessed" if person.guessed[a] or person.guessed[b] else side
            gap = np.full((1, 3), np.nan)  # between bones
            bones[name].append(np.concatenate([person.xyz_m[[a, b]], gap]).astype(np.float32))
    traces: list[Trace] = []
    for name, colour in (*_SIDES.items(), ("guessed", GUESSED)):
        x, y, z = np.concatenate([np.zeros((0, 3), np.float32), *bones[name]]).T
        line = {"color": colour, "width": 7, **({"dash": "dot"} if name == "guessed" else {})}
        shown = name != "guessed" or any(person.guessed.any() for each in moments.all for person in each.people)
        look = {"mode": "lines", "line": line, "name": name, "showlegend": shown, "hoverinfo": "skip"}
        traces.append({"type": "scatter3d", "x": x, "y": y, "z": z, **look})
    return [*traces, _joints(moment), _balls(moment, moments), _names(moment, moments)]


def _joints(moment: Moment) -> Trace:
    xyz = np.concatenate([person.xyz_m for person in moment.people]).astype(np.float32)
    texts, colours = [], []
    for person in moment.people:
        for k, joint in enumerate(H36M17.joints):
            sigma = "" if person.sigma_m is None else f", ± {person.sigma_m[k]:.3f} m"
            guess = ", guessed" if person.guessed[k] else ""
            texts.append(f"person {person.person}: {joint.replace('_', ' ')}{sigma}<br>score {person.score[k]:.2f}{guess}")
            colours.append(GUESSED if person.guessed[k] else TORSO)
    return {
        "type": "scatter3d",
        "x": xyz[:, 0],
        "y": xyz[:, 1],
        "z": xyz[:, 2],
        "mode": "markers",
        "marker": {"size": 2.5, "color": colours},
        "text": texts,
        "hovertemplate": "%{text}<br>%{x:.3f}, %{y:.3f}, %{z:.3f} m<extra></extra>",
        "name": "joints",
        "showlegend": False,
    }


def _balls(moment: Moment, moments: Moments) -> Trace:
    """One mesh of all balls, whose radii are standard deviations. Those of people who are absent have no place."""
    points, faces = _ball()
    most = max(len(each.people) for each in moments.all)
    centres = np.full((most * len(H36M17), 3), np.nan)
    radii = np.full(len(centres), np.nan)
    for n, person in enumerate(moment.people):
        if person.sigma_m is not None:
            part = slice(n * len(H36M17), (n + 1) * len(H36M17))
            centres[part], radii[part] = person.xyz_m, person.sigma_m
    vertices = centres[:, None] + radii[:, None, None] * points  # (balls, 42, 3)
    x, y, z = vertices.reshape(-1, 3).astype(np.float32).T
    if moment is not moments.all[0]:  # which vertices make a triangle is the same in all frames, and the larger part
        return {"type": "mesh3d", "x": x, "y": y, "z": z}
    i, j, k = (faces + len(points) * np.arange(len(centres))[:, None, None]).reshape(-1, 3).astype(np.int32).T
    known = any(person.sigma_m is not None for each in moments.all for person in each.people)
    look = {"color": BALL, "opacity": 0.16, "hoverinfo": "skip", "name": "± 1 standard deviation", "showlegend": known}
    return {"type": "mesh3d", "x": x, "y": y, "z": z, "i": i, "j": j, "k": k, **look}


def _names(moment: Moment, moments: Moments) -> Trace:
    """Ids above heads, where there are several people."""
    several = len({person.person for each in moments.all for person in each.people}) > 1
    people = moment.people if several else ()
    above = [person.xyz_m[H36M17.joints.index("head")] + np.array([0, 0, 0.2]) for person in people]
    x, y, z = np.array(above, np.float32).reshape(-1, 3).T
    texts = [str(person.person) for person in people]
    look = {"mode": "text", "hoverinfo": "skip", "name": "ids", "showlegend": False}
    return {"type": "scatter3d", "x": x, "y": y, "z": z, "text": texts, **look}


@functools.cache
def _ball() -> tuple[F32, NDArray[np.int64]]:
    """(42, 3) points on the unit sphere and (80, 3) triangles: an icosahedron whose triangles are divided into four."""
    golden = (1 + 5**0.5) / 2
    corners = [point for a in (-1.0, 1.0) for b in (-golden, golden) for point in ((0.0, a, b), (a, b, 0.0), (b, 0.0, a))]
    points = np.array(corners)
    edge = 2.0  # of this icosahedron
    near = np.abs(np.linalg.norm(points[:, None] - points[None], axis=-1) - edge) < 1e-9
    faces = [(a, b, c) for a in range(12) for b in range(a) for c in range(b) if near[a, b] and near[b, c] and near[a, c]]
    vertices, middles, divided = list(points), dict[tuple[int, int], int](), list[tuple[int, int, int]]()

    def middle(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in middles:
            middles[key] = len(vertices)
            vertices.append((vertices[a] + vertices[b]) / 2)
        return middles[key]

    for a, b, c in faces:
        ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
        divided += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    unit = np.array(vertices) / np.linalg.norm(vertices, axis=1, keepdims=True)
    return unit.astype(np.float32), np.array(divided, np.int64)


def _layout(moments: Moments) -> dict[str, Any]:
    low, high = moments.box_m
    axis = {"backgroundcolor": "#F7F7F5", "gridcolor": "#D9D9D9", "showbackground": True, "zeroline": False}
    names = zip(("xaxis", "yaxis", "zaxis"), moments.axes, low, high, strict=True)
    scene: dict[str, Any] = {
        name: {**axis, "title": {"text": label}, "range": [float(a), float(b)], "autorange": False}
        for name, label, a, b in names
    }
    # A metre is as long along every axis; Plotly's own "data" follows the first frame's data, not the ranges.
    ratio = dict(zip("xyz", (1.2 * (high - low) / (high - low).max()).tolist(), strict=True))
    # The viewer stands behind the camera, a little to its right, and looks down.
    camera = {"eye": {"x": 0.9, "y": -2.0, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.08}}
    scene |= {"aspectmode": "manual", "aspectratio": ratio, "camera": camera, "dragmode": "turntable"}
    layout = {
        "scene": scene,
        "title": {"text": _time(moments.all[0]), "font": {"size": 13, "color": INK}, "x": 0.01},
        "height": _HEIGHT_PX,
        "margin": {"l": 0, "r": 0, "t": 70, "b": 0},
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "itemsizing": "constant"},
        "uirevision": "kept",  # a frame does not turn back what the reader turned
    }
    return layout | (_player(moments) if len(moments) > 1 else {})


def _player(moments: Moments) -> dict[str, Any]:
    """A button that plays the clip at its own speed, one that stops it, and a slider over its times."""
    step_ms = 1000 * float(np.median(np.diff([moment.t_s for moment in moments.all])))
    at_once = {"mode": "immediate", "transition": {"duration": 0}}
    play = {"frame": {"duration": step_ms, "redraw": True}, "fromcurrent": True, **at_once}
    stop = {"frame": {"duration": 0, "redraw": True}, **at_once}
    buttons = [
        {"label": "Play", "method": "animate", "args": [None, play]},
        {"label": "Stop", "method": "animate", "args": [[None], stop]},
    ]
    steps = [
        {"label": f"{moment.t_s:.2f}", "method": "animate", "args": [[str(k)], stop]} for k, moment in enumerate(moments.all)
    ]
    menu = {"type": "buttons", "direction": "left", "buttons": buttons, "x": 0.0, "y": 0.0, "xanchor": "left", "yanchor": "top"}
    slider = {
        "steps": steps,
        "x": 0.2,
        "len": 0.78,
        "y": 0.0,
        "currentvalue": {"prefix": "t = ", "suffix": " s"},
        "pad": {"t": 10, "b": 30},
    }
    return {
        "updatemenus": [menu],
        "sliders": [slider],
        "height": _HEIGHT_PX + _PLAYER_PX,
        "margin": {"l": 0, "r": 0, "t": 70, "b": 40},
    }


def _time(moment: Moment) -> str:
    return f"t = {moment.t_s:.2f} s"
