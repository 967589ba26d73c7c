"""Clips of walking people as files of keypoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.archive.clip_lifter import Job, LiftOptions
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints


@pytest.fixture
def write_clip(walker_keypoints: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """write_clip(path, people=2, frames=20): the file of a clip, normalised keypoints at 50 Hz."""

    def write(path: Path, *, people: int = 1, frames: int = 12) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        walk = walker_keypoints(frames + 5 * people)
        save_keypoints(path, keypoints=np.stack([walk[5 * n : 5 * n + frames] for n in range(people)], axis=1))
        return path

    return write


@pytest.fixture
def job_for() -> Callable[[Path, Path], Job]:
    """job_for(clip, target)"""
    return lambda clip, target: Job(f"kpts:{clip}", clip, target, may_have_pictures=False)


@pytest.fixture
def options(retention_artefact: Path) -> LiftOptions:
    """By the tiny retention artefact."""
    return LiftOptions(model=str(retention_artefact))
