"""Every figure of docs/figures that is drawn from measurements, drawn again from those that are kept in benchmarks/results.

    chunks, decoder, forever, loader, missing, noise, peers, rates    by the benchmarks of these names
    drift, gaps, sigma, state, view                                   by benchmarks/concepts.py
    walk                                                              lifted anew: synthetic://walk, 300 frames

``real.png`` is drawn by benchmarks/real.py from footage that is not part of the repository. Nothing is measured here.

Run: python benchmarks/draw_figures.py [NAME ...] [--out docs/figures]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import concept_plots
from experiment import exit_on_error
from posemoe_edge import Pipeline, load
from posemoe_edge.runtime.plotting import draw_bars, draw_lines
from posemoe_edge.runtime.sinks import open_sink

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
WALK, WALK_FRAMES = "synthetic://walk?people=1&noise=2", 300

Draw = Callable[[Path], None]


def kept(name: str) -> Any:
    """The kept result of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def lines_of(name: str, function: str = "plot", *, columns: int = 1, rows: bool = True) -> Draw:
    """Draws what a benchmark's function makes of its kept rows, or of the whole result."""

    def draw(path: Path) -> None:
        result = kept(name)
        draw_lines(path, getattr(import_module(name), function)(result["rows"] if rows else result), columns=columns)

    return draw


def bars_of(name: str, *, rows: bool = True) -> Draw:
    def draw(path: Path) -> None:
        result = kept(name)
        draw_bars(path, import_module(name).plot(result["rows"] if rows else result))

    return draw


def draw_walk(path: Path) -> None:
    """The default model on a synthetic walker, whose keypoints have a detector's noise."""
    with closing(load()) as model:
        Pipeline(WALK, model, frames=WALK_FRAMES).run([open_sink(f"png:{path}")])


def concept(name: str, *, columns: int = 1) -> Draw:
    def draw(path: Path) -> None:
        draw_lines(path, getattr(concept_plots, name)(kept(name)), columns=columns)

    return draw


FIGURES: dict[str, Draw] = {
    "chunks": lines_of("chunks"),
    "decoder": bars_of("decoder"),
    "drift": concept("drift"),
    "forever": lines_of("forever", rows=False),
    "gaps": concept("gaps"),
    "loader": bars_of("loader", rows=False),
    "missing": lines_of("missing", "plots", columns=2),
    "noise": lines_of("noise", "plots", columns=3),
    "peers": lambda path: import_module("peers.figure").draw(path, kept("peers")["step"]["rows"]),
    "rates": lines_of("rates"),
    "sigma": concept("sigma", columns=2),
    "state": concept("state"),
    "view": lambda path: concept_plots.draw_view(path, kept("view")),
    "walk": draw_walk,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(FIGURES)}; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    if unknown := set(options.names) - set(FIGURES):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(FIGURES)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or FIGURES:
        FIGURES[name](options.out / f"{name}.png")
        print(options.out / f"{name}.png")


if __name__ == "__main__":
    exit_on_error(main)
