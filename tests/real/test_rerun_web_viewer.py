"""The sink of Rerun as a person sees it: the viewer's page in a real browser shows the skeleton in its colours."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.types import Pose, Root
from posemoe_edge.runtime.sinks import RunInfo, open_sink
from posemoe_edge.runtime.sinks.rerun import RerunSink
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.tests.real.chromium import Chromium, program

pytestmark = [
    pytest.mark.skipif(program() is None, reason="no Chromium is installed: apt install chromium"),
    pytest.mark.skipif(os.name != "posix", reason="the browser is driven through inherited pipes"),
]

SHOWN_WITHIN_S = 90.0  # a viewer of 50 MB of WebAssembly, drawn without a GPU on a busy machine
LEFT, RIGHT = (80, 190, 240), (250, 140, 40)  # red, green, blue
FEWEST_PIXELS = 200  # of each, of a person who is some 300 pixels tall
TOLERANCE = 40  # of a colour: joints are drawn as lit spheres


def room(image: Any) -> Any:
    """The part of the page that shows people in 3D: on the right, without the bars, which have colours of their own."""
    height, width = image.shape[:2]
    return image[height // 8 : height * 2 // 3, width * 11 // 20 :]


def pixels_like(image: Any, colour: tuple[int, int, int]) -> int:
    """How many pixels have the hue of a colour, at any brightness from a third on."""
    pixels = image.reshape(-1, 3).astype(float)
    scale = pixels @ np.array(colour) / np.dot(colour, colour)
    return int(((scale > 0.33) & (np.abs(pixels - scale[:, None] * np.array(colour)).max(axis=1) < TOLERANCE * scale)).sum())


def test_the_page_shows_a_skeleton_in_blue_and_orange(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    pytest.importorskip("rerun_cli", reason="this rerun-sdk has no program")
    cv2 = pytest.importorskip("cv2", reason="OpenCV, which decodes the screenshot, is not installed")
    source = SyntheticSource(people=1, frames=10)
    sink = open_sink("rerun://127.0.0.1:0?grpc=0")
    assert isinstance(sink, RerunSink) and sink.url is not None
    with sink:
        sink.open(RunInfo(source.info, "a model", "fp32", "step", "onnxruntime", 0))
        for people in source:
            assert people.truth_m is not None and people.truth_root_m is not None
            root = Root(people.truth_root_m[0], np.full(3, 0.1, np.float32), 2.0, 1.0, "prior")
            pose = Pose(people.truth_m[0], np.ones(17, np.float32), people.t_s, 0.02, 0, "none", root=root)
            picture = np.full((1000, 1000, 3), 70, np.uint8)
            sink.write(PoseFrame(people.t_s, {0: pose}, keypoints=people.keypoints, image_bgr=picture))
        counts: list[int] = []
        with Chromium(sink.url, tmp_path / "profile") as browser:
            deadline_s = time.monotonic() + SHOWN_WITHIN_S
            while time.monotonic() < deadline_s:
                png = browser.screenshot_png()
                image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
                counts = [pixels_like(room(image), colour) for colour in (LEFT, RIGHT)]
                if min(counts) >= FEWEST_PIXELS:
                    break  # the viewer draws while it loads, so the picture beside may come later
                time.sleep(0.5)
    (tmp_path / "viewer.png").write_bytes(png)
    assert len(np.unique(room(image).reshape(-1, 3), axis=0)) > 100, f"the canvas is empty: {tmp_path / 'viewer.png'}"
    assert min(counts) >= FEWEST_PIXELS, f"{counts} pixels are blue and orange: {tmp_path / 'viewer.png'}"
