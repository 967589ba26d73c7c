"""What ``--data`` names: clips to film or takes that were recorded, told apart by what is in the file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...runtime.errors import ArtefactError, MissingError
from .mocap import Clip, load_clips
from .recorded import load_recorded
from .sequences import Take, evaluation_takes

_CLIPS = {"rel", "root", "offsets"}
_TAKES = {"clip_id", "subject", "action", "split"}
_RAW = {
    "positions_3d": ("Human3.6M's positions", "posemoe-edge import h36m {path} --keypoints data_2d_h36m_gt.npz"),
    "positions_2d": ("Human3.6M's keypoints", "posemoe-edge import h36m data_3d_h36m.npz --keypoints {path}"),
    "data": ("MPI-INF-3DHP", "posemoe-edge import 3dhp {path}"),
}


def open_data(path: Path, split: str) -> list[Clip] | list[Take]:
    """A split of a file: its clips, or its recorded takes.

    Args:
        path: an npz that ``posemoe-edge import`` or ``save_clips`` wrote.
        split: train, val or test; recorded takes have no val.
    """
    if not path.is_file():
        raise MissingError(f"there is no motion-capture file {path}", expected="an npz", run="posemoe-edge import --help")
    if path.suffix.lower() == ".bvh":
        raise ArtefactError(f"{path} is a BVH", expected="an npz made of it", run=f"posemoe-edge import bvh {path}")
    fields = _fields(path)
    if fields & _CLIPS:
        return load_clips(path, split)
    if fields >= _TAKES:
        return [one.take for one in load_recorded(path, split)]
    for field, (name, command) in _RAW.items():
        if field in fields:
            raise ArtefactError(f"{path} is {name} as published", expected="an npz made of it", run=command.format(path=path))
    found = ", ".join(sorted(fields)[:9]) or "nothing"
    raise ArtefactError(
        f"data file {path} holds {found}", expected="clips of motion or recorded takes", run="posemoe-edge import --help"
    )


def evaluation_sets(footage: Sequence[Clip] | Sequence[Take], *, seed: int = 0) -> dict[str, list[Take]]:
    """What to report numbers on: clips filmed clean and noisy, recorded takes as they are."""
    if recorded := [one for one in footage if isinstance(one, Take)]:
        return {"recorded": recorded}
    clips = [one for one in footage if isinstance(one, Clip)]
    return {name: evaluation_takes(clips, noisy=name == "noisy", seed=seed) for name in ("clean", "noisy")}


def _fields(path: Path) -> set[str]:
    """The names of an npz's arrays; none of them is read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return set(file.files)
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ArtefactError(
            f"data file {path} cannot be read ({error})", expected="an npz", run="posemoe-edge import --help"
        ) from error
