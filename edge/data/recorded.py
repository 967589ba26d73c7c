"""Recorded takes: what real cameras saw of real people, with the truth, as stored in one npz per data set."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.atomic import AtomicFile
from ...runtime.errors import ArtefactError, MissingError, UsageError
from .sequences import JOINTS, Take

RECORDED_SPLITS = ("train", "test")
_LABELS = ("clip_id", "subject", "action", "split")
_KINDS = {"keypoints": np.float32, "pose_m": np.float32, "dt_s": np.float32, "valid": np.bool_}
_WRITTEN = "one that posemoe-edge import wrote"


@dataclass(frozen=True)
class Recorded:
    """A take of a published data set, and where its protocol puts it.

    Args:
        take: the take; exact keypoints and those of a detector without scores have confidence 1. Its action is in the data
            set's words, without the number of the take.
        subject: who.
        split: one of ``RECORDED_SPLITS``.
    """

    take: Take
    subject: str
    split: str


@dataclass(frozen=True)
class Saved:
    """What a file of recorded takes says of one of them."""

    clip_id: str
    subject: str
    action: str
    split: str
    frames: int


def save_recorded(path: Path, recorded: Iterable[Recorded]) -> list[Saved]:
    """Write takes one after the other, so that a data set need not fit into memory. Returns what was written."""
    saved: dict[str, Saved] = {}
    draft = AtomicFile(path)
    try:
        with zipfile.ZipFile(draft.partial, "w") as archive:

            def write(name: str, array: NDArray[Any]) -> None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)

            for i, one in enumerate(recorded):
                take = one.take
                if take.clip_id in saved:
                    raise UsageError(f"two takes are called {take.clip_id}", expected="each file once")
                saved[take.clip_id] = Saved(take.clip_id, one.subject, take.action, one.split, len(take))
                for key in _KINDS:
                    if (array := getattr(take, key)) is not None:
                        write(f"{key}.{i}", array)
            for key in _LABELS:
                write(key, np.array([getattr(entry, key) for entry in saved.values()], np.str_))
        draft.commit()
    except BaseException:
        draft.discard()
        raise
    return list(saved.values())


def load_recorded(path: Path, split: str | None = None, *, subjects: Iterable[str] | None = None) -> list[Recorded]:
    """The takes of a file that ``save_recorded`` wrote; only those asked for are read.

    Args:
        path: the npz.
        split: one of ``RECORDED_SPLITS``; None keeps all.
        subjects: keep these alone; None keeps all.
    """
    if split is not None and split not in RECORDED_SPLITS:
        raise UsageError(f"there is no split {split!r}", expected="one of " + ", ".join(RECORDED_SPLITS))
    wanted = None if subjects is None else set(subjects)
    if not path.is_file():
        raise MissingError(f"there is no file of recorded takes {path}", expected=_WRITTEN)
    try:
        with np.load(path, allow_pickle=False) as file:
            labels = _labels(path, file)
            if wanted and (unknown := wanted - set(labels["subject"])):
                raise UsageError(f"no subject {', '.join(sorted(unknown))}", expected=", ".join(sorted(set(labels["subject"]))))
            made = []
            for i in range(len(labels["clip_id"])):
                label = {key: texts[i] for key, texts in labels.items()}
                if (split is None or label["split"] == split) and (wanted is None or label["subject"] in wanted):
                    clip_id = label["clip_id"]
                    arrays = {key: file[f"{key}.{i}"] for key in _KINDS if key != "valid" or f"valid.{i}" in file}
                    _check(path, clip_id, arrays)
                    take = Take(**arrays, clip_id=clip_id, action=label["action"])
                    made.append(Recorded(take, label["subject"], label["split"]))
    except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise _odd(path, f"cannot be read ({error})", _WRITTEN) from error
    return made


def _labels(path: Path, file: Any) -> dict[str, list[str]]:
    if missing := [key for key in _LABELS if key not in file]:
        raise _odd(path, "lacks " + ", ".join(missing), "a file of converted takes, not the data set itself")
    labels = {key: [str(text) for text in np.atleast_1d(file[key])] for key in _LABELS}
    if len({len(texts) for texts in labels.values()}) != 1:
        raise _odd(path, "has labels of unequal lengths", "one of each per take")
    if unknown := set(labels["split"]) - set(RECORDED_SPLITS):
        raise _odd(path, "has unknown splits " + ", ".join(sorted(unknown)), ", ".join(RECORDED_SPLITS))
    return labels


def _check(path: Path, clip_id: str, arrays: dict[str, NDArray[Any]]) -> None:
    frames = len(np.atleast_1d(arrays["dt_s"]))
    shapes = {"keypoints": (frames, JOINTS, 3), "pose_m": (frames, JOINTS, 3), "dt_s": (frames,), "valid": (frames,)}
    for key, array in arrays.items():
        shape, kind = shapes[key], _KINDS[key]
        if array.shape != shape or array.dtype != kind or not frames:
            raise _odd(path, f"has {key} of {clip_id} as {array.dtype} {array.shape}", f"{np.dtype(kind)} {shape}")
        if not np.isfinite(array).all():
            raise _odd(path, f"has {key} of {clip_id} that are not finite", "numbers")
    if arrays["dt_s"].min() <= 0:
        raise _odd(path, f"has times of {clip_id} that do not go on", "positive steps in seconds")


def _odd(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"file of recorded takes {path} {what}", expected=expected)
