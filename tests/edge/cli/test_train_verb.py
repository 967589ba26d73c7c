"""Training from the command line: interrupted, resumed, watched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
SMALL = ("--rows", 1, "--frames", 4, "--no-compile")


@pytest.fixture
def motion(write_motion: Callable[..., Path], walker_clip: Callable[..., Any]) -> Path:
    return write_motion([walker_clip(f"clip{i}", 40, seed=i, split=split) for i, split in enumerate(("train", "val"))])


def test_the_same_call_goes_on_where_the_last_one_stopped(posemoe: Call, desk: Path, motion: Path, tiny_presets: None) -> None:
    call = ("train", "tiny-retention", "--data", motion, "--out", "w.safetensors", *SMALL)
    first = posemoe(*call, "--updates", 2, "--json")
    assert first.code == 0 and first.json["updates"] == 2 and first.json["runs"] == 1
    assert "posemoe-edge export tiny-retention --weights w.safetensors" in first.err
    second = posemoe(*call, "--updates", 3, "--json")
    assert second.json["updates"] == 3 and second.json["runs"] == 2 and len(second.json["curve"]) == 2
    assert (desk / "w.png").is_file() and "Drew w.png" in second.err
    assert posemoe(*call, "--updates", 3, "--fresh", "--json").json["runs"] == 1


def test_an_unfinished_training_says_how_to_go_on(posemoe: Call, desk: Path, motion: Path, tiny_presets: None) -> None:
    said = posemoe("train", "tiny-dssm", "--data", motion, "--updates", 10_000, "--minutes", 0.0001, *SMALL)
    assert said.code == 0 and "--updates 10000" in said.err.rsplit("Next:", 1)[1] and "train tiny-dssm" in said.err


def test_another_recipe_is_refused(posemoe: Call, desk: Path, motion: Path, tiny_presets: None) -> None:
    call = ("train", "tiny-retention", "--data", motion, "--updates", 1, *SMALL)
    assert posemoe(*call).code == 0
    said = posemoe(*call, "--seed", 3, "--json")
    assert said.code == 2 and "seed 0, not 3" in said.json["what"] and "--fresh" in said.json["expected"]


def test_a_window_preset_trains_and_tensorboard_gets_its_numbers(
    posemoe: Call, desk: Path, motion: Path, tiny_presets: None
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    said = posemoe("train", "tiny-attention", "--data", motion, "--updates", 2, *SMALL, "--tensorboard", "board", "--json")
    assert said.code == 0 and said.json["frames"] == 2 * 9
    assert next(path.name for path in (desk / "board").iterdir()).startswith("events.out")
