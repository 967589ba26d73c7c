"""Each example runs as it stands, with the shipped model, and prints what its docstring says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
MOST_LINES = 60

# What must be on stdout: examples assert nothing, so that they stay short.
EXPECTED = {
    "camera_to_pose": r"(0\.\d0 s  person 0: right wrist at x .+ m from the hip, \+-0\.\d\d m; hip [34]\.\d m away\n){5}",
    "checkpoint_to_jetson": (
        r"(?s)frame-retention-s: step graphs fp32, fp16\ncertified: fp32 0\.0\d+ mm, fp16 0\.\d+ mm from .*\non the board:\n"
        r".*  posemoe-edge build robot --precision fp16\n  posemoe-edge run camera0 --model robot --engine tensorrt .*\n"
    ),
    "follow_person": r"(\d\.\d0 s  person \d\.\d m ahead, .+ to the \w+, \+-0\.\d m: drive 0\.\d\d m/s, turn .+ rad/s\n){8}",
    "lift_walker": r"(t = \d\.\d\d s  right wrist at x = .+ m from the hip  \(gap: \w+\)\n){5}",
    "own_onnx_loop": r"(frame \d: right wrist at \[.+\] m from the hip\n){5}",
    "pipeline_events": r"(?s)0.00 s  person 0 started\n.*person 1 refused: .*person 1 lost\n200 frames, 250 poses\n",
    "replay_as_test": r"recorded: 100 poses\n.*: 100 of 100 poses the same, .*\nhalf .*; 0\.0\d\d mm apart on average\n",
    "rerun_recording": r"wrote walk\.rrd: 100 frames of 2 people; .*\n",
    "ros2_without_ros": r"0/posemoe/poses: 17 joints in camera0_optical, the hip at z = [3-6]\.\d\d m\n",
    "snapshot": r"same .*: same poses\nanother .*: same poses\n.*: other poses\n",
    "two_cameras": r"left: 100 poses of person 0\nright: 200 poses of persons 0, 1\n",
    "two_people": r"frame 20: person 1 joins\nframe 40: person 1 leaves\n.*: 0\.0 mm apart at most\n",
    "variable_rate": r"(?s).*dt = 0\.400 s  gap: decay\n.*dt = 2\.500 s  gap: reset\n.*",
}


NEEDS = {"checkpoint_to_jetson": "onnxsim", "replay_as_test": "mcap", "rerun_recording": "rerun", "ros2_without_ros": "zenoh"}


def test_every_example_is_expected_to_print_something() -> None:
    assert {path.stem for path in EXAMPLES} == set(EXPECTED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    process = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,  # of a busy machine, on which an export takes minutes
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert re.fullmatch(EXPECTED[path.stem], process.stdout), process.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_it_is_run(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < MOST_LINES
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")
    assert "torch" not in text
