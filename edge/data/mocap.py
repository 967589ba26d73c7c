"""Motion capture: clips of 17 joints in metres, as stored in ``cmu_h36m17.npz``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32
from ...runtime.artefact.atomic import AtomicFile
from ...runtime.bounds import npz, parsing
from ...runtime.errors import ArtefactError, MissingError, UsageError
from ...runtime.file_kind import check_stand_in
from ...runtime.pose.skeleton import H36M17
from .projection import project

SPLITS = ("train", "val", "test")
_EXPECTED = "an npz without pickled objects, as cmu_h36m17.npz"
_FIELDS = ("rel", "root", "offsets", "clip_id", "subject", "action", "split", "skeleton", "parents", "fps")
_REL_UNIT_M = np.float32(1e-4)  # the file stores joints as int16, in tenths of a millimetre from the root


@dataclass(frozen=True)
class Clip:
    """One uninterrupted recording of one person.

    Args:
        id: name of the recording, e.g. ``CMU_006_01``.
        subject: subject number; no subject is in two splits.
        action: what the person does, in the database's words.
        split: one of ``SPLITS``.
        native: on the subject's own skeleton; false if retargeted to a common figure.
        fps: frames per second.
        joints_m: (T, 17, 3) float32, world, metres, z up, floor about z = 0.
    """

    id: str
    subject: str
    action: str
    split: str
    native: bool
    fps: float
    joints_m: F32

    def __len__(self) -> int:
        return len(self.joints_m)

    @property
    def frames(self) -> F32:
        """(T, 17, 3): the joints that ``make_pairs`` projects."""
        return self.joints_m

    @staticmethod
    def make_pairs(frames: F32, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool) -> tuple[F32, F32, F32]:
        """Keypoints, poses and intrinsics of joints (..., T, 17, 3), seen by random cameras. See ``project``."""
        return project(frames, rng, augment=augment, noisy=noisy, masked=masked)


def load_clips(path: Path, split: str | None = None) -> list[Clip]:
    """The clips of a file, in the file's order.

    Motion that was estimated from video is left out: its joints lie elsewhere than those of markers.

    Args:
        path: an npz with the fields of ``cmu_h36m17.npz``.
        split: return only this split; None returns all.

    Raises:
        UsageError: there is no split of that name.
        MissingError: there is no such file.
        ArtefactError: the file does not have the format; the message names the field.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(f"there is no split {split!r}", expected="one of " + ", ".join(SPLITS))
    fields = _read_fields(path)
    names = {key: fields[key].tolist() for key in ("clip_id", "subject", "action", "split", "skeleton")}
    clips = []
    for i, (start, stop) in enumerate(zip(fields["offsets"][:-1], fields["offsets"][1:], strict=True)):
        if names["skeleton"][i] == "markerless" or (split is not None and names["split"][i] != split):
            continue
        root, rel = fields["root"][start:stop], fields["rel"][start:stop]
        clips.append(
            Clip(
                id=names["clip_id"][i],
                subject=names["subject"][i],
                action=names["action"][i],
                split=names["split"][i],
                native=names["skeleton"][i] == "native",
                fps=float(fields["fps"]),
                joints_m=root[:, None].astype(np.float32) + rel.astype(np.float32) * _REL_UNIT_M,  # (T, 17, 3)
            )
        )
    return clips


def save_clips(path: Path, clips: Sequence[Clip]) -> None:
    """Write clips as the npz that ``load_clips`` reads, joints rounded to 0.1 mm.

    Raises:
        UsageError: no clips, several frame rates, two clips of one id, or a joint more than 3.2 m from the hip.
    """
    if not clips or len({clip.fps for clip in clips}) > 1:
        raise UsageError(f"{len(clips)} clips at {sorted({clip.fps for clip in clips})} Hz", expected="clips of one rate")
    if duplicates := sorted(name for name, times in Counter(clip.id for clip in clips).items() if times > 1):
        raise UsageError(f"several clips are called {', '.join(duplicates)}", expected="unique ids")
    joints_m = np.concatenate([clip.joints_m for clip in clips])
    rel = np.round((joints_m - joints_m[:, :1]) / _REL_UNIT_M)
    if np.abs(rel).max() > np.iinfo(np.int16).max:
        raise UsageError("joints more than 3.2 m from the hip", expected="one person, in metres")
    texts = {
        "clip_id": [clip.id for clip in clips],
        "subject": [clip.subject for clip in clips],
        "action": [clip.action for clip in clips],
        "split": [clip.split for clip in clips],
        "skeleton": ["native" if clip.native else "retargeted" for clip in clips],
    }
    draft = AtomicFile(path)
    with draft.committing(), draft.partial.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            rel=rel.astype(np.int16),
            root=joints_m[:, 0],
            offsets=np.cumsum([0, *map(len, clips)]),
            parents=np.array(H36M17.parents),
            fps=np.array(clips[0].fps),
            **{key: np.array(values, np.str_) for key, values in texts.items()},
        )


def _read_fields(path: Path) -> dict[str, NDArray[Any]]:
    """The file's arrays, after checks that their shapes, types and values fit each other."""
    if not path.is_file():
        raise MissingError(f"there is no motion-capture file {path}", expected="the path of cmu_h36m17.npz")
    check_stand_in(path, expected=_EXPECTED)
    with parsing(f"motion-capture file {path}", expected=_EXPECTED), npz(path) as file:
        fields = {key: file[key] for key in _FIELDS if key in file}
        for key in {"clip_id", "subject", "action", "split", "skeleton"} & set(fields):
            if fields[key].ndim != 1:
                continue
            fields[key] = np.array([str(value) for value in fields[key]], object)  # text that is none of Unicode fails here
    if missing := [key for key in _FIELDS if key not in fields]:
        raise _format_error(path, "lacks " + ", ".join(missing), "the fields " + ", ".join(_FIELDS))

    frames, joints = len(np.atleast_1d(fields["rel"])), len(H36M17)
    shapes = {"rel": (frames, joints, 3), "root": (frames, 3), "fps": (), "parents": (joints,)}
    for key, shape in shapes.items():
        if fields[key].shape != shape:
            raise _format_error(path, f"has {key} of shape {fields[key].shape}", str(shape))
    if tuple(fields["parents"].tolist()) != H36M17.parents:
        raise _format_error(path, "has joints in another order", f"the order and parents of {H36M17.name}")
    if fields["rel"].dtype != np.int16:
        raise _format_error(path, f"has rel of type {fields['rel'].dtype}", "int16 in tenths of a millimetre")
    if not (fields["fps"] > 0 and np.isfinite(fields["fps"])):
        raise _format_error(path, f"has {fields['fps']} frames per second", "a positive rate")
    if not np.isfinite(fields["root"]).all():
        raise _format_error(path, "has roots that are not finite", "metres")

    offsets = fields["offsets"]
    if offsets.ndim != 1 or len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != frames or (np.diff(offsets) < 1).any():
        raise _format_error(path, "has offsets that do not cut its frames into clips", f"rising from 0 to {frames}")
    for key in ("clip_id", "subject", "action", "split", "skeleton"):
        if fields[key].shape != (len(offsets) - 1,):
            raise _format_error(path, f"has {key} of shape {fields[key].shape}", f"one per clip, ({len(offsets) - 1},)")
    if unknown := {str(value) for value in fields["split"]} - set(SPLITS):
        raise _format_error(path, "has unknown splits " + ", ".join(sorted(unknown)), ", ".join(SPLITS))
    return fields


def _format_error(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"motion-capture file {path} {what}", expected=expected)
