"""Recorded sequences: keypoints from real cameras with the true poses, stored as one npz per data set."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.atomic import AtomicFile
from ...runtime.bounds import npz, parsing
from ...runtime.errors import ArtefactError, MissingError, UsageError
from ...runtime.file_kind import check_stand_in
from .sequences import JOINTS, PoseSequence

RECORDED_SPLITS = ("train", "test")
_LABELS = ("clip_id", "subject", "action", "split")
_DTYPES = {
    "keypoints": np.float32,
    "pose_m": np.float32,
    "dt_s": np.float32,
    "valid": np.bool_,
    "intrinsics": np.float32,
}
_OPTIONAL = ("valid", "intrinsics")
_EXPECTED_FILE = "one that posemoe-edge import wrote"


@dataclass(frozen=True)
class RecordedSequence:
    """A sequence of a published data set, with its subject and the split of the data set's protocol.

    Args:
        sequence: exact keypoints, and those of a detector without scores, have confidence 1. The action is in the data set's
            words, without the number of the repetition.
        subject: the person.
        split: one of ``RECORDED_SPLITS``.
    """

    sequence: PoseSequence
    subject: str
    split: str


@dataclass(frozen=True)
class SavedSequence:
    """The labels of one sequence in a file, and how many frames it has."""

    clip_id: str
    subject: str
    action: str
    split: str
    frames: int


def save_recorded(path: Path, recorded: Iterable[RecordedSequence]) -> list[SavedSequence]:
    """Write sequences one after the other, so that a data set need not fit into memory.

    Returns:
        What was written, in the order of the file.

    Raises:
        UsageError: two sequences have one id. The file is then as it was before.
    """
    saved: dict[str, SavedSequence] = {}
    draft = AtomicFile(path)
    with draft.committing(), zipfile.ZipFile(draft.partial, "w") as archive:

        def write(name: str, array: NDArray[Any]) -> None:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)

        for i, item in enumerate(recorded):
            sequence = item.sequence
            clip_id = sequence.clip_id
            if clip_id in saved:
                raise UsageError(f"two sequences are called {clip_id}", expected="each file once")
            saved[clip_id] = SavedSequence(clip_id, item.subject, sequence.action, item.split, len(sequence))
            for key in _DTYPES:
                if (array := getattr(sequence, key)) is not None:
                    write(f"{key}.{i}", array)
        for key in _LABELS:
            write(key, np.array([getattr(entry, key) for entry in saved.values()], np.str_))
    return list(saved.values())


def load_recorded(path: Path, split: str | None = None) -> list[RecordedSequence]:
    """The sequences of a file that ``save_recorded`` wrote; the arrays of others are not read.

    Args:
        path: the npz.
        split: one of ``RECORDED_SPLITS``; None returns all.

    Raises:
        UsageError: there is no such split.
        MissingError: there is no such file.
        ArtefactError: the file does not have the format; the message names the field.
    """
    if split is not None and split not in RECORDED_SPLITS:
        raise UsageError(f"there is no split {split!r}", expected="one of " + ", ".join(RECORDED_SPLITS))
    if not path.is_file():
        raise MissingError(f"there is no file of recorded sequences {path}", expected=_EXPECTED_FILE)
    check_stand_in(path, expected=_EXPECTED_FILE)
    with parsing(f"file of recorded sequences {path}", expected=_EXPECTED_FILE), npz(path) as file:
        labels = _labels(path, file)
        recorded = []
        for i in range(len(labels["clip_id"])):
            label = {key: texts[i] for key, texts in labels.items()}
            if split is None or label["split"] == split:
                clip_id = label["clip_id"]
                arrays = {key: file[f"{key}.{i}"] for key in _DTYPES if key not in _OPTIONAL or f"{key}.{i}" in file}
                _check_arrays(path, clip_id, arrays)
                sequence = PoseSequence(**arrays, clip_id=clip_id, action=label["action"])
                recorded.append(RecordedSequence(sequence, label["subject"], label["split"]))
    return recorded


def _labels(path: Path, file: Any) -> dict[str, list[str]]:
    if missing := [key for key in _LABELS if key not in file]:
        raise _format_error(path, "lacks " + ", ".join(missing), "a file of converted sequences, not the data set itself")
    labels = {key: [str(text) for text in np.atleast_1d(file[key])] for key in _LABELS}
    if len({len(texts) for texts in labels.values()}) != 1:
        raise _format_error(path, "has labels of unequal lengths", "one label of each kind per sequence")
    if unknown := set(labels["split"]) - set(RECORDED_SPLITS):
        raise _format_error(path, "has unknown splits " + ", ".join(sorted(unknown)), ", ".join(RECORDED_SPLITS))
    return labels


def _check_arrays(path: Path, clip_id: str, arrays: dict[str, NDArray[Any]]) -> None:
    frames = len(np.atleast_1d(arrays["dt_s"]))
    shapes: dict[str, tuple[int, ...]] = {
        "keypoints": (frames, JOINTS, 3),
        "pose_m": (frames, JOINTS, 3),
        "dt_s": (frames,),
        "valid": (frames,),
        "intrinsics": (frames, 4),
    }
    for key, array in arrays.items():
        shape, dtype = shapes[key], _DTYPES[key]
        if array.shape != shape or array.dtype != dtype or not frames:
            raise _format_error(path, f"has {key} of {clip_id} as {array.dtype} {array.shape}", f"{np.dtype(dtype)} {shape}")
        if not np.isfinite(array).all():
            raise _format_error(path, f"has {key} of {clip_id} that are not finite", "numbers")
    if arrays["dt_s"].min() <= 0:
        raise _format_error(path, f"has time steps of {clip_id} that are not positive", "positive steps in seconds")


def _format_error(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"file of recorded sequences {path} {what}", expected=expected)
