"""A recording: the frames of one stream, as a lifter sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32
from ...runtime.artefact.manifest import Manifest
from ...runtime.pose.camera import renormalise_by_camera
from ...runtime.pose.skeleton import H36M_ORDERS


@dataclass(frozen=True, eq=False)
class Recording:
    """The frames of one stream in order.

    Args:
        keypoints: (T, J, channels) normalised by the picture's size.
        dt_s: (T,) seconds since the frame before.
        reset: (T,) True where another person begins and the state is reset.
        truth: (T, J, 3) the true poses in metres; None if they are not known.
        cut: (T,) True where another person begins and the state is carried on; None for nowhere.
        intrinsics: (T, 4) fx, fy, cx, cy where the picture is 2 wide; None if they are not known.
    """

    keypoints: F32
    dt_s: F32
    reset: NDArray[np.bool_]
    truth: F32 | None = None
    cut: NDArray[np.bool_] | None = None
    intrinsics: F32 | None = None

    def __len__(self) -> int:
        return len(self.keypoints)

    def during(self, span: slice | NDArray[np.int64]) -> Recording:
        """Some of the frames."""
        truth = None if self.truth is None else self.truth[span]
        cut = None if self.cut is None else self.cut[span]
        intrinsics = None if self.intrinsics is None else self.intrinsics[span]
        return Recording(self.keypoints[span], self.dt_s[span], self.reset[span], truth, cut, intrinsics)

    def person_spans(self) -> list[slice]:
        """The frames of each person."""
        new = self.reset if self.cut is None else self.reset | self.cut
        starts = [0, *(np.flatnonzero(new[1:]) + 1).tolist(), len(self)]
        return [slice(start, end) for start, end in pairwise(starts)]

    def for_model(self, manifest: Manifest) -> Recording:
        """The recording as an artefact's model takes it: its joints in its order, its channels, normalised for its view."""
        order = list(H36M_ORDERS[manifest.skeleton])
        keypoints = self.keypoints
        if manifest.view == "person" and self.intrinsics is not None:
            keypoints = renormalise_by_camera(keypoints, self.intrinsics)
        return replace(self, keypoints=keypoints[:, order, : manifest.channels], intrinsics=None)

    def chunks(self, frames: int) -> Iterator[tuple[int, Recording]]:
        """The recording in chunks of that many frames: (how many frames of the chunk are the recording's, the chunk).

        A reset begins a new chunk. A chunk that is too short is padded with its last frame. Chunks have no truth.
        """
        start = 0
        while start < len(self):
            resets = np.flatnonzero(self.reset[start + 1 : start + frames])
            count = int(resets[0]) + 1 if len(resets) else min(frames, len(self) - start)
            part, padding = self.during(slice(start, start + count)), frames - count
            yield (
                count,
                Recording(
                    np.pad(part.keypoints, ((0, padding), (0, 0), (0, 0)), mode="edge"),
                    np.pad(part.dt_s, (0, padding), mode="edge"),
                    np.pad(part.reset, (0, padding)),
                ),
            )
            start += count

    def windows(self, frames: int) -> Iterator[tuple[int, Recording]]:
        """As ``chunks``, but across resets, which a window model does not know."""
        return replace(self, reset=np.zeros_like(self.reset)).chunks(frames)
