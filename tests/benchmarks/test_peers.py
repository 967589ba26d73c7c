"""``benchmarks/peers`` on tiny networks: the ring is causal attention, the published positions are the published form."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.mixer import Mixer
from posemoe_edge.edge.models.modes import ForwardMode
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.topology import build
from torch import Tensor
from torch.nn import functional as F

WINDOW, FRAMES = 4, 7
SAME = 1e-5  # float32, relative to poses of about 1
PNG = b"\x89PNG"


class LastFrames(ForwardMode):
    """Attention of each frame over itself and the three before it, all frames at once."""

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = self.heads
        q, k, v = (x.unflatten(-1, (heads, -1)).permute(0, 2, 3, 1, 4) for x in (q, k, v))  # (B, J, H, T, d)
        ones = torch.ones(FRAMES, FRAMES, dtype=torch.bool)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=ones.tril() & ones.triu(1 - WINDOW))
        return y.permute(0, 3, 1, 2, 4).flatten(-2)

    def __init__(self, heads: int) -> None:
        super().__init__(Timing(torch.ones(1, FRAMES)))
        self.heads = heads


@pytest.fixture
def model(tiny_lifter: Callable[[str], Lifter]) -> Lifter:
    return tiny_lifter("retention").eval().requires_grad_(False)


@pytest.mark.parametrize("traced", [False, True], ids=["PyTorch", "ONNX Runtime"])
def test_the_ring_is_attention_over_the_last_frames(model: Lifter, traced: bool, tmp_path: Path) -> None:
    ring_module, contestants = importlib.import_module("peers.ring"), importlib.import_module("peers.contestants")
    x = torch.randn(1, FRAMES, model.config.joints, model.config.channels)
    expected = model.lift(x, LastFrames(model.config.heads))
    ring, step = ring_module.Ring(model, WINDOW), ring_module.RingStep(model)
    if traced:
        ring_module.trace_ring(model, WINDOW, tmp_path / "ring.onnx")
        session = contestants.open_session(tmp_path / "ring.onnx")
    for frame in range(FRAMES):
        if traced:
            feeds = {"keypoints": x[:, frame].numpy(), "ring": ring.values, "hidden": ring.hidden}
            pose, rows = session.run(["pose", "rows"], feeds)
        else:
            arrays = (torch.from_numpy(array) for array in (ring.values, ring.hidden))
            pose, rows = (y.numpy() for y in step(x[:, frame], *arrays))
        np.testing.assert_allclose(pose, expected[:, frame], atol=SAME)
        ring.add(rows)


def test_published_positions_are_the_published_form_while_a_stream_is_young() -> None:
    positions = importlib.import_module("peers.positions")
    torch.manual_seed(0)
    config = replace(positions.SMALL, dim=16, heads=2, layers=1)
    model = build(config).eval().requires_grad_(False)
    x = torch.rand(1, 20, config.joints, config.channels)
    state, carried, age = None, None, 0
    for part in x.split(5, dim=1):
        mode = positions.PublishedMode(carried, age, 5)
        theirs, carried, age = model.lift(part, mode), mode.next_states, age + 5
        ours, state = model.chunk(part, state)
        torch.testing.assert_close(theirs, ours, rtol=0, atol=SAME)


@pytest.mark.parametrize(("age", "finite"), [(35_000, True), (37_000, False)])
def test_published_positions_end_where_their_factor_is_infinite(age: int, finite: bool) -> None:
    positions = importlib.import_module("peers.positions")
    model = build(replace(positions.SMALL, dim=8, heads=1, layers=1)).eval().requires_grad_(False)
    x = torch.rand(1, 2, model.config.joints, model.config.channels)
    mode = positions.PublishedMode(None, age, 2)
    assert bool(model.lift(x, mode).isfinite().all()) == finite


def test_positions_are_compared_at_the_ages_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = importlib.import_module("peers.positions")
    monkeypatch.setattr(positions, "SMALL", replace(positions.SMALL, dim=8, heads=1, layers=1))
    monkeypatch.setattr(positions, "CHUNK", 10)
    rows = positions.drift((0, 25))
    assert [row["frame"] for row in rows] == [0, 20]
    assert all(row[key] < 0.01 for row in rows for key in ("published_percent", "ours_percent"))


def test_figures_of_papers_are_ratios_of_medians() -> None:
    script = importlib.import_module("peers.__main__")

    def row(ms: float, mb: float | None = None) -> dict[str, Any]:
        return {"p50_ms": ms, "peak_mb": mb, "over ours": ms / 2, "params_m": 1.0}

    found = {script.WINDOW: row(60.0, 90.0), script.STEP: row(6.0, 30.0), "mixste-243": row(30.0), "mixste-h2ot-243": row(20.0)}
    (hummuss,) = script.hummuss(found)
    assert (hummuss["time, here"], hummuss["memory, here"]) == (10, 3)
    (h2ot,) = script.h2ot(found)
    assert (h2ot["fps %, here"], h2ot["flops %, here"]) == (50, -57.4)
    assert script.targets({script.EAGER: row(7.0)}) == [
        {"contestant": script.EAGER, "at least times ours": 3.0, "measured": 3.5, "met": True}
    ]


def test_the_command_writes_a_table_and_a_figure(
    retention_artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = importlib.import_module("peers.__main__")
    output, plot = tmp_path / "peers.json", tmp_path / "peers.png"
    options = ["--model", retention_artefact, "--frames", 4, "--windows", 5, "--no-large", "--no-compile", "--no-positions"]
    monkeypatch.setenv("POSEMOE_EDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["peers", *map(str, options), "--json", str(output), "--plot", str(plot)])
    script.main()
    table = json.loads(output.read_text())["step"]
    rows = {row["contestant"]: row for row in table["rows"]}
    assert {script.OURS, script.EAGER, "ring of 5 keys and values", "window of 5, same size"} <= rows.keys()
    assert rows[script.OURS]["over ours"] == 1 and all(row["rounds"] == 4 for row in rows.values())
    assert rows[script.OURS]["state_bytes"] == rows[script.EAGER]["state_bytes"]
    assert any("detectors get" in note for note in table["notes"])
    assert plot.read_bytes().startswith(PNG)
