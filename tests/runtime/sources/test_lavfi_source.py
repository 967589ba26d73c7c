"""Pictures that FFmpeg draws."""

from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.sources import CameraFrame, SourceInfo, open_source

pytest.importorskip("av")


def frames_of(uri: str, *, frames: int | None = None) -> list[CameraFrame]:
    with open_source(uri, frames=frames) as source:
        return [item for item in source if isinstance(item, CameraFrame)]


def test_a_colour_has_its_blue_first_and_its_times() -> None:
    uri = "lavfi:color=c=0x0000FF:size=64x36:rate=25"
    assert open_source(uri, frames=4).info == SourceInfo(uri, fps=25.0, frames=4)
    frames = frames_of(uri, frames=4)
    assert [frame.t_s for frame in frames] == [0, 0.04, 0.08, 0.12] and frames[0].arrived_s is None
    assert frames[0].image_bgr.shape == (36, 64, 3) and frames[0].image_bgr.dtype == np.uint8
    assert np.abs(frames[0].image_bgr.astype(int) - [255, 0, 0]).max() < 8  # YUV is rounded


def test_a_graph_may_end() -> None:
    assert len(frames_of("lavfi:testsrc2=size=64x36:rate=30:duration=0.2")) == 6


@pytest.mark.parametrize("graph", ["tstsrc2", "testsrc2=size=nothing", "sine", "testsrc2,nonsense"])
def test_a_wrong_graph_is_an_error(graph: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=r"lavfi:.*expected a graph of FFmpeg's filters"):
        frames_of(f"lavfi:{graph}", frames=1)
    assert capfd.readouterr().err == ""
