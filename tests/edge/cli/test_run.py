"""posemoe-edge run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime import load
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

Call = Callable[..., Any]


def test_keypoints_from_a_file_go_to_both_sinks(
    posemoe: Call, desk: Path, retention_artefact: Path, walk: Callable[..., np.ndarray]
) -> None:
    pytest.importorskip("matplotlib")
    people = np.stack([walk(25, seed=seed) for seed in (0, 1)], axis=1)
    save_keypoints(desk / "in.npz", keypoints=people, fps=50)
    sinks = ("--sink", "jsonl:out.jsonl", "--sink", "png:out.png")
    said = posemoe("run", "kpts:in.npz", "--model", retention_artefact, *sinks, "--json")
    assert said.code == 0
    made = said.json
    assert (made["frames"], made["people"], made["poses"], made["refused"]) == (25, 2, 50, 0)
    assert made["mode"] == "step" and made["precision"] == "fp32" and made["certificate"] is None and not made["interrupted"]
    assert made["mpjpe_mm"] is None and made["step_ms"]["p50"] > 0
    assert (desk / "out.png").read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (desk / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 50
    stream = load(retention_artefact).stream()
    for i, row in enumerate(row for row in rows if row["person"] == 1):
        pose = stream.step(people[i, 1], t=i / 50)
        np.testing.assert_allclose(row["xyz_m"], pose.xyz_m, atol=1.1e-4)  # written to a tenth of a millimetre
        assert row["t_s"] == pytest.approx(i / 50)


def test_a_source_that_knows_the_truth_is_measured_against_it(posemoe: Call, retention_artefact: Path) -> None:
    said = posemoe("run", "synthetic://walk?people=3&seed=2", "--frames", 10, "--model", retention_artefact, "--json")
    made = said.json
    assert (made["frames"], made["poses"], made["people"]) == (10, 30, 3) and 10 < made["mpjpe_mm"] < 5000
    assert "MPJPE" in said.err and made["state_bytes"] == 95744


def test_frames_that_are_refused_are_counted_and_said(
    posemoe: Call, desk: Path, retention_artefact: Path, walk: Callable[..., np.ndarray]
) -> None:
    keypoints = walk(10).copy()
    keypoints[4, 2] = np.nan
    save_keypoints(desk / "in.npz", keypoints=keypoints)
    said = posemoe("run", "kpts:in.npz", "--model", retention_artefact, "--json")
    assert said.code == 0 and (said.json["frames"], said.json["poses"], said.json["refused"]) == (10, 9, 1)
    assert "person 0 at 0.080 s: frame refused, joint 2" in said.err


@pytest.mark.parametrize("mixer", ["dssm", "attention"])
def test_any_mixer_runs(mixer: str, posemoe: Call, artefact_of: Callable[[str], Path]) -> None:
    made = posemoe("run", "synthetic://walk", "--frames", 12, "--model", artefact_of(mixer), "--json").json
    assert made["poses"] == 12 and made["mode"] == ("window" if mixer == "attention" else "step")


def test_a_lone_onnx_file_runs(posemoe: Call, retention_artefact: Path) -> None:
    path = retention_artefact / "step.fp16.onnx"
    assert posemoe("run", "synthetic://walk", "--frames", 3, "--model", path, "--json").json["precision"] == "fp16"


def test_poses_may_go_to_stdout_alone(posemoe: Call, retention_artefact: Path) -> None:
    said = posemoe("run", "synthetic://walk", "--frames", 4, "--model", retention_artefact, "--sink", "jsonl:-")
    assert [json.loads(line)["t_s"] for line in said.out.splitlines()] == [0, 0.02, 0.04, 0.06]
    both = posemoe("run", "synthetic://walk", "--model", retention_artefact, "--sink", "jsonl:-", "--json")
    assert both.code == 2 and both.json["what"] == "--json and --sink jsonl:- both want stdout"


def test_a_video_needs_a_detector(posemoe: Call, desk: Path, retention_artefact: Path) -> None:
    (desk / "a.mp4").write_bytes(b"")
    said = posemoe("run", "a.mp4", "--model", retention_artefact, "--json")
    assert said.code == 2 and "need a detector" in said.json["what"] and "--detector" in said.json["run"]


def test_a_camera_that_is_not_there_is_named_with_what_works_without(posemoe: Call, retention_artefact: Path) -> None:
    said = posemoe("run", "camera99", "--model", retention_artefact, "--json")
    assert said.code == 3 and "/dev/video99" in said.json["what"] and "synthetic://walk" in said.json["run"]


def test_an_error_half_way_leaves_no_half_files(
    posemoe: Call, desk: Path, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posemoe_edge.runtime.errors import SourceError
    from posemoe_edge.runtime.sources.synthetic import SyntheticSource

    whole = SyntheticSource.__iter__

    def broken(self: SyntheticSource) -> Any:
        for i, frame in enumerate(whole(self)):
            if i == 5:
                raise SourceError("the camera was unplugged")
            yield frame

    monkeypatch.setattr(SyntheticSource, "__iter__", broken)
    said = posemoe("run", "synthetic://walk", "--model", retention_artefact, "--sink", "jsonl:out.jsonl", "--json")
    assert said.code == 3 and said.json["what"] == "the camera was unplugged" and list(desk.iterdir()) == []
