"""The dataset that ``--data`` names: motion-capture clips or recorded sequences, recognised by the file's fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...runtime.bounds import npz_names, parsing
from ...runtime.command_line import command_line
from ...runtime.errors import ArtefactError, MissingError, UsageError
from ...runtime.file_kind import check_stand_in
from .mocap import Clip, load_clips
from .recorded import load_recorded
from .sequences import PoseSequence, evaluation_sequences

_CLIP_FIELDS = {"rel", "root", "offsets"}
_SEQUENCE_FIELDS = {"clip_id", "subject", "action", "split"}
_PART = r"_\d$"
_PUBLISHED = {
    "positions_3d": ("Human3.6M's positions", ("h36m", "{path}", "--keypoints", "data_2d_h36m_gt.npz")),
    "positions_2d": ("Human3.6M's keypoints", ("h36m", "data_3d_h36m.npz", "--keypoints", "{path}")),
    "data": ("MPI-INF-3DHP", ("3dhp", "{path}")),
}


def open_data(path: Path, split: str) -> list[Clip] | list[PoseSequence]:
    """A split of a file: its clips, or its recorded sequences.

    Args:
        path: an npz that ``posemoe-edge import`` or ``save_clips`` wrote.
        split: train, val or test; recorded sequences have no val.

    Raises:
        MissingError: there is no such file.
        ArtefactError: the file is something else; the message names the command that converts it, where there is one.
    """
    if not path.is_file():
        raise MissingError(f"there is no motion-capture file {path}", expected="an npz", run="posemoe-edge import --help")
    if path.suffix.lower() == ".bvh":
        raise ArtefactError(
            f"{path} is a BVH file", expected="an npz file converted from it", run=command_line("import", "bvh", path)
        )
    fields = field_names(path)
    if fields & _CLIP_FIELDS:
        return load_clips(path, split)
    if fields >= _SEQUENCE_FIELDS:
        return [recorded.sequence for recorded in load_recorded(path, split)]
    for field, (name, words) in _PUBLISHED.items():
        if field in fields:
            raise ArtefactError(
                f"{path} is {name} as published",
                expected="an npz file converted from it",
                run=command_line("import", *(path if word == "{path}" else word for word in words)),
            )
    names = ", ".join(sorted(fields)[:9]) or "nothing"
    raise ArtefactError(
        f"data file {path} holds {names}", expected="clips of motion or recorded sequences", run="posemoe-edge import --help"
    )


def is_recorded(path: Path) -> bool:
    """Whether a file holds recorded sequences; of what cannot be read, ``open_data`` says why."""
    if not path.is_file() or path.suffix.lower() == ".bvh":
        return False
    fields = field_names(path)
    return fields >= _SEQUENCE_FIELDS and not fields & _CLIP_FIELDS


def open_motion(paths: Sequence[Path], split: str) -> list[Clip] | list[PoseSequence]:
    """A split of several files together: clips, or recorded sequences, not both.

    A clip is left out where another file has it with the subject's own skeleton: under the same id followed by "n", for all of
    the parts that a recording was cut into (``_0``, ``_1`` ...).

    Raises:
        UsageError: files of both kinds.
        MissingError, ArtefactError: as ``open_data``.
    """
    parts = [open_data(path, split) for path in paths]
    clips = [item for part in parts for item in part if isinstance(item, Clip)]
    recorded = [item for part in parts for item in part if isinstance(item, PoseSequence)]
    if clips and recorded:
        raise UsageError("clips of motion and recorded sequences together", expected="files of one kind")
    ids = {clip.id for clip in clips}
    return recorded or [clip for clip in clips if not {f"{clip.id}n", f"{re.sub(_PART, '', clip.id)}n"} & ids]


def evaluation_sets(
    dataset: Sequence[Clip] | Sequence[PoseSequence], *, seed: int = 0, cameras: int = 1
) -> dict[str, list[PoseSequence]]:
    """The sets that accuracy is reported on: clips as ``clean`` and ``noisy`` sequences, recorded ones as they are.

    Args:
        cameras: how many cameras film each clip, drawn by ``seed`` and the numbers after it.
    """
    if recorded := [item for item in dataset if isinstance(item, PoseSequence)]:
        return {"recorded": recorded}
    clips = [item for item in dataset if isinstance(item, Clip)]
    return {
        name: [
            sequence
            for camera in range(cameras)
            for sequence in evaluation_sequences(clips, noisy=name == "noisy", seed=seed + camera)
        ]
        for name in ("clean", "noisy")
    }


def field_names(path: Path) -> set[str]:
    """The names of an npz's arrays; the arrays themselves are not read."""
    check_stand_in(path, expected="an npz")
    with parsing(f"data file {path}", expected="an npz", run="posemoe-edge import --help"):
        return npz_names(path)
