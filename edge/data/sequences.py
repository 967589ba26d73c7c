"""Takes: a person seen by one camera, as pairs of 2D keypoints and 3D poses, one by one or as an endless stream."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import UsageError
from ...runtime.pose.skeleton import H36M17
from .augment import frame_steps, mask, mirror, pick_frames
from .mocap import Clip

Floats = NDArray[np.float32]

JOINTS = len(H36M17)
STRIDES = ((1, 0.6), (2, 0.25), (4, 0.15))  # cameras of a clip's rate, half and a quarter of it, and how often
MOST_DROPPED = 0.4  # an irregular take loses up to this share of its frames
STEADY_S = 1e-5  # steps that differ by less are of one rate


class Footage(Protocol):
    """What takes are cut from: a ``Clip``, filmed by a camera drawn at random, or a recorded ``Take``, which keeps its own."""

    @property
    def id(self) -> str: ...

    @property
    def action(self) -> str: ...

    @property
    def fps(self) -> float:
        """Frames per second."""

    @property
    def frames(self) -> Floats:
        """(T, ...): all that ``show`` needs of each frame."""

    def __len__(self) -> int: ...

    def show(
        self, frames: Floats, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool
    ) -> tuple[Floats, Floats]:
        """Keypoints and poses, both (..., T, 17, 3), of frames (..., T, ...) of any footage of this kind. See ``make_take``."""


@dataclass(frozen=True)
class Take:
    """What a detector finds in T frames of one person, and the truth. As footage it is that of a real camera.

    Args:
        keypoints: (T, 17, 3) float32, normalised x, y and confidence; a missing joint is (0, 0, 0).
        pose_m: (T, 17, 3) float32, metres from the root, camera axes: x right, y down, z forward.
        dt_s: (T,) float32, seconds since the previous frame; the first frame counts as one nominal step.
        clip_id: the clip that was filmed.
        action: what is done in it, if that is known.
        valid: (T,) true where the pose counts; None if all do. A model is fed the other frames too, but not judged by them.
    """

    keypoints: Floats
    pose_m: Floats
    dt_s: Floats
    clip_id: str
    action: str = ""
    valid: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(T,) ``valid``, spelt out."""
        return np.ones(len(self), np.bool_) if self.valid is None else self.valid

    @property
    def id(self) -> str:
        return self.clip_id

    @property
    def fps(self) -> float:
        if np.ptp(self.dt_s) > STEADY_S:
            raise UsageError(f"take {self.clip_id} has no one frame rate", expected="frames at even times")
        return float(1 / self.dt_s[0])

    @property
    def frames(self) -> Floats:
        """(T, 2, 17, 3): keypoints and poses."""
        if not self.counted.all():
            raise UsageError(f"take {self.clip_id} has frames that do not count", expected="takes to train on are whole")
        return np.stack([self.keypoints, self.pose_m], axis=1)

    @staticmethod
    def show(frames: Floats, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool) -> tuple[Floats, Floats]:
        """Keypoints and poses as they are, or every other time mirrored; what noise there is was recorded."""
        if augment:
            chosen = rng.random(frames.shape[:-4]) < 0.5
            frames = np.where(chosen[..., None, None, None, None], mirror(frames), frames)
        keypoints, pose_m = frames[..., 0, :, :], frames[..., 1, :, :]  # (..., T, 17, 3)
        return mask(rng, keypoints) if masked else keypoints, pose_m


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of several takes side by side: (rows, frames, ...) of what a ``Take`` holds.

    ``reset`` (rows, frames) is true where a take starts: what a model remembers from before belongs to someone else.
    """

    keypoints: Floats
    pose_m: Floats
    dt_s: Floats
    reset: NDArray[np.bool_]

    @classmethod
    def empty(cls, rows: int, frames: int) -> Chunk:
        """Room for that many, to be filled."""
        return cls(
            keypoints=np.empty((rows, frames, JOINTS, 3), np.float32),
            pose_m=np.empty((rows, frames, JOINTS, 3), np.float32),
            dt_s=np.empty((rows, frames), np.float32),
            reset=np.zeros((rows, frames), np.bool_),
        )


def make_take(
    footage: Footage,
    rng: np.random.Generator,
    *,
    augment: bool,
    noisy: bool,
    masked: bool,
    stride: int = 1,
    start: int | None = None,
    frames: int | None = None,
    drop: float = 0.0,
) -> Take:
    """Film a clip with a camera drawn at random, or cut a take from one that was recorded.

    The camera is drawn before the noise, so the same generator films the same view with and without noise.

    Args:
        augment: every other time the mirror image, and of a clip another body.
        noisy: a clip with a detector's errors and confidence; otherwise exact, with confidence 1.
        masked: with missing and swapped joints.
        stride: film each stride-th frame.
        start: first frame; None draws one that leaves room for ``frames``.
        frames: how many of the footage's frames to span, at most; None is all of them.
        drop: chance of each frame to be lost, so that ``dt_s`` is irregular.
    """
    long = len(footage)
    span = long if frames is None else min(frames, long)
    if start is None:
        start = int(rng.integers(long - span + 1))
    if span < 1 or stride < 1 or not 0 <= start < long:
        raise UsageError(
            f"no take of {span} frames from frame {start} with stride {stride} in clip {footage.id}",
            expected=f"at least one frame, a stride of at least 1, a start from 0 to {long - 1}",
        )
    kept = pick_frames(rng, min(span, long - start), stride=stride, drop=drop)
    keypoints, pose_m = footage.show(footage.frames[start + kept], rng, augment=augment, noisy=noisy, masked=masked)
    return Take(
        keypoints=keypoints,
        pose_m=pose_m,
        dt_s=frame_steps(kept, fps=footage.fps, stride=stride),
        clip_id=footage.id,
        action=footage.action,
    )


def luck(clip_id: str, seed: int = 0) -> np.random.Generator:
    """A generator that follows from a clip's name: whatever else is chosen, a clip meets the same luck."""
    return np.random.default_rng([seed, zlib.crc32(clip_id.encode())])


def evaluation_takes(clips: Sequence[Clip], *, noisy: bool, seed: int = 0, stride: int = 1, drop: float = 0.0) -> list[Take]:
    """Each clip whole, as captured or as a slower camera saw it, from one camera: the takes to report numbers on.

    Camera and noise follow from the seed and the clip's id alone, so a clip is filmed alike in any selection of clips, and
    from the same camera clean and noisy. Noise is the detector's, without masking: every joint has been found.
    """
    how = {"augment": False, "noisy": noisy, "masked": False}
    return [make_take(clip, luck(clip.id, seed), start=0, stride=stride, drop=drop, **how) for clip in clips]


class Draw:
    """What is drawn for the takes of a stream: footage, in proportion to its length, and a camera's stride."""

    def __init__(self, footage: Sequence[Footage], strides: Sequence[tuple[int, float]]) -> None:
        if not footage:
            raise UsageError("there are no clips to train on", expected="at least one clip")
        weights = np.array([weight for _, weight in strides], np.float64)
        if not len(weights) or weights.min() < 0 or weights.sum() <= 0 or min(stride for stride, _ in strides) < 1:
            raise UsageError(f"odd strides {strides}", expected="(stride, weight) pairs, strides from 1, some weight above 0")
        self._strides = [stride for stride, _ in strides]
        self._stride_upto = np.cumsum(weights / weights.sum())[:-1]
        self._upto = np.cumsum([len(one) for one in footage])

    def footage(self, rng: np.random.Generator, many: int) -> NDArray[np.int64]:
        """(many,) numbers of clips or takes, each that of a frame of all frames."""
        return np.searchsorted(self._upto, rng.integers(self._upto[-1], size=many), side="right")

    def stride(self, rng: np.random.Generator) -> int:
        """One of the strides."""
        return self._strides[int(np.searchsorted(self._stride_upto, rng.random(), side="right"))]


class TakeStream(Iterator[Chunk]):
    """Endless training chunks for truncated back-propagation through time.

    Each row plays one take after the other in consecutive chunks; where one ends, the next starts at the very next frame
    with ``reset`` true. Takes are parts of the footage, drawn in proportion to its lengths, augmented, noisy and masked.
    The stream is its own iterator: a second loop over it goes on where the first one stopped.

    Args:
        footage: clips to film, or recorded takes to play.
        rows: takes side by side (batch size).
        frames: frames in a chunk.
        seed: the same seed, footage and sizes give the same stream; a row does not depend on the other rows.
        strides: (stride, weight) pairs: 1, 2, 4 of a clip at 50 Hz are cameras of 50, 25, 12.5 Hz.
        longest_take: frames of the footage, before the stride.
        irregular: share of the takes that lose frames at random, up to 40 % of them.
        clean: share of the takes with complete keypoints, and of clips exact ones.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        *,
        rows: int,
        frames: int,
        seed: int | Sequence[int],
        strides: Sequence[tuple[int, float]] = STRIDES,
        longest_take: int = 600,
        irregular: float = 0.1,
        clean: float = 0.15,
    ) -> None:
        self._footage, self._drawn = list(footage), Draw(footage, strides)
        if rows < 1 or frames < 1 or longest_take < 1:
            raise UsageError(f"{rows} rows of {frames} frames from takes of {longest_take}", expected="at least one of each")
        self.rows, self.frames = rows, frames
        self.longest_take, self.irregular, self.clean = longest_take, irregular, clean
        self._rngs = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(rows)]
        self._playing: list[tuple[Take, int] | None] = [None] * rows  # each row's take and its next frame

    def __next__(self) -> Chunk:
        chunk = Chunk.empty(self.rows, self.frames)
        for row in range(self.rows):
            filled = 0
            while filled < self.frames:
                take, at = self._playing[row] or (self._draw(self._rngs[row]), 0)
                n = min(self.frames - filled, len(take) - at)
                here, there = slice(filled, filled + n), slice(at, at + n)
                chunk.keypoints[row, here] = take.keypoints[there]
                chunk.pose_m[row, here] = take.pose_m[there]
                chunk.dt_s[row, here] = take.dt_s[there]
                chunk.reset[row, filled] |= at == 0
                filled += n
                self._playing[row] = (take, at + n) if at + n < len(take) else None
        return chunk

    def _draw(self, rng: np.random.Generator) -> Take:
        footage = self._footage[int(self._drawn.footage(rng, 1)[0])]
        exact = rng.random() < self.clean
        return make_take(
            footage,
            rng,
            augment=True,
            noisy=not exact,
            masked=not exact,
            stride=self._drawn.stride(rng),
            frames=self.longest_take,
            drop=rng.uniform(0, MOST_DROPPED) if rng.random() < self.irregular else 0.0,
        )
